"""Augmented crops keep their labels, shape and type."""

import cv2
import numpy as np
import pytest

from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_training.core.augmentation import (
    Augmentation,
    centred_transform,
    cut_by_border,
    photometric,
    random_transform,
)
from trans3dhead_training.core.background_crops import negative_crop


def test_the_plain_transform_puts_the_box_in_the_middle():
    points = np.random.default_rng(0).uniform(-1, 1, (68, 2))
    mapped = centred_transform(points, 1.5).points(points)
    assert np.allclose(mapped.min(0), -mapped.max(0))
    assert np.abs(mapped).max() == pytest.approx(1 / 1.5)


def test_pixels_follow_the_points_through_a_random_transform():
    generator = np.random.default_rng(5)
    image = np.zeros((200, 200, 3), np.uint8)
    points = generator.uniform(60, 140, (68, 2))
    mark = points[30].round()
    points[30] = mark
    cv2.circle(image, tuple(int(v) for v in mark), 4, (255, 255, 255), -1)
    low, high = points.min(0), points.max(0)
    centre, side = (low + high) / 2, (high - low).max()
    face = 2 * (points - centre) / side
    for mirror in (False, True):
        own = face[MIRROR_68] * [-1, 1] if mirror else face
        transform = random_transform(own, mirror, 1.5, generator)
        crop = cv2.warpAffine(image, transform.image_to_crop(centre, side, 128), (128, 128))
        ys, xs = np.nonzero(crop[..., 0] > 128)
        target = transform.points(own)[MIRROR_68[30] if mirror else 30]
        assert np.allclose([xs.mean(), ys.mean()], (target + 1) * 64 - 0.5, atol=1.0)


def test_crops_that_are_off_keep_the_labels_on_the_head():
    points = np.random.default_rng(0).uniform(-1, 1, (68, 2))
    config = Augmentation(off_share=1.0, off_shift=0.5, wide_turn_share=0.0, turn_sigma_deg=0.0)
    centres = np.array([random_transform(points, False, 1.5, np.random.default_rng(seed),
                                         config).points(points).mean(axis=0)
                        for seed in range(40)])
    assert 0.4 < np.abs(centres).max() < 0.9


def test_a_border_cuts_a_head_by_the_part_that_was_asked_for():
    crop = np.random.default_rng(0).integers(1, 256, (64, 64, 3), dtype=np.uint8)
    corners, box_px = np.array([[-0.5, -0.5], [0.5, 0.5]]), 32
    sides = set()
    for seed in range(60):
        cut = cut_by_border(crop, corners, np.random.default_rng(seed), 0.4)
        assert cut.shape == crop.shape
        changed = (cut != crop).any(axis=2)
        rows, columns = changed.all(axis=1), changed.all(axis=0)
        lines = rows if rows.any() else columns
        # Reflected rows may resemble what they replace; a plain colour never does.
        if len(np.unique(cut[changed], axis=0)) == 1:
            sides.add((bool(rows.any()), bool(lines[0])))
            assert 16 <= lines.sum() <= 16 + 0.4 * box_px + 1
    assert len(sides) == 4


def test_photometric_changes_keep_shape_and_type():
    generator = np.random.default_rng(0)
    crop = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for _ in range(60):
        changed = photometric(crop, generator)
        assert changed.shape == crop.shape and changed.dtype == np.uint8


def test_negatives_have_the_crops_size():
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (150, 120, 3), dtype=np.uint8)
    points = generator.uniform(40, 80, (68, 2))
    for _ in range(60):
        crop = negative_crop(image, points, 32, 1.5, [], generator)
        assert crop.shape == (32, 32, 3) and crop.dtype == np.uint8
