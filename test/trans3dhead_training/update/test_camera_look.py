"""Replayed heads take the light, the noise, the sharpness and the poses of recorded ones."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from trans3dhead_ros.geometry import rotation_from_euler, viewing_ray_rotation
from trans3dhead_training.core.alignment import fit_weak_perspective
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.data.shards import read_shards, write_shard
from trans3dhead_training.synthesis.scenes.camera_effects import add_sensor_noise
from trans3dhead_training.update.camera_look import (
    measure_look,
    scaled,
    stretched,
    with_look,
)
from trans3dhead_training.update.label_fitting import HeadFits
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.recording_maker import (
    ADAPTED_EACH,
    REPLAY,
    AdaptedMaker,
    ReplayMaker,
)
from trans3dhead_training.update.update_run import UpdateRun

HEADS = 24
GAIN, BLUR_PX, NOISE_LEVELS, SCALE = 0.2, 1.2, 5.0, 0.7


def bad_camera(image: np.ndarray, seed: int) -> np.ndarray:
    dark = cv2.GaussianBlur(image, (0, 0), BLUR_PX) * GAIN
    return add_sensor_noise(np.round(dark).astype(np.uint8), np.random.default_rng(seed),
                            NOISE_LEVELS)


def replayed(validation: bool) -> list:
    return [sample for sample in read_shards(REPLAY / 'synthetic')
            if sample.is_validation == validation and sample.rotation[2, 0] < 0]


def test_a_look_is_measured_in_the_picture_to_which_it_was_applied():
    one, other = replayed(False)[:2]
    look = measure_look(bad_camera(one.image(), 0), one.box)
    image = with_look(other.image(), other.box, look, BLUR_PX, np.random.default_rng(0))
    found = measure_look(image, other.box)
    assert found.colour == pytest.approx(look.colour, abs=2.0)
    assert found.noise == pytest.approx(look.noise, rel=0.25)
    bright = measure_look(other.image(), other.box)
    assert bright.colour.min() > 2 * look.colour.max() and bright.noise < 0.7 * look.noise


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> UpdateRun:
    """A run whose heads are held-out ones of the replay set before a bad camera."""
    run = UpdateRun(tmp_path_factory.mktemp('run'))
    run.crops.mkdir(parents=True)
    heads = [scaled(sample, SCALE) for sample in replayed(True)[:HEADS]]
    names = np.array([f'{number}.jpg' for number in range(HEADS)])
    for number, (name, head) in enumerate(zip(names, heads, strict=True)):
        cv2.imwrite(str(run.crops / name), bad_camera(head.image(), number),
                    [cv2.IMWRITE_JPEG_QUALITY, 95])
    points = np.stack([head.points for head in heads])
    rotation = np.stack([head.rotation for head in heads])
    ones, text = np.ones(HEADS), np.full(HEADS, '', '<U32')
    LabelledHeads(names, np.arange(HEADS), 0.1 * np.arange(HEADS), points, rotation, ones, 0 * ones,
                  ones < 0, text, np.full((HEADS, 68, 2), np.nan)).save(run.labels)
    HeadFits(rotation, np.zeros((HEADS, 2)), ones, np.zeros((HEADS, 50)), np.zeros((HEADS, 53)),
             points, text).save(run.fits)
    return run


def maker_of(run: UpdateRun, seed: int = 0) -> AdaptedMaker:
    part = Manifest.load(REPLAY).parts[0]
    return AdaptedMaker(run.path, 0.1, (ReplayMaker(
        REPLAY, part.name, part.source, part.licence, part.open),), seed)


def test_replayed_heads_look_like_the_recorded_ones(run):
    maker = maker_of(run)
    samples = maker.make(0, 60)
    recorded = [cv2.imread(str(path)) for path in run.crops.iterdir()]
    assert np.mean([sample.image().mean() for sample in samples]) == pytest.approx(
        np.mean([image.mean() for image in recorded]), rel=0.3)
    sides = [float(np.ptp(sample.points, axis=0).max()) for sample in samples]
    assert np.median(sides) == pytest.approx(
        SCALE * np.median([np.ptp(s.points, axis=0).max() for s in replayed(True)]), rel=0.15)
    assert not any(sample.is_validation for sample in samples)
    assert {sample.group for sample in samples} <= {sample.group for sample in replayed(False)} | {
        sample.group for sample in read_shards(REPLAY / 'synthetic')}
    assert ADAPTED_EACH * 15 < maker.count() < ADAPTED_EACH * HEADS


def test_labels_stay_on_the_head_when_a_picture_shrinks():
    sample = replayed(False)[0]
    small = scaled(sample, 0.5)
    height, width = sample.image().shape[:2]
    assert small.image().shape[:2] == (height // 2, width // 2)
    assert 2 * (small.points + 0.5) == pytest.approx(sample.points + 0.5)
    assert np.exp(small.placement.log_scale - sample.placement.log_scale) == pytest.approx(0.5)
    assert scaled(sample, 1.0) is sample


def test_a_head_is_stretched_as_a_wide_lens_does_off_its_axis():
    sample, ray = replayed(False)[0], np.array([0.6, -0.3])
    points = np.column_stack([sample.points, np.zeros(68)])
    # A flat head at 100 head sizes, so that nothing but the angle of the ray counts.
    size = float(np.ptp(sample.points, axis=0).max())
    towards = (points - [*sample.points.mean(0), 0.0]) / (100 * size) + [0.0, 0.0, 1.0]
    seen = towards @ viewing_ray_rotation(np.append(ray, 1.0)).T
    expected = seen[:, :2] / seen[:, 2:]
    found = stretched(sample, ray)
    scale, _ = fit_weak_perspective(found.points, expected)
    centred = (found.points - found.points.mean(0)) * float(scale)
    assert centred == pytest.approx(expected - expected.mean(0), abs=3e-2 * np.ptp(expected))
    assert found.image().shape == sample.image().shape and found.picture != sample.picture
    assert np.array_equal(found.rotation, sample.rotation)
    assert stretched(sample, np.full(2, np.nan)) is sample


def test_poses_are_drawn_near_those_of_the_recording(run):
    fits = HeadFits.load(run.fits)
    below = np.repeat(rotation_from_euler(np.array([[20.0, 30.0, 0.0]])), HEADS, axis=0)
    replace(fits, rotation=below).save(run.fits)
    try:
        samples = maker_of(run, seed=1).make(0, 60)
    finally:
        fits.save(run.fits)
    seen = np.stack([sample.rotation[2] for sample in samples]) @ below[0, 2]
    assert np.median(np.rad2deg(np.arccos(np.clip(seen, -1, 1)))) < 20.0


def test_equal_numbers_give_equal_pictures(run):
    one, again = (maker_of(run).make(5, 6)[0] for _ in range(2))
    assert one.picture == again.picture and Path(str(one.group)) == Path(str(again.group))


def test_parts_of_the_replay_set_are_drawn_equally_often(run, tmp_path):
    one = maker_of(run)
    manifest, file = Manifest.load(REPLAY), 'others/00000.safetensors'
    write_shard(tmp_path / file, [replace(sample, depth=None, group=f'other {number}')
                                  for number, sample in enumerate(replayed(False)[:30])])
    part = replace(manifest.parts[0], name='others', source='others', shards={file: 30})
    replace(manifest, parts=(part,)).save(tmp_path)
    both = replace(one, replay=(*one.replay, ReplayMaker(
        tmp_path, part.name, part.source, part.licence, part.open)))
    drawn = [sample.group.startswith('other') for sample in both.make(0, 60)]
    assert 0.3 < np.mean(drawn) < 0.7
    assert both.source.startswith(f'{one.replay[0].source}; others')
    assert both.licence == one.licence and both.settings() != one.settings()
