"""From a folder of one's own pictures to a model that the pipeline loads, on a small scale."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synthetic import bundled_head_model

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.landmarks import JAW, JAW_COUNT
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.model_files.model_pair import read_metadata
from trans3dhead_ros.network.head_module import visible_contour
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.attribution import About
from trans3dhead_training.data.labels import read_labels
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.formats.readers import read_samples
from trans3dhead_training.preparation.face_crops import cut_out, read_faces, write_faces
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

pytestmark = pytest.mark.train

FACES = 10


def write_pts(path: Path, points: np.ndarray) -> None:
    """Write points (68, 2) px as 300-W does, the first pixel's centre at (1, 1)."""
    rows = '\n'.join(f'{x:.4f} {y:.4f}' for x, y in points + 1)
    path.write_text(f'version: 1\nn_points: 68\n{{\n{rows}\n}}\n')


@pytest.fixture(scope='module')
def pictures(tmp_path_factory) -> Path:
    """Rendered heads, the jaw of their labels on the visible contour."""
    folder = tmp_path_factory.mktemp('own') / 'pictures'
    folder.mkdir()
    model, size = bundled_head_model(), (320, 240)
    renderer, camera = HeadRenderer.from_model(model), Camera.from_fov(size, 40.0)
    generator = np.random.default_rng(0)
    for number in range(FACES):
        shape = generator.normal(0.0, 0.7, model.shape_count)
        rotation = rotation_from_euler(generator.normal(0.0, [25.0, 8.0, 8.0]))
        place = np.array([*generator.normal(0.0, 0.02, 2), generator.uniform(0.6, 0.9)])
        wall = cv2.resize(generator.integers(0, 255, (6, 8, 3), np.uint8), size)
        picture = renderer.render(wall, camera, rotation, place, shape=dict(enumerate(shape)))
        head = model(torch.from_numpy(shape)[None].float(),
                     torch.zeros(1, model.expression_count))[0]
        candidates = head[model.contour_indices][None]
        chosen = visible_contour(candidates, torch.from_numpy(rotation)[None].float())[0]
        points = head[model.landmark_indices].numpy().astype(float)
        points[JAW] = candidates[0, torch.arange(JAW_COUNT), chosen].numpy()
        cv2.imwrite(str(folder / f'person_{number:02d}.png'), picture)
        write_pts(folder / f'person_{number:02d}.pts', camera.project(points @ rotation.T + place))
    return folder


@pytest.fixture(scope='module')
def prepared(pictures) -> Path:
    """The folder in which the page was followed up to the training."""
    root = pictures.parent
    runs = root / 'runs'
    for command in (
            f'prepare head-model --checkpoint --output {runs}/head_model.npz',
            f'prepare faces pts:{pictures} --output {root}/own/faces --source ours --licence CC0 '
            '--held-out 0.3 --open',
            f'prepare fits --data {root}/own/faces --head-model {runs}/head_model.npz '
            f'--output {runs}/fits.npz',
            f'prepare data --data {root}/own --head-model {runs}/head_model.npz --fits '
            f'{runs}/fits.npz --output {runs}/data --parts photographs turned --turns 0.5 '
            '--workers 1'):
        assert cli.main(command.split()) == 0, command
    return root


def test_own_pictures_become_a_model_that_the_pipeline_loads(prepared):
    runs, own = prepared / 'runs', prepared / 'own.safetensors'
    assert cli.main([
        'train', f'init_checkpoint={bundled_model()}', f'data={runs}/data',
        f'output={runs}/train',
        f'head_model={runs}/head_model.npz', 'minutes=0', 'steps=2', 'batch_size=4', 'threads=1',
        'learning_rate=1e-5', 'sampling.label_offset=0', 'export=false']) == 0
    assert cli.main(['average', str(bundled_model()), str(runs / 'train/last.safetensors'),
                     '--output', str(own)]) == 0
    picture = cv2.imread(str(prepared / 'pictures' / 'person_00.png'))
    sample, = read_samples(f'pts:{prepared / "pictures"}', 'all')[:1]
    head, = HeadPipeline.load(own, 'cpu').align(picture, [sample.box])
    error = np.linalg.norm(head.landmarks_contour - sample.points, axis=1).mean()
    assert error < 0.08 * np.ptp(sample.points, axis=0).max()
    assert 'ours' in read_metadata(own)['training_data']


