"""The metrics that a training watches on held-out heads."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from synthetic import small_network

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.engine.validation import validate


def batch_at(*yaws_deg: float) -> Batch:
    """Grey crops, one head of each yaw and as many crops without one."""
    count = len(yaws_deg)
    rotation = rotation_from_euler(np.array([[yaw, 0.0, 0.0] for yaw in yaws_deg] * 2))
    points = torch.rand(2 * count, 68, 2, generator=torch.Generator().manual_seed(0))
    nothing, ones = torch.zeros(2 * count, 2), torch.ones(2 * count)
    return Batch(torch.full((2 * count, 3, 32, 32), 0.5), (torch.arange(2 * count) < count).float(),
                 points, ones, ones, points[:, :17], torch.from_numpy(rotation).float(),
                 nothing, ones, nothing, nothing)


def figures(batch: Batch) -> dict[str, float]:
    heads = SimpleNamespace(validation_batches=lambda count: [batch])
    return validate(small_network().eval(), heads, torch.device('cpu'), by_yaw=True)


def test_a_head_seen_from_behind_is_in_no_bin_of_yaw():
    front, both = figures(batch_at(10.0, 40.0)), figures(batch_at(10.0, 40.0, 170.0))
    for name in ('nme68_0-30', 'rotation_0-30', 'rotation_30-60'):
        assert both[name] == pytest.approx(front[name], rel=1e-4)
    assert 'nme68_60-90' not in both


def test_without_poses_there_are_no_figures_of_pose():
    batch = batch_at(10.0, 40.0)
    found = figures(replace(batch, has_fit=torch.zeros(4)))
    assert 'nme68_percent' in found and not any(name.startswith('rotation') for name in found)
