"""`trans3dhead bench` measures every stage and tells on what."""

import json

import cv2
import numpy as np
import pytest

from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source


def test_every_stage_is_measured(tmp_path, capsys):
    with open_source(bundled_clip()) as source:
        image = next(iter(source)).image
    cv2.imwrite(str(tmp_path / 'people.png'), image[20:220, :260])
    assert cli.main(['bench', str(tmp_path / 'people.png'), '--rounds', '2', '--batches', '1', '3',
                     '--device', 'cpu', '--json']) == 0
    result = json.loads(capsys.readouterr().out)
    assert result['device'] == 'cpu' and result['threads'] == 1 and result['heads'] >= 1
    assert result['size'] == [260, 200]
    stages = {stage['name']: stage for stage in result['stages']}
    assert {'network, 1 crop', 'network, 3 crops', 'crop', 'metric pose', 'vertices + projection',
            'align, no camera', 'align, camera', 'detector alone', 'detect', 'track'} <= {*stages}
    assert all(0 < stage['p50_ms'] <= stage['p95_ms'] for stage in stages.values())


def test_a_source_without_a_head_is_a_mistake(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'wall.png'), np.full((80, 80, 3), 120, np.uint8))
    assert cli.main(['bench', str(tmp_path / 'wall.png'), '--rounds', '1']) == 2
    assert 'no head is found' in capsys.readouterr().err


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--rounds', '0'], '--rounds'), (['--batches', '0'], '--batches'),
    (['nowhere.mp4'], 'nowhere.mp4'), (['--device', 'tpu'], 'tpu')])
def test_a_mistake_is_one_line_and_code_2(capsys, arguments, message):
    assert cli.main(['bench', *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