def test_a_rendered_set_is_fitted(prepared):
    with np.load(prepared / 'runs' / 'fits.npz') as fits:
        assert fits['accepted'][:, 0].mean() >= 0.7


def test_the_credit_of_the_pictures_is_that_of_the_parts(prepared):
    parts = {part.name: part for part in Manifest.load(prepared / 'runs' / 'data').parts}
    assert parts['photographs'].source == 'ours' and parts['turned'].source.startswith('ours')
    assert all(part.licence == 'CC0' and part.open for part in parts.values())


def test_some_photographs_are_held_out_and_most_are_not(prepared):
    records = read_labels(prepared / 'own' / 'faces')
    assert len(records) == FACES and 0 < sum(r.is_validation for r in records) < FACES / 2


@pytest.mark.parametrize('size', [90, 250, 900])
def test_points_lie_in_the_crop_where_they_lay_in_the_picture(size):
    # Every pixel holds its own place.
    image = np.dstack(np.meshgrid(*2 * [np.arange(3.0 * size)])).astype(np.float32)
    points = np.random.default_rng(0).uniform(size, 2 * size, (68, 2))
    crop, moved = cut_out(image, points)
    assert crop.shape[0] == crop.shape[1] <= 320
    x, y = moved.T.astype(np.float32)
    found = cv2.remap(crop, x, y, cv2.INTER_LINEAR)[:, 0]  # which rounds places to 1/32 px
    assert np.abs(found - points).max() < 0.06 * max(1, 2 * size / 320)


def test_a_small_face_is_not_enlarged():
    points = np.random.default_rng(0).uniform(20, 50, (68, 2))
    assert cut_out(np.zeros((80, 80, 3), np.uint8), points)[0].shape[0] < 64


def noise_set(folder: Path, names: list[str]) -> Path:
    generator = np.random.default_rng(1)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f'{name}.png'), generator.integers(0, 255, (90, 90, 3), np.uint8))
        write_pts(folder / f'{name}.pts', generator.uniform(20, 60, (68, 2)))
    return folder


def sides(folder: Path) -> dict[str, set[bool]]:
    result: dict[str, set[bool]] = {}
    for record in read_labels(folder):
        result.setdefault(record.photo, set()).add(record.is_validation)
    return result


def test_faces_of_one_photograph_stay_together(tmp_path):
    names = [f'img{photo}_{face}' for photo in range(8) for face in (1, 2)]
    faces = read_faces(f'pts:{noise_set(tmp_path / "set", names)}')
    write_faces(faces, tmp_path / 'faces', About(), 0.4)
    found = sides(tmp_path / 'faces')
    assert len(found) == 8 and all(len(side) == 1 for side in found.values())
    assert len({side for pair in found.values() for side in pair}) == 2


def test_frames_of_one_folder_stay_together(tmp_path):
    names = [f'video{video}/frame{number:04d}' for video in range(4) for number in range(3)]
    faces = read_faces(f'pts:{noise_set(tmp_path / "set", names)}', by_folder=True)
    write_faces(faces, tmp_path / 'faces', About(), 0.4)
    found = sides(tmp_path / 'faces')
    assert len(found) == 4 and all(len(side) == 1 for side in found.values())


def test_copies_of_a_photograph_stay_together(tmp_path):
    folder = noise_set(tmp_path / 'set', [f'img{photo}' for photo in range(6)])
    for number in range(6):
        for suffix in ('png', 'pts'):
            (folder / f'copy{number}.{suffix}').write_bytes(
                (folder / f'img{number}.{suffix}').read_bytes())
    write_faces(read_faces(f'pts:{folder}'), tmp_path / 'faces', About(), 0.4)
    held_out = {r.photo: r.is_validation for r in read_labels(tmp_path / 'faces')}
    assert all(held_out[f'set/img{n}'] == held_out[f'set/copy{n}'] for n in range(6))
    assert set(held_out.values()) == {True, False}


