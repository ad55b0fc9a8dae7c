"""The command does what its help says; a user's mistake is one line and code 2."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import DATA
from synthetic import small_network

from trans3dhead_ros.cli.main import PREPARE, RUNTIME, TRAINING, build_parser, main
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_training.engine.config import DetectorTrainConfig, TrainConfig

ROOT = Path(__file__).resolve().parents[3]
FEMALE = DATA / 'video' / 'head-pose-face-detection-female.gif'


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess:
    """Run the real command in a process of its own, as a shell would."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return subprocess.run(
        [sys.executable, '-m', 'trans3dhead_ros.cli.main', *map(str, arguments)], timeout=120,
        capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', **variables})


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Return a folder with an untrained checkpoint and sources of grey noise."""
    folder = tmp_path_factory.mktemp('cli')
    save_checkpoint(folder / 'model.safetensors', small_network(), {'training_data': 'none'})
    (folder / 'pictures').mkdir()
    noise = np.random.default_rng(0).integers(90, 110, (4, 96, 128, 3), np.uint8)
    for index, image in enumerate(noise):
        # The last picture has another size, as folders of photographs do.
        cv2.imwrite(str(folder / 'pictures' / f'{index}.png'), image[:96 - 20 * (index == 3)])
    (folder / 'text.mp4').write_text('this is no video')
    (folder / 'broken.safetensors').write_bytes(
        (folder / 'model.safetensors').read_bytes()[:2000])
    return folder


def test_help_lists_the_subcommands(capsys):
    with pytest.raises(SystemExit) as left:
        main(['--help'])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    for name in ('detect', 'track', 'evaluate', 'info', 'train', 'node', 'prepare'):
        assert f'  {name} ' in shown


def test_the_version_is_that_of_the_package(capsys):
    assert main(['--version']) == 0
    declared = re.search(r'<version>(.*)</version>', (ROOT / 'package.xml').read_text())[1]
    assert capsys.readouterr().out in (f'trans3dhead {declared}\n', 'trans3dhead not installed\n')


def test_help_is_quick():
    script = ('import sys\nfrom trans3dhead_ros.cli.main import main\n'
              'try: main(sys.argv[1:])\nexcept SystemExit: pass\n'
              'print(sorted({"torch", "cv2", "numpy", "rclpy", "trans3dhead_training"} '
              '& {*sys.modules}))')
    for arguments in (['--help'], ['prepare', '--help'], ['track', '--help'], ['detect', '--help']):
        done = subprocess.run([sys.executable, '-c', script, *arguments], capture_output=True,
                              text=True, cwd=ROOT)
        assert done.stdout.splitlines()[-1] == '[]', done.stderr


@pytest.mark.parametrize('name', sorted(
    {*RUNTIME, *TRAINING, *(f'prepare {name}' for name in PREPARE)} - {'node'}))
def test_every_subcommand_has_help(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([*name.split(), '--help'])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f'usage: trans3dhead {name} ')


@pytest.mark.ros
def test_the_node_gets_its_arguments_as_they_are():
    pytest.importorskip('rclpy', reason='ROS 2 is not installed')
    # In a process of its own, which the node ends.
    done = run('node', '--help')
    assert done.returncode == 0 and done.stdout.startswith('usage: head_tracker')


def listed_defaults(text: str) -> dict[str, str]:
    keys = [line.strip().partition('=') for line in text.splitlines()
            if re.match(r'  [a-z_.]+=', line)]
    return {key: value for key, _, value in keys}


@pytest.mark.parametrize('name', ['train', 'ablate'])
def test_help_lists_every_key_of_the_configuration(name, capsys):
    with pytest.raises(SystemExit):
        main([name, '--help'])
    text = capsys.readouterr().out.partition('with task=detector')[0]
    defaults = listed_defaults(text)
    assert defaults['learning_rate'] == '0.001' and defaults['network.dim'] == '96'
    assert set(defaults) >= {field.name for field in fields(TrainConfig)
                             if not is_dataclass(getattr(TrainConfig(), field.name))}


def test_help_lists_every_key_of_a_detector(capsys):
    with pytest.raises(SystemExit):
        main(['train', '--help'])
    defaults = listed_defaults(capsys.readouterr().out.partition('with task=detector')[2])
    assert defaults['task'] == 'detector' and defaults['network.neck_width'] == '48'
    assert set(defaults) >= {field.name for field in fields(DetectorTrainConfig)
                             if not is_dataclass(getattr(DetectorTrainConfig(), field.name))}


def test_track_writes_a_record_and_an_overlay_of_every_frame(folder, tmp_path, capsys):
    assert main(['track', str(folder / 'pictures'), '--model', str(folder / 'model.safetensors'),
                 '--json', str(tmp_path / 'new' / 'heads.jsonl'),
                 '--output', str(tmp_path / 'overlay.mp4')]) == 0
    told = capsys.readouterr()
    records = [json.loads(line)
               for line in (tmp_path / 'new' / 'heads.jsonl').read_text().splitlines()]
    assert [record['frame'] for record in records] == [0, 1, 2, 3]
    assert [record['stamp'] for record in records] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    video = cv2.VideoCapture(str(tmp_path / 'overlay.mp4'))
    sizes = {video.read()[1].shape for _ in records}
    assert sizes == {(96, 128, 3)} and not video.read()[0]
    # No terminal, no progress bar.
    assert '4 frames' in told.out and not told.err


def test_track_writes_pictures(folder, tmp_path):
    assert main(['track', str(folder / 'pictures'), '--model', str(folder / 'model.safetensors'),
                 '--output', str(tmp_path / 'many')]) == 0
    assert len(list((tmp_path / 'many').glob('*.png'))) == 4


def test_rows_of_a_folder_name_their_file_as_it_was_given(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(['track', './pictures', '--model', 'model.safetensors', '--json', '-']) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row['file'] for row in rows] == [f'./pictures/{index}.png' for index in range(4)]


def test_track_can_write_records_to_the_standard_output(folder):
    done = run('track', folder / 'pictures', '--model', folder / 'model.safetensors', '--json', '-')
    assert [json.loads(line)['frame'] for line in done.stdout.splitlines()] == [0, 1, 2, 3]
    assert '4 frames' in done.stderr


def test_a_closed_pipe_is_not_an_error(folder):
    command = [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'track', str(folder / 'pictures'),
               '--model', str(folder / 'model.safetensors'), '--json', '-']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          cwd=ROOT) as process:
        process.stdout.close()
        assert process.stderr.read() == '' and process.wait() == 0


def test_info_names_what_is_in_a_checkpoint(folder, capsys):
    assert main(['info', str(folder / 'model.safetensors')]) == 0
    shown = capsys.readouterr().out
    assert '200 vertices' in shown and 'jawOpen' in shown and '"dim": 16' in shown


@pytest.mark.parametrize(('arguments', 'message'), [
    (['dance'], "invalid choice: 'dance'"),
    (['track', 'nowhere.mp4'], 'nowhere.mp4 does not exist'),
    (['track', '{folder}/pictures', '--model', '{folder}/broken.safetensors'], 'truncated'),
])
def test_a_mistake_is_one_line_and_code_2(folder, arguments, message):
    done = run(*(argument.format(folder=folder) for argument in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith('trans3dhead: error: ') and message in done.stderr
    assert done.stderr.count('\n') == 1 and not done.stdout


# Processes cost seconds, so the rest goes through the same function in this one.
@pytest.mark.parametrize(('arguments', 'message'), [
    (['prepare', 'dance'], "invalid choice: 'dance'"),
    (['track'], 'the following arguments are required: SOURCE'),
    (['track', '{folder}/text.mp4'], 'text.mp4 cannot be opened: not an image or video'),
    (['track', '{folder}/pictures', '--speed', '3'], 'unrecognized arguments: --speed 3 (see '
                                                     '`trans3dhead track --help`)'),
    (['track', '{folder}/pictures', '--fov', '200'], 'between 0 and 180'),
    (['track', '{folder}/pictures/0.png'], 'is one picture: use `trans3dhead detect'),
    (['track', '{folder}/pictures', '--mesh'], 'mesh: applies to bags only'),
    (['track', '{folder}/pictures', '--output', '{folder}/a.png'], 'a.png is neither a video'),
    (['track', '{folder}/pictures', '--output', '{folder}/a.xyz'], 'a.xyz is neither a video'),
    (['track', '{folder}/pictures', '--json', '/dev/null/x'], '/dev/null'),
    (['track', '{folder}/pictures', '--model', '{folder}/nothing'], 'no such checkpoint'),
    (['track', '{folder}/pictures', '--device', 'tpu'], "device: 'tpu' is unknown"),
    (['track', '{folder}/pictures', '--detector', '{folder}/none.onnx'], 'none.onnx'),
    (['info', '{folder}/text.mp4'], 'not a safetensors file'),
    (['evaluate', '--data', 'nowhere'], 'is not FORMAT:PATH'),
    (['evaluate', '--data', 'crops:{folder}'], 'no labels.csv'),
    (['evaluate', '--predictor', 'dlib'], 'invalid choice'),
    (['train', '--bogus'], 'unrecognized arguments: --bogus'),
    (['prepare', 'head-model', '--source', 'nowhere'], 'no file nowhere'),
])
def test_a_mistake_inside_a_subcommand_is_one_line_too(folder, arguments, message, capsys):
    if arguments[0] == 'track' and '--model' not in arguments:
        arguments = [*arguments, '--model', '{folder}/model.safetensors']
    assert main([argument.format(folder=folder) for argument in arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith('trans3dhead: error: ') and message in told.err
    assert told.err.count('\n') == 1 and not told.out


@pytest.mark.parametrize('arguments', [[], ['prepare']])
def test_a_missing_subcommand_is_a_usage_error_that_lists_them(arguments, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert ' '.join(['usage: trans3dhead', *arguments]) in told.err and not told.out


def test_a_defect_keeps_its_traceback(folder, monkeypatch):
    def defect(*_: object) -> None:
        raise ValueError('shapes differ')

    monkeypatch.setattr('trans3dhead_ros.cli.info.describe', defect)
    with pytest.raises(ValueError, match='shapes differ'):
        main(['info', str(folder / 'model.safetensors')])


def test_ctrl_c_is_code_130(folder, monkeypatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('trans3dhead_ros.cli.info.describe', interrupt)
    assert main(['info', str(folder / 'model.safetensors')]) == 130


@pytest.mark.parametrize(('module', 'command', 'mend'), [
    ('trans3dhead_training', ['train', '--help'], "install '.[training]'"),
    ('matplotlib', ['evaluate', '--clip', 'a', '--plots', 'b'], "install '.[training]'"),
    ('rclpy', ['view'], 'make setup'),
    ('torch', ['train', '--help'], "install '.[training]'"),
    ('tqdm', ['info'], 'the Python package tqdm, which is not installed'),
])
def test_a_missing_package_is_one_line_that_names_it(module, command, mend, monkeypatch, capsys):
    import trans3dhead_ros.cli.main as command_line

    def missing(*_: object) -> None:
        raise ModuleNotFoundError(f'No module named {module!r}', name=module)

    monkeypatch.setattr(command_line.CommandParser, 'parse_args', missing)
    assert main(command) == 2
    told = capsys.readouterr().err
    assert module in told and mend in told and told.count('\n') == 1


def test_a_missing_module_of_ours_is_a_defect(monkeypatch):
    import trans3dhead_ros.cli.main as command_line

    def missing(*_: object) -> None:
        raise ModuleNotFoundError('…', name='trans3dhead_training.engine.nothing')

    monkeypatch.setattr(command_line.CommandParser, 'parse_args', missing)
    with pytest.raises(ModuleNotFoundError):
        main(['train'])


def test_key_value_arguments_may_come_anywhere():
    options = build_parser().parse_args(
        ['train', 'steps=1', '--minutes', '3', 'batch=2', '--resume', 'network.dim=16'])
    assert options.overrides == ['steps=1', 'batch=2', 'network.dim=16']
    assert options.minutes == 3 and options.resume


@pytest.mark.parametrize(('strict', 'code'), [([], 0), (['--strict'], 1)])
def test_a_bad_picture_among_good_ones_is_skipped_and_named(folder, tmp_path, strict, code, capsys):
    for index in (0, 2):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.full((64, 64, 3), 99, np.uint8))
    (tmp_path / '1.png').write_bytes((tmp_path / '0.png').read_bytes()[:60])
    assert main(['track', str(tmp_path), '--model', str(folder / 'model.safetensors'),
                 '--json', str(tmp_path / 'heads.jsonl'), *strict]) == code
    error = capsys.readouterr().err
    assert f'{tmp_path}/1.png: ' in error and 'truncated' in error and error.count('\n') == 1
    rows = [json.loads(line) for line in (tmp_path / 'heads.jsonl').read_text().splitlines()]
    assert [Path(row['file']).name for row in rows] == ['0.png', '2.png']


@pytest.mark.skipif(not FEMALE.is_file() or not bundled_model().is_file(),
                    reason=f'needs {FEMALE} (TRANS3DHEAD_DATA) and the bundled checkpoint')
def test_a_turning_head_is_followed_with_the_right_signs(tmp_path):
    assert main(['track', str(FEMALE), '--json', str(tmp_path / 'heads.jsonl')]) == 0
    records = [json.loads(line) for line in (tmp_path / 'heads.jsonl').read_text().splitlines()]
    assert len(records) == 23
    heads = [head for record in records for head in record['heads']]
    assert len(heads) >= 0.9 * 23 and len({head['id'] for head in heads}) == 1
    yaw = [head['euler_deg'][0] for head in heads]
    assert yaw[0] > 30 and min(yaw) < -15 and yaw[-1] > 0
