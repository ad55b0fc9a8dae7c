"""Heads whose points are only partly known, and the shares of sources among photographs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_parts import drawn_sample, fitted_sample
from synthetic import small_head_model, small_network

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_training.core.augmentation import Augmentation
from trans3dhead_training.data.head_dataset import HeadDataset, SamplingConfig
from trans3dhead_training.data.manifest import Manifest, Part
from trans3dhead_training.data.mirror import HeadMirror
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.data.shards import write_shard
from trans3dhead_training.engine.initialization import set_means


def read_heads(folder: Path, samples: list[Sample], part: str, **sampling) -> HeadDataset:
    """Write samples as a part, and read it."""
    samples = [replace(sample, is_validation=False) for sample in samples]
    name = f'{part}/00000.safetensors'
    write_shard(folder / name, samples)
    Manifest(0, {}, np.zeros((51, 3)).tolist(), (
        Part(part, '', '', True, {name: len(samples)}),)).save(folder)
    mirror = HeadMirror(np.eye(4), np.arange(3))
    return HeadDataset.read(folder, small_head_model(), (part,), False, 32, 1.5,
                            SamplingConfig(**sampling), mirror=mirror)


def half_labelled(number: int, given: bool) -> Sample:
    """Return a head of which points 40-67 have no label; a fit gives them, or nobody does."""
    sample = replace(fitted_sample(number), points_are_3d=False, contour=None)
    labelled = np.arange(68) < 40
    if given:
        return replace(sample, visible=labelled)
    return replace(sample, visible=None,
                   points=np.where(labelled[:, None], sample.points, np.nan))


def test_points_that_a_fit_gave_are_known_but_not_labelled(tmp_path):
    batch = read_heads(tmp_path, [half_labelled(1, True)], 'profiles').plain_batch([0])
    assert batch.points.isfinite().all()
    assert batch.labelled[0].tolist() == [1.0] * 40 + [0.0] * 28


def test_unknown_points_stay_unknown_in_augmented_crops(tmp_path):
    heads = read_heads(tmp_path, [half_labelled(1, False)], 'photographs', negative_share=0.0)
    batch = heads.training_batch(30, np.random.default_rng(0))
    known = batch.points.isfinite().all(-1)
    plain = torch.arange(68) < 40
    mirrored = plain[list(MIRROR_68)]
    is_plain, is_mirrored = (known == plain).all(1), (known == mirrored).all(1)
    assert (is_plain | is_mirrored).all() and is_plain.any() and is_mirrored.any()
    assert torch.equal(batch.labelled > 0, known)
    assert all(getattr(batch, name).isfinite().all()
               for name in ('crops', 'jaw', 'rotation', 'translation', 'log_scale', 'shape'))


def test_the_reference_of_a_network_is_the_mean_of_known_points(tmp_path):
    heads = read_heads(tmp_path, [half_labelled(1, False), half_labelled(3, False),
                                  half_labelled(5, True)], 'photographs')
    network = small_network()
    set_means(network, heads)
    assert network.mean_points.isfinite().all()


@pytest.fixture
def sources() -> list[Sample]:
    """Return three samples of helen and one each of lfpw and ytf."""
    names = ['helen'] * 3 + ['lfpw', 'ytf']
    return [replace(drawn_sample(number), source=name) for number, name in enumerate(names)]


def test_sources_of_photographs_are_drawn_by_their_shares(tmp_path, sources):
    heads = read_heads(tmp_path, sources, 'photographs', source_shares={'helen': 3, 'ytf': 1})
    chance = heads.probabilities(Augmentation())
    assert chance == pytest.approx([0.25, 0.25, 0.25, 0.0, 0.25])


def test_a_source_that_the_photographs_do_not_have_is_named(tmp_path, sources):
    heads = read_heads(tmp_path, sources, 'photographs', source_shares={'helen': 3, 'afw': 1})
    with pytest.raises(UserError, match='source_shares.afw.*helen, lfpw, ytf'):
        heads.probabilities(Augmentation())