def test_a_set_that_names_its_test_pictures_is_followed_beside_one_that_does_not(tmp_path):
    told = noise_set(tmp_path / 'told', ['train/a0', 'train/a1', 'test/b0'])
    untold = noise_set(tmp_path / 'untold', [f'c{number}' for number in range(9)])
    faces = read_faces(f'pts:{told}') + read_faces(f'pts:{untold}')
    write_faces(faces, tmp_path / 'faces', About(), 0.3)
    held_out = {r.photo: r.is_validation for r in read_labels(tmp_path / 'faces')}
    assert held_out['told/b0'] and not held_out['told/a0'] and not held_out['told/a1']
    assert 0 < sum(held_out[f'untold/c{number}'] for number in range(9)) < 9


def test_pictures_without_labels_become_rows_without_points(tmp_path, capsys):
    folder = noise_set(tmp_path / 'set', ['a', 'b'])
    assert cli.main(['prepare', 'faces', f'pictures:{folder}', '--output',
                     str(tmp_path / 'faces')]) == 0
    assert all(record.points is None for record in read_labels(tmp_path / 'faces'))
    assert '2 pictures without labels' in capsys.readouterr().out
    assert cli.main(['prepare', 'head-model', '--checkpoint', '--output',
                     str(tmp_path / 'head.npz')]) == 0
    assert cli.main(['prepare', 'fits', '--data', str(tmp_path / 'faces'), '--head-model',
                     str(tmp_path / 'head.npz'), '--output', str(tmp_path / 'fits.npz')]) == 2
    assert 'no face has labels' in capsys.readouterr().err


def test_pictures_without_any_labels_are_fitted_to_a_teacher(tmp_path):
    pytest.importorskip('ai_edge_litert')
    try:
        root = data_root()
    except ValueError as error:
        pytest.skip(str(error))
    baselines = root.parent / 'baselines'
    portraits = sorted((root / 'faces' / 'congress').glob('*.jpg'))[:8]
    if not baselines.is_dir() or not portraits:
        pytest.skip(f'no {baselines} or no portraits in {root}')
    (tmp_path / 'set').mkdir()
    for path in portraits:
        (tmp_path / 'set' / path.name).write_bytes(path.read_bytes())
    for command in (
            f'prepare head-model --checkpoint --output {tmp_path}/head.npz',
            f'prepare faces pictures:{tmp_path}/set --output {tmp_path}/own/faces',
            f'prepare fits --data {tmp_path}/own/faces --head-model {tmp_path}/head.npz --output '
            f'{tmp_path}/none.npz --baselines {baselines} --portraits {tmp_path}/fits.npz',
            f'prepare data --data {tmp_path}/own --head-model {tmp_path}/head.npz --portrait-fits '
            f'{tmp_path}/fits.npz --output {tmp_path}/data --parts portraits --workers 1 '
            '--turns 0.5'):
        assert cli.main(command.split()) == 0, command
    part, = Manifest.load(tmp_path / 'data').parts
    assert part.count >= 4 and part.licence == 'not stated' and not part.open


@pytest.mark.parametrize(('arguments', 'message'), [
    (['aflw:set', '--output', 'faces'], 'FORMAT one of pts, crops, 300wlp, pictures'),
    (['pts:nowhere', '--output', 'faces'], 'no folder nowhere'),
    (['pictures:set/empty', '--output', 'faces'], 'no picture in'),
    (['pts:set', '--output', 'faces', '--held-out', '1'], '--held-out'),
    (['pts:set', '--output', 'full'], 'holds faces already'),
    (['pts:set', '--output', 'faces'], 'more photographs are needed'),
])
def test_a_mistake_is_one_line_and_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    noise_set(tmp_path / 'set', ['only'])
    for name in ('set/empty', 'full'):
        (tmp_path / name).mkdir()
    with (tmp_path / 'full' / 'labels.csv').open('w', newline='') as table:
        csv.writer(table).writerow(['file'])
    assert cli.main(['prepare', 'faces', *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
