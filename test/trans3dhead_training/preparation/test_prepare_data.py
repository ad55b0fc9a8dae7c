"""From raw folders to a training batch: small versions of every part, by the real commands."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import prepare_data, prepare_fits
from synthetic import bundled_head_model

from trans3dhead_ros.cli import main as cli
from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.head_dataset import HeadDataset
from trans3dhead_training.data.labels import labels_file
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.fitting.head_basis import save_head_model_npz
from trans3dhead_training.formats.readers import read_samples

pytestmark = pytest.mark.train


def raw_data() -> Path:
    try:
        root = data_root()
    except ValueError as error:
        pytest.skip(str(error))
    for needed in ('faces/labels.csv', 'head_model/ict_facekit.npz',
                   'appearance/makehuman/base.obj'):
        if not (root / needed).is_file():
            pytest.skip(f'no {root / needed}')
    return root


@pytest.fixture(scope='module')
def raw(tmp_path_factory) -> Path:
    """A data folder with some of the photographs, and all that is not photographs."""
    source, root = raw_data(), tmp_path_factory.mktemp('raw')
    for name in ('head_model', 'appearance'):
        (root / name).symlink_to((source / name).resolve())
    with labels_file(source).open(newline='') as file:
        header, *rows = csv.reader(file)
    chosen = [row for row in rows if row[1] == 'helen'][:24] + [
        row for row in rows if row[1] == 'ytf'][:2]
    for row in chosen:
        target = root / 'faces' / row[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / 'faces' / row[0], target)
    with (root / 'faces' / 'labels.csv').open('w', newline='') as file:
        csv.writer(file).writerows([header, *chosen])
    save_head_model_npz(bundled_head_model(), root / 'head_model.npz')
    assert prepare_fits(['--data', str(root / 'faces'), '--output', str(root / 'fits.npz'),
                         '--head-model', str(root / 'head_model.npz')]) == 0
    return root


def prepare(raw: Path, output: Path, cache: Path, *more: str) -> Manifest:
    assert prepare_data([
        '--data', str(raw), '--fits', str(raw / 'fits.npz'), '--cache', str(cache), '--output',
        str(output), '--head-model', str(raw / 'head_model.npz'), '--people', '2', '--turns', '1.5',
        '--workers', '1', *more]) == 0
    return Manifest.load(output)


@pytest.fixture(scope='module')
def prepared(raw, people_cache, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp('prepared')
    prepare(raw, output, people_cache, '--parts', 'photographs', 'turned', 'synthetic')
    return output


def test_every_part_has_its_samples_and_its_licence(prepared):
    parts = {part.name: part for part in Manifest.load(prepared).parts}
    assert parts['synthetic'].count == 16 and parts['synthetic'].open
    assert parts['photographs'].count >= 20 and not parts['photographs'].open
    assert parts['turned'].count >= 20 and not parts['turned'].open
    assert all(part.source and part.licence for part in parts.values())


def test_coefficients_and_placement_put_the_head_on_the_points(prepared):
    model = bundled_head_model()
    for sample in read_samples(f'shards:{prepared}', 'all'):
        if sample.rotation is None:
            continue
        head = model.landmarks(model(torch.tensor(sample.shape)[None].float(),
                                     torch.tensor(sample.expression)[None].float()))
        flat = (np.exp(sample.placement.log_scale) * head[0].numpy() @ sample.rotation[:2].T
                + sample.placement.translation)
        error = np.linalg.norm(flat - sample.points, axis=1)[17:].mean()
        assert error < 0.06 * np.ptp(sample.points, axis=0).max(), sample.group


def test_turned_photographs_reach_large_yaw(prepared):
    yaw = [abs(euler_from_rotation(sample.rotation)[0])
           for sample in read_samples(f'shards:{prepared / "turned"}', 'all')]
    assert np.mean(np.array(yaw) > 45) > 0.3


def test_a_held_out_photograph_is_held_out_in_every_part(prepared):
    samples = read_samples(f'shards:{prepared}', 'all')
    sides: dict[str, set[bool]] = {}
    for sample in samples:
        sides.setdefault(sample.group, set()).add(sample.is_validation)
    assert all(len(side) == 1 for side in sides.values())


def test_a_batch_is_drawn_from_all_parts(prepared):
    heads = HeadDataset.read(prepared, bundled_head_model(), ('photographs', 'turned', 'synthetic'),
                             False, 64, 1.5)
    batch = heads.training_batch(20, np.random.default_rng(0))
    assert batch.crops.shape == (20, 3, 64, 64)
    assert all(bool(torch.isfinite(getattr(batch, name)).all())
               for name in ('points', 'jaw', 'rotation', 'translation', 'shape', 'expression'))


def test_the_same_seed_gives_the_same_bytes(prepared, raw, people_cache, tmp_path):
    prepare(raw, tmp_path, people_cache, '--parts', 'turned', 'synthetic')
    for part in ('turned', 'synthetic'):
        files = sorted((tmp_path / part).glob('*.safetensors'))
        assert files
        for file in files:
            assert file.read_bytes() == (prepared / part / file.name).read_bytes()


def test_open_prepares_nothing_restricted(raw, people_cache, tmp_path):
    manifest = prepare(raw, tmp_path, people_cache, '--open', '--parts', 'photographs', 'synthetic')
    assert [part.name for part in manifest.parts] == ['synthetic']
    assert not np.any(manifest.offsets)  # nothing was measured on restricted photographs


def test_scenes_resume_where_they_were_interrupted(raw, people_cache, tmp_path):
    def scenes(folder: Path, count: int) -> list[dict]:
        assert cli.main([
            'prepare', 'scenes', '--data', str(raw), '--head-model', str(raw / 'head_model.npz'),
            '--cache', str(people_cache), '--output', str(tmp_path / folder), '--count', str(count),
            '--size', '160', '120']) == 0
        return [json.loads(line)
                for line in (tmp_path / folder / 'labels.jsonl').read_text().splitlines()]

    first = scenes('broken', 2)
    with (tmp_path / 'broken' / 'labels.jsonl').open('a') as labels:
        labels.write('{"file": "000002.j')  # the power went
    assert scenes('broken', 3) == scenes('whole', 3)
    assert len(first) == 2 and any(entry['heads'] for entry in first)
    for name in ('000000.jpg', '000001.jpg', '000002.jpg'):
        pictures = [(tmp_path / folder / name).read_bytes() for folder in ('broken', 'whole')]
        assert pictures[0] == pictures[1]


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--fits', 'nowhere.npz'], 'nowhere.npz'),
    (['--data', 'nowhere'], 'nowhere'),
    (['--people', '0'], '--people'),
    (['--parts', 'portraits', '--portrait-fits', 'nowhere.npz'], 'leave the part out'),
])
def test_a_mistake_is_one_line_and_code_2(raw, tmp_path, capfd, arguments, message):
    command_line = ['prepare', 'data', '--data', str(raw), '--output', str(tmp_path / 'out'),
                    '--head-model', str(raw / 'head_model.npz'), '--fits', str(raw / 'fits.npz'),
                    '--parts', 'photographs']
    assert cli.main([*command_line, *arguments]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count('\n') == 1


@pytest.mark.parametrize('workers', ['1', '2'])
def test_a_damaged_picture_is_named(raw, tmp_path, capfd, workers):
    other = tmp_path / 'raw'
    shutil.copytree(raw, other, symlinks=True)
    victim = sorted((other / 'faces' / 'helen').iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:2000])
    assert cli.main(['prepare', 'data', '--data', str(other), '--fits', str(raw / 'fits.npz'),
                     '--head-model', str(raw / 'head_model.npz'), '--output', str(tmp_path / 'out'),
                     '--parts', 'turned', '--workers', workers]) == 2
    assert victim.name in capfd.readouterr().err


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 cut short'])
def test_damaged_fits_are_named(raw, tmp_path, capfd, content):
    fits = tmp_path / 'fits.npz'
    fits.write_bytes(content)
    assert cli.main(['prepare', 'data', '--data', str(raw), '--fits', str(fits), '--output',
                     str(tmp_path / 'out'), '--parts', 'photographs', '--workers', '1']) == 2
    assert 'fits.npz is damaged' in capfd.readouterr().err
