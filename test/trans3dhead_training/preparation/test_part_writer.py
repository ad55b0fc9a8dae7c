"""Prepared data: shards keep what was written; preparing repeats, resumes and names faults."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_parts import DrawnMaker, drawn_sample, fitted_sample
from synthetic import bundled_head_model, small_head_model

from trans3dhead_ros.geometry import mirrored, rotation_from_euler
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.network.rotations import weak_perspective
from trans3dhead_training.core.augmentation import Augmentation
from trans3dhead_training.data.head_dataset import HeadDataset, PartShares, SamplingConfig
from trans3dhead_training.data.manifest import NAME, Manifest, Part
from trans3dhead_training.data.mirror import HeadMirror
from trans3dhead_training.data.shards import Shard, read_shards, write_shard
from trans3dhead_training.formats.readers import read_samples
from trans3dhead_training.preparation.part_writer import write_parts

pytestmark = pytest.mark.train


def test_a_shard_gives_back_what_was_written(tmp_path):
    samples = [fitted_sample(1), drawn_sample(2), drawn_sample(3, trust=0.25)]
    write_shard(tmp_path / 'a.safetensors', samples)
    shard = Shard(tmp_path / 'a.safetensors')
    assert len(shard) == 3
    for row, sample in enumerate(samples):
        found = shard.sample(row)
        assert found.picture == sample.picture
        assert (found.source, found.group, found.is_validation, found.points_are_3d) == (
            sample.source, sample.group, sample.is_validation, sample.points_are_3d)
        for name in ('points', 'depth', 'contour', 'visible', 'rotation', 'shape', 'expression'):
            before, after = getattr(sample, name), getattr(found, name)
            assert (before is None) == (after is None), name
            if before is not None:
                assert np.allclose(before, after, atol=1e-4), name
    assert shard.sample(0).placement.log_scale == pytest.approx(6.0)
    assert shard.sample(1).placement is None
    assert shard.sample(2).trust == 0.25
    assert len(read_samples(f'shards:{tmp_path}', 'all')) == 3


def test_the_same_samples_are_the_same_bytes(tmp_path):
    for name in ('a', 'b'):
        write_shard(tmp_path / name, [fitted_sample(i) for i in range(4)])
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_a_damaged_shard_is_named(tmp_path):
    path = tmp_path / 'a.safetensors'
    write_shard(path, [drawn_sample(1)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r'a\.safetensors is damaged.*prepare data'):
        Shard(path)
    with pytest.raises(ValueError, match='no shards'):
        read_shards(tmp_path / 'nothing')


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def test_a_preparation_repeats_to_the_byte_in_any_number_of_processes(tmp_path):
    for name, workers in (('one', 1), ('two', 2)):
        write_parts([DrawnMaker()], tmp_path / name, 0, np.zeros((51, 3)), workers)
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')
    assert not any(name.endswith('.partial') for name in contents(tmp_path / 'one'))


def test_a_preparation_resumes_where_it_was_interrupted(tmp_path):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    for folder in (whole, broken):
        write_parts([DrawnMaker()], folder, 0, np.zeros((51, 3)), 1)
    first, *_, last = sorted(broken.rglob('*.safetensors'))
    last.unlink()
    (broken / NAME).unlink()
    before = first.stat().st_mtime_ns
    write_parts([DrawnMaker()], broken, 0, np.zeros((51, 3)), 1)
    assert first.stat().st_mtime_ns == before
    assert contents(whole) == contents(broken)


def test_workers_end_when_the_command_is_killed(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        'import sys; sys.path.insert(0, sys.argv[1])\n'
        'from drawn_parts import SlowMaker; from pathlib import Path\n'
        'from trans3dhead_training.preparation.part_writer import write_parts\n'
        "if __name__ == '__main__':\n"
        '    folder = Path(sys.argv[2])\n'
        '    write_parts([SlowMaker(folder=str(folder))], folder / "out", 0, None, 2)\n')
    command = subprocess.Popen(
        [sys.executable, script, Path(__file__).parents[2] / 'helpers', tmp_path],
        stdout=subprocess.DEVNULL)
    pids = wait_for(lambda: [int(p.stem) for p in tmp_path.glob('*.pid')], 2)
    command.kill()
    command.wait()
    assert not wait_for(lambda: [pid for pid in pids if Path(f'/proc/{pid}').exists()], 0)


def wait_for(found, count: int, seconds: float = 60.0) -> list:
    """Return what `found` gives as soon as there are `count` of them, or at the end."""
    end = time.monotonic() + seconds
    while len(found()) != count and time.monotonic() < end:
        time.sleep(0.1)
    return found()


def test_another_seed_does_not_mix_with_what_is_there(tmp_path):
    write_parts([DrawnMaker()], tmp_path, 0, np.zeros((51, 3)), 1)
    with pytest.raises(ValueError, match='started with other settings of synthetic'):
        write_parts([DrawnMaker(seed=1)], tmp_path, 0, np.zeros((51, 3)), 1)


def test_a_part_can_be_added_to_what_is_there(tmp_path):
    together, apart = tmp_path / 'together', tmp_path / 'apart'
    first, second = DrawnMaker(), DrawnMaker(name='photographs', open=False, items=3)
    write_parts([first, second], together, 0, np.ones((51, 3)), 1)
    write_parts([first], apart, 0, None, 1)
    write_parts([second], apart, 0, np.ones((51, 3)), 1)
    write_parts([first], apart, 0, None, 1)  # keeps the displacement that the folder has
    assert contents(together) == contents(apart)


def test_a_folder_with_damaged_settings_is_named(tmp_path):
    (tmp_path / 'settings.json').write_text('{"seed": ')
    with pytest.raises(ValueError, match=r'settings\.json is damaged'):
        write_parts([DrawnMaker()], tmp_path, 0, np.zeros((51, 3)), 1)


def test_too_little_disk_space_is_reported_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match='GB free and about'):
        write_parts([DrawnMaker(bytes_each=10 ** 15)], tmp_path, 0, np.zeros((51, 3)), 1)
    assert not list(tmp_path.rglob('*.safetensors'))


def test_the_manifest_states_the_licences(tmp_path):
    restricted = DrawnMaker(name='photographs', open=False, licence='research use', items=3)
    write_parts([DrawnMaker(), restricted], tmp_path, 5, np.zeros((51, 3)), 1)
    manifest = Manifest.load(tmp_path)
    assert [part.name for part in manifest.usable(open_only=True)] == ['synthetic']
    assert manifest.credit(open_only=True) == ('drawn by the test', 'CC0 1.0')
    assert manifest.credit(names=['photographs'])[1] == 'research use'
    assert sum(part.count for part in manifest.parts) == 10
    assert {part.name: part.validation for part in manifest.parts} == {
        'photographs': 1, 'synthetic': 2}  # every fourth number, from 0 on
    (tmp_path / NAME).write_text(json.dumps({'version': 1}))
    with pytest.raises(ValueError, match='is not a manifest'):
        Manifest.load(tmp_path)


def test_a_preparation_in_several_sessions_ends_with_all_shards(tmp_path):
    first = write_parts([DrawnMaker()], tmp_path, 5, None, 1, minutes=0.0)
    whole = write_parts([DrawnMaker()], tmp_path, 5, None, 1)
    assert len(first.parts[0].shards) == 1 and whole.parts[0].count == 7


def test_open_only_reads_no_restricted_head(tmp_path):
    restricted = DrawnMaker(name='photographs', open=False, items=3)
    write_parts([DrawnMaker(), restricted], tmp_path, 5, np.zeros((51, 3)), 1)
    read = {open_only: HeadDataset.read(
                tmp_path, small_head_model(), ('photographs', 'synthetic'), False, 32, 1.5,
                SamplingConfig(open_only=open_only))
            for open_only in (False, True)}
    assert len(read[False]) == 7 and len(read[True]) == 5
    assert read[True].table.part_names == ('synthetic',)


def test_a_head_without_coefficients_is_not_learned_as_the_mean_head(tmp_path):
    whole, bare = (replace(fitted_sample(number), is_validation=False) for number in (1, 3))
    write_shard(tmp_path / 'synthetic' / '00000.safetensors',
                [whole, replace(bare, shape=None, expression=None)])
    Manifest(0, {}, np.zeros((51, 3)).tolist(), (
        Part('synthetic', '', '', True, {'synthetic/00000.safetensors': 2}),)).save(tmp_path)
    heads = HeadDataset.read(tmp_path, small_head_model(), ('synthetic',), False, 32, 1.5)
    assert heads.plain_batch([0, 1]).has_fit.tolist() == [1, 0]


def test_parts_are_drawn_by_their_shares(tmp_path):
    write_parts([DrawnMaker(), DrawnMaker(name='photographs', items=3)], tmp_path, 5,
                np.zeros((51, 3)), 1)
    config = SamplingConfig(shares=PartShares(photographs=0.3, turned=0.4, synthetic=0.1))
    heads = HeadDataset.read(tmp_path, small_head_model(), config.shares.parts, False, 32, 1.5,
                             config)
    chance = heads.probabilities(Augmentation())
    drawn = {name: chance[heads.table.part == number].sum()
             for number, name in enumerate(heads.table.part_names)}
    # What was not prepared gives nothing.
    assert drawn == pytest.approx({'synthetic': 0.25, 'photographs': 0.75})


def test_a_mirrored_head_is_the_head_of_its_mirrored_coefficients():
    model = bundled_head_model()
    mirror = HeadMirror.of(model)
    generator = np.random.default_rng(2)
    shape = generator.normal(size=(1, model.shape_count))
    expression = generator.uniform(0, 0.7, (1, model.expression_count))
    rotation = rotation_from_euler(np.array([[25.0, -10.0, 15.0]]))

    def outline(shape, expression, rotation) -> np.ndarray:
        vertices = model(torch.tensor(shape).float(), torch.tensor(expression).float())
        points = weak_perspective(model.landmarks(vertices), torch.tensor(rotation).float(),
                                  torch.zeros(1), torch.zeros(1, 2))
        return points[0].numpy()

    plain = outline(shape, expression, rotation)
    other = outline(shape @ mirror.shape, expression[:, mirror.expression], mirrored(rotation))
    error = np.linalg.norm(plain[MIRROR_68] * [-1, 1] - other, axis=1)
    assert error.mean() < 0.0006  # m: the landmarks themselves are not quite symmetric
    assert HeadMirror.of(small_head_model()) is None


def test_the_truth_of_a_head_follows_it_into_a_mirrored_crop(tmp_path):
    model = bundled_head_model()
    samples = [replace(fitted_sample(number, model), is_validation=False) for number in range(1, 9)]
    write_shard(tmp_path / 'synthetic' / '00000.safetensors', samples)
    Manifest(0, {}, np.zeros((51, 3)).tolist(), (
        Part('synthetic', '', '', True, {'synthetic/00000.safetensors': 8}),)).save(tmp_path)
    heads = HeadDataset.read(tmp_path, model, ('synthetic',), False, 64, 1.5)
    batch = heads.training_batch(60, np.random.default_rng(0))
    chosen = batch.is_head > 0.5
    vertices = model(batch.shape, batch.expression)
    points = weak_perspective(model.landmarks(vertices), batch.rotation, batch.log_scale,
                              batch.translation)
    for found, truth in ((points[:, 17:], batch.points[:, 17:]), (points[:, :17], batch.jaw)):
        error = (found - truth).norm(dim=-1)[chosen]
        assert error.mean() < 0.01, error.mean()  # crop units; the landmark box spans 1.3
