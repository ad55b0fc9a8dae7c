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
                 nothing, ones, nothing, nothing, torch.ones(2 * count, 68))


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


def test_half_labelled_heads_have_an_error_of_their_own():
    batch = batch_at(10.0, 60.0, 0.0, 0.0)
    whole = figures(batch_at(10.0, 60.0, 0.0, 0.0))
    labelled = torch.ones(8, 68)
    labelled[1, 30:] = 0
    points = batch.points.clone()
    points[1, 40:] = torch.nan
    found = figures(replace(batch, points=points, labelled=labelled))
    assert found['nme68_percent'] != pytest.approx(whole['nme68_percent'], rel=1e-4)
    assert found['nme68_0-30'] == pytest.approx(whole['nme68_0-30'], rel=1e-4)
    assert 'nme68_30-60' not in found and 'rotation_30-60' in found
    # The network answers all of these equal crops alike.
    estimate = small_network().eval()(batch.crops)
    estimate = torch.cat([estimate.contour, estimate.landmarks[:, 17:]], 1)[1, :30]
    truth = batch.points[1, :30]
    extent = truth.amax(0) - truth.amin(0)
    error = (estimate - truth).norm(dim=-1).mean() / extent.prod().sqrt()
    assert found['labelled_percent'] == pytest.approx(100 * float(error), rel=1e-4)
    assert 'labelled_percent' not in whole
