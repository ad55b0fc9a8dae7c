"""Target yaws are uniform, and photographs turn away from the camera."""


import numpy as np

from trans3dhead_training.synthesis.turned_photos.pose_sampler import (
    assign_yaws,
    can_turn_to,
)


def test_planned_yaws_even_out_the_photographs_beside_them():
    generator = np.random.default_rng(0)
    sources = np.clip(generator.normal(0, 14, 400), -45, 45)
    yaws = np.concatenate([*assign_yaws(sources, 6.0, generator, existing_yaws=sources), sources])
    histogram = np.histogram(yaws, 18, (-90, 90))[0]
    assert len(yaws) == 2800 and histogram.min() > 145 and histogram.max() < 166


def test_planned_yaws_are_flat_and_turn_away_from_the_camera():
    generator = np.random.default_rng(0)
    sources = np.clip(generator.normal(0, 14, 400), -45, 45)
    plan = assign_yaws(sources, 4.0, generator)
    yaws = np.concatenate(plan)
    histogram = np.histogram(yaws, 18, (-90, 90))[0]
    assert len(yaws) == 1600 and histogram.min() > 80 and histogram.max() < 98
    for source, targets in zip(sources, plan, strict=True):
        assert all(can_turn_to(np.array([source]), target)[0] for target in targets)
    counts = [len(targets) for targets in plan]
    assert np.mean(counts) == 4 and max(counts) <= 8
    again = assign_yaws(sources, 4.0, np.random.default_rng(3))
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(
        assign_yaws(sources, 4.0, np.random.default_rng(3))))
