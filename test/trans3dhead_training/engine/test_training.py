"""The training loop on a small dataset that the tests write."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import train as main
from safetensors.torch import load_file
from synthetic import small_head_model
from training_set import overrides

from trans3dhead_ros.model_files.model_pair import open_model
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.data.head_dataset import HeadDataset
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.engine.config import PRECISIONS, load_config
from trans3dhead_training.engine.distributed import World
from trans3dhead_training.engine.trainer import Trainer
from trans3dhead_training.fitting.label_convention import LabelConvention

pytestmark = pytest.mark.train


def read_heads(root: Path, validation: bool = False) -> HeadDataset:
    return HeadDataset.read(
        root / 'data', small_head_model(), ('photographs',), validation, 32, 1.5)


def test_a_run_learns_and_leaves_a_model_that_loads(prepared, tmp_path, capsys):
    assert main([*overrides(prepared, tmp_path, 12), 'export=true']) == 0
    assert open_model(tmp_path / 'best.safetensors').graph is not None
    network, metadata = load_checkpoint(tmp_path / 'best.safetensors', torch.device('cpu'))
    assert metadata['metrics']['step'] == 12
    assert network.config.input_size == 32
    row = next(csv.DictReader((tmp_path / 'metrics.csv').open()))
    assert float(row['val_inner51_percent']) > 0 and int(row['step']) == 12
    assert json.loads((tmp_path / 'config.json').read_text())['batch_size'] == 8
    assert 'inner51_percent' in capsys.readouterr().out


def test_a_checkpoint_states_the_origin_of_its_initial_weights(prepared, tmp_path):
    shutil.copytree(prepared / 'data', tmp_path / 'data')
    manifest = Manifest.load(prepared / 'data')
    replace(manifest, parts=tuple(
        replace(part, source='our visitors', licence='internal use') for part in manifest.parts
    )).save(tmp_path / 'data')
    runs = [tmp_path / name for name in ('first', 'second', 'third')]
    files = [run / 'last.safetensors' for run in runs]
    main(overrides(prepared, runs[0], 1))
    main([*overrides(prepared, runs[1], 1), f'data={tmp_path / "data"}',
          f'init_checkpoint={files[0]}'])
    main([*overrides(prepared, runs[2], 1), f'init_checkpoint={files[0]}'])
    before, other, same = (load_checkpoint(file, torch.device('cpu'))[1] for file in files)
    assert 'research use' in before['licence']
    for name, own in (('training_data', 'our visitors'), ('licence', 'internal use')):
        assert own in other[name] and other[name].count('; initial weights: ') == 1
        items = other[name].replace('initial weights: ', '').split('; ')
        assert set(before[name].split('; ')) < set(items) and len(items) == len(set(items))
        # What is said already is not said again.
        assert same[name] == before[name]
    assert other['parent'] == same['parent'] == before['sha256']


def test_the_best_checkpoint_of_an_open_run_is_selected_by_open_data(prepared, tmp_path):
    shutil.copytree(prepared / 'data' / 'photographs', tmp_path / 'data' / 'portraits')
    shutil.copytree(prepared / 'data' / 'photographs', tmp_path / 'data' / 'photographs')
    manifest = Manifest.load(prepared / 'data')
    restricted = manifest.parts[0]
    portraits = replace(restricted, name='portraits', open=True, licence='public domain', shards={
        name.replace('photographs', 'portraits'): n for name, n in restricted.shards.items()})
    replace(manifest, parts=(restricted, portraits)).save(tmp_path / 'data')
    arguments = [*overrides(prepared, tmp_path / 'run', 1), f'data={tmp_path / "data"}']
    assert Trainer(load_config(None, arguments)).task.data.selection_part == 'photographs'
    trainer = Trainer(load_config(None, [*arguments, 'sampling.open_only=true']))
    assert trainer.task.data.selection_part == 'portraits'
    assert trainer.task.data.training.table.part_names == ('portraits',)
    assert 'photographs' in trainer.task.data.validations  # measured all the same
    trainer.train()
    _, metadata = load_checkpoint(tmp_path / 'run' / 'best.safetensors', torch.device('cpu'))
    assert 'public domain' in metadata['licence'] and 'research' not in metadata['licence']


def test_batches_depend_on_their_seed_alone(prepared):
    heads = read_heads(prepared)
    first, second = (heads.training_batch(8, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(first.crops, second.crops)
    assert 1 <= int((first.is_head == 0).sum()) == 2  # a fifth, rounded up


def test_no_photograph_is_on_both_sides(prepared):
    names = [set(read_heads(prepared, side).table.group) for side in (False, True)]
    assert names[0] and names[1] and not names[0] & names[1]


def test_fits_land_on_the_labels_after_every_augmentation(prepared):
    """Pose, scale and place are carried through mirror, turn and crop with the points."""
    model = small_head_model()
    batch = read_heads(prepared).training_batch(40, np.random.default_rng(3))
    heads = batch.is_head > 0.5
    inner = model.landmarks(model(batch.shape, batch.expression))[:, 17:]
    with np.load(prepared / 'fits.npz') as fits:
        convention = LabelConvention(*(torch.from_numpy(fits[f'convention_{part}_hand']).float()
                                       for part in ('inner', 'jaw')))
    inner = inner + convention.inner_at(batch.rotation)
    projected = (batch.log_scale.exp()[:, None, None] * (inner @ batch.rotation[:, :2].mT)
                 + batch.translation[:, None])
    error = (projected - batch.points[:, 17:]).norm(dim=-1)[heads]
    assert error.median() < 0.05  # crop units; the landmark box spans 1.3


@pytest.mark.parametrize('precision', [name for name in PRECISIONS if name != 'auto'])
def test_every_precision_learns(prepared, tmp_path, precision):
    trainer = Trainer(load_config(None, [
        *overrides(prepared, tmp_path, 100), f'precision={precision}']))
    batch = trainer.task.data.training.training_batch(8, np.random.default_rng(0))
    losses = [trainer.train_step(batch)['loss'] for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_frozen_batch_norms_stay(prepared, tmp_path):
    trainer = Trainer(load_config(None, [
        *overrides(prepared, tmp_path, 9), 'freeze_batch_norm=true']))
    before = {name: value.clone() for name, value in trainer.network.named_buffers()}
    trainer.train_step(trainer.task.data.training.training_batch(8, np.random.default_rng(0)))
    assert all(torch.equal(before[name], value) for name, value in trainer.network.named_buffers())


def test_shares_of_a_batch_are_the_batch(prepared):
    heads = read_heads(prepared)
    whole, *shares = (heads.training_batch(9, np.random.default_rng(7), share=share)
                      for share in ((0, 1), (0, 3), (1, 3), (2, 3)))
    for name, value in vars(whole).items():
        for number, share in enumerate(shares):
            assert torch.equal(getattr(share, name), value[number::3]), name


def test_a_batch_cannot_be_shared_unevenly(prepared, tmp_path):
    world = World(torch.device('cpu'), rank=0, size=3)
    with pytest.raises(ValueError, match='batch_size: 8'):
        Trainer(load_config(None, overrides(prepared, tmp_path, 1)), world)


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_batch(prepared, tmp_path):
    with pytest.raises(ValueError, match='bad_batch'):
        main([*overrides(prepared, tmp_path, 50), 'learning_rate=1e30', 'warmup_steps=0'])
    batch = Batch(**load_file(tmp_path / 'bad_batch.safetensors'))
    state = torch.load(tmp_path / 'bad_state.pt', weights_only=True)
    expected = read_heads(prepared).training_batch(8, np.random.default_rng((0, state['step'])))
    assert batch.crops.shape == expected.crops.shape
    assert torch.equal(batch.points, expected.points)
    # Batch statistics have seen the batch; weights have not.
    assert all(torch.isfinite(value.float()).all() for name, value in state['network'].items()
               if '.running_' not in name)
