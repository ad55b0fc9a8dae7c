"""
Everybody in two clips is found and keeps an id, with the bundled networks.

The people were counted by eye, frame by frame: two walk towards the camera, in view and more than
20 px high all the time; four sit in a classroom, all the time.
"""

import numpy as np
import pytest
from clips import clip

from trans3dhead_ros import HeadPipeline

FRAMES = (0, 12, 34)
NEAR = 22
"""From this frame on the heads are at least 30 px high."""
WALKERS = (((276, 131), (242, 128), (181, 135)), ((334, 114), (313, 114), (304, 108)))
"""Centres of the faces of both, px, in `FRAMES`; they move evenly in between."""
PUPILS = ((317, 168), (74, 164), (135, 138), (238, 138))


@pytest.fixture(scope='module')
def pipeline():
    return HeadPipeline.load(device='cpu')


def found_at(heads, place, radius):
    """Return the ids of the heads whose box has its centre near a place."""
    return {head.track_id for head in heads
            if np.linalg.norm(0.5 * (head.box[:2] + head.box[2:]) - place) < radius}


def test_two_approaching_people_have_two_ids_and_are_found_from_30_px_on(pipeline):
    frames = clip('face-demographics-walking')
    answers = [pipeline.track(frame, stamp=i / 12) for i, frame in enumerate(frames)]
    assert len({head.track_id for heads in answers for head in heads}) == 2
    for places in WALKERS:
        path = np.stack([np.interp(range(len(frames)), FRAMES, axis)
                         for axis in zip(*places, strict=True)], axis=-1)
        seen = [found_at(heads, place, 14) for heads, place in zip(answers, path, strict=True)]
        assert all(seen[NEAR:]) and len(set.union(*seen)) == 1


def test_four_people_in_a_classroom_have_four_ids_and_there_is_no_fifth(pipeline):
    pipeline.reset()
    answers = [pipeline.track(frame, stamp=i / 12) for i, frame in enumerate(clip('classroom'))]
    assert len({head.track_id for heads in answers for head in heads}) == 4
    assert max(map(len, answers)) == 4
    for place in PUPILS:
        assert sum(bool(found_at(heads, place, 12)) for heads in answers) >= 0.9 * len(answers)
