"""`trans3dhead bench` measures every stage, compares it with the peers and tells on what."""

import json

import cv2
import numpy as np
import pytest

from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
    """Return a small picture with a whole head in it."""
    with open_source(bundled_clip()) as source:
        image = next(iter(source)).image
    path = tmp_path_factory.mktemp('bench') / 'people.png'
    cv2.imwrite(str(path), image[20:300, :260])
    return path


@pytest.mark.slow
def test_every_stage_is_measured_beside_the_peers(model_pair, picture, tmp_path, capfd):
    plot = tmp_path / 'bench.png'
    assert cli.main(['bench', str(picture), '--model', str(model_pair), '--backend', 'onnxruntime',
                     '--rounds', '2', '--batches', '1', '3', '--threads', '1', '2',
                     '--device', 'cpu', '--json', '--plot', str(plot)]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result['device'] == 'cpu' and result['threads'] == 1 and result['heads'] >= 1
    assert result['size'] == [260, 280] and result['backend'] == 'onnxruntime'
    stages = {stage['name']: stage for stage in result['stages']}
    assert {'network, 1 crop', 'network, 3 crops', 'crop', 'metric pose', 'vertices + projection',
            'align, no camera', 'align, camera', 'detector alone', 'detect', 'track'} <= {*stages}
    compared = {row['name']: row for row in result['compared']}
    assert {'one head', 'network', 'MobileNet-v1 x1', 'MobileNet-v1 x0.5',
            'dense reconstruction'} <= {*compared}
    for row in (*stages.values(), *compared.values()):
        assert 0 < row['p50_ms'] <= row['p95_ms'] <= row['p99_ms']
    median = {name: row['p50_ms'] for name, row in compared.items()}
    assert result['ratio_to_peer'] == pytest.approx(
        median['one head'] / (median['MobileNet-v1 x1'] + median['dense reconstruction']),
        rel=0.02, abs=0.002)
    for name in ('network_to_mobilenet', 'five_heads_to_one', 'pose_to_mobilenet',
                 'five_poses_to_mobilenet', 'network_to_half_mobilenet'):
        assert result[name] > 0
    assert [(row['threads'], row['batch']) for row in result['throughput']] == [
        (1, 1), (1, 3), (2, 1), (2, 3)]
    assert all(row['heads_per_s'] > 0 and row['network_heads_per_s'] > 0
               for row in result['throughput'])
    assert result['start_up']['first_head_s'] > 0
    assert 20 < result['start_up']['resident_mb'] <= result['start_up']['peak_mb'] * 1.05
    assert cv2.imread(str(plot)).shape[0] > 100


@pytest.mark.slow
def test_torch_has_no_peers(model_pair, picture, capfd):
    pytest.importorskip('torch')
    assert cli.main(['bench', str(picture), '--model', str(model_pair), '--backend', 'torch',
                     '--rounds', '1', '--batches', '1', '--threads', '1', '--device', 'cpu']) == 0
    assert 'name another --backend for the peers' in capfd.readouterr().out


def test_a_source_without_a_head_is_a_mistake(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'wall.png'), np.full((80, 80, 3), 120, np.uint8))
    assert cli.main(['bench', str(tmp_path / 'wall.png'), '--rounds', '1']) == 2
    assert 'no head is found' in capsys.readouterr().err


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--rounds', '0'], '--rounds'), (['--batches', '0'], '--batches'),
    (['--threads', '0'], '--threads'), (['--processor-time'], '--threads 1'),
    (['--plot', 'nothing.xyz'], '--plot'),
    (['nowhere.mp4'], 'nowhere.mp4'), (['--device', 'tpu'], 'tpu')])
def test_a_mistake_is_one_line_and_code_2(capsys, arguments, message):
    if message == '--plot':
        pytest.importorskip('matplotlib')
    assert cli.main(['bench', *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
