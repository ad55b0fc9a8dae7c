"""What is kept of a recording: no near-duplicates, all poses, people who stay on one side."""

from dataclasses import replace

import numpy as np
import pytest

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.update.collected_heads import CollectedHeads, TrackedHeads
from trans3dhead_training.update.head_selection import (
    NoveltyFilter,
    choose_heads,
    people_of,
    time_jumps,
)
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.recording_maker import held_out_heads

FACE = np.random.default_rng(0).uniform(20.0, 80.0, (68, 2))
CROP = np.random.default_rng(1).integers(0, 255, (60, 60, 3), np.uint8)


def turned(yaw: float) -> np.ndarray:
    return rotation_from_euler(np.array([yaw, 0.0, 0.0]))


def collected(yaws, people=None, spread=0.01) -> CollectedHeads:
    count = len(yaws)
    people = np.zeros(count, int) if people is None else np.asarray(people)
    return CollectedHeads(
        np.array([f'{n}.jpg' for n in range(count)]), people, np.zeros(count, int),
        np.zeros(count, int), people, 0.1 * np.arange(count), np.tile(FACE, (count, 1, 1)),
        np.stack([turned(yaw) for yaw in yaws]), np.ones(count), np.full(count, spread),
        np.full((count, 2), 50.0), np.full(count, 100.0), np.full(count, 50),
        np.full((count, 2), 100))


def tracked(stamps, tracks, offsets) -> TrackedHeads:
    count = len(stamps)
    return TrackedHeads(np.zeros(count, int), np.zeros(count, int), np.asarray(stamps, float),
                        np.asarray(tracks), np.stack([FACE + offset for offset in offsets]))


@pytest.mark.parametrize(('change', 'expected'), [
    ({}, False), ({'rotation': turned(10.0)}, True), ({'points': FACE * [1.0, 1.2]}, True),
    ({'points': 2 * FACE + 30}, False), ({'crop': CROP[::-1]}, True), ({'track': 2}, True)])
def test_a_head_is_new_if_its_pose_expression_look_or_track_is(change, expected):
    novelty = NoveltyFilter()
    head = {'track': 1, 'rotation': turned(0.0), 'points': FACE, 'crop': CROP}
    assert novelty.is_new(**head)
    assert novelty.is_new(**{**head, **change}) is expected


def test_rare_poses_and_people_are_kept():
    yaws = [0.0] * 40 + [50.0, -70.0]
    people = [0] * 39 + [1, 0, 0]
    kept = choose_heads(collected(yaws, people), np.zeros(42), 6)
    assert {39, 40, 41} <= set(kept.tolist()) and len(kept) == 6


def test_of_similar_heads_the_uncertain_ones_are_kept():
    heads = collected([0.0] * 10)
    spread = np.linspace(0.0, 0.03, 10)
    assert choose_heads(replace(heads, spread=spread), np.zeros(10), 3).tolist() == [7, 8, 9]


def test_a_jump_is_a_change_that_the_neighbouring_frames_do_not_explain():
    offsets = [0.0, 1.0, 2.0, 9.0, 4.0, 5.0]
    heads = collected([0.0] * 6)
    jumps = time_jumps(heads, tracked(heads.stamp, [0] * 6, offsets))
    assert jumps.argmax() == 3 and jumps[1] == pytest.approx(0.0)


def test_a_track_that_continues_at_the_same_place_is_of_the_same_person():
    stamps = [0.0, 0.1, 1.0, 1.1, 1.2, 9.0]
    tracks = [0, 0, 1, 1, 2, 3]
    people = people_of(tracked(stamps, tracks, [0.0, 0.0, 2.0, 2.0, 500.0, 2.0]))
    assert people[0] == people[2] and len({people[0], people[4], people[5]}) == 3


def labelled(people, stamps) -> LabelledHeads:
    count = len(people)
    return LabelledHeads(
        np.array(['a'] * count), np.asarray(people), np.asarray(stamps, float),
        np.tile(FACE, (count, 1, 1)), np.tile(np.eye(3), (count, 1, 1)), np.ones(count),
        np.zeros(count), np.zeros(count, bool), np.array([''] * count),
        np.full((count, 68, 2), np.nan))


def test_whole_people_are_held_out():
    people = np.repeat(np.arange(10), 7)
    chosen = held_out_heads(labelled(people, np.arange(70)), 0.3)
    assert 0 < chosen.sum() < 70
    assert all(len(set(chosen[people == person])) == 1 for person in range(10))


def test_of_one_person_the_last_part_of_the_time_is_held_out():
    chosen = held_out_heads(labelled([3] * 20, np.arange(20)), 0.2)
    assert chosen.tolist() == [False] * 16 + [True] * 4
