"""The metrics that a training watches on held-out heads."""

from __future__ import annotations

import numpy as np
import torch

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.core.metrics import (
    mean_by_yaw,
    nme_68,
    nme_inner,
    nme_labelled,
    roc_auc,
)
from trans3dhead_training.data.head_dataset import HeadDataset


@torch.no_grad()
def validate(
    network: Trans3DHead, heads: HeadDataset, device: torch.device, by_yaw: bool = False,
) -> dict[str, float]:
    """
    Measure a network on heads that are cropped without augmentation.

    :param network: whose mode becomes evaluation.
    :param heads: held-out heads; each is followed by a crop without a head.
    :param device: of the network.
    :param by_yaw: also return means in bins of |yaw|, such as `nme68_60-90` and `rotation_60-90`.
        A head seen from behind is in no bin: its yaw decodes as if it faced the camera.
    :return: `inner51_percent` and `nme68_percent` (jaw on the contour), % of sqrt(w h) of the true
        box, of heads whose points are all labelled; `labelled_percent`, of the labelled points of
        the other heads, such as profiles, % of sqrt(w h) of the box of these points;
        `rotation_deg`, the median geodesic distance (absent where no pose is known); `score_auc`,
        the area under the ROC curve of the score.
    """
    network.eval()
    inner, all_points, some_points, angles, yaws = [], [], [], [], []
    scores, labels = [], []
    for batch in heads.validation_batches(32):
        batch = batch.to(device)
        prediction = network(batch.crops.contiguous(memory_format=torch.channels_last))
        scores.append(prediction.score)
        labels.append(batch.is_head)
        chosen = batch.is_head > 0.5
        truth = batch.points[chosen].cpu().numpy()
        points = torch.cat([prediction.contour, prediction.landmarks[:, JAW_COUNT:]], 1)[chosen]
        points = points.cpu().numpy()
        labelled = batch.labelled[chosen].cpu().numpy() > 0
        truth = np.where(labelled[..., None], truth, np.nan)
        # Errors over points without labels, which would compare two estimates, become nan.
        inner.append(nme_inner(points, truth))
        all_points.append(nme_68(points, truth))
        some_points.append(nme_labelled(points, truth)[~labelled.all(1)])
        known = batch.has_fit[chosen].cpu().numpy() > 0
        rotation = batch.rotation[chosen].cpu().numpy()
        angle = geodesic_distance_deg(prediction.rotation[chosen].cpu().numpy(), rotation)
        angles.append(np.where(known, angle, np.nan))
        facing = known & (rotation[:, 2, 0] < 0)
        yaws.append(np.where(facing, euler_from_rotation(rotation)[:, 0], np.nan))
    score, label = torch.cat(scores).cpu().numpy(), torch.cat(labels).cpu().numpy() > 0.5
    inner_error, points_error, some_error, angle, yaw = (
        np.concatenate(v) for v in (inner, all_points, some_points, angles, yaws))
    metrics = {'score_auc': roc_auc(score, label)}
    whole = np.isfinite(points_error)
    if whole.any():
        metrics['inner51_percent'] = 100 * float(inner_error[whole].mean())
        metrics['nme68_percent'] = 100 * float(points_error[whole].mean())
    if len(some_error):
        metrics['labelled_percent'] = 100 * float(some_error.mean())
    known = np.isfinite(angle)
    if known.any():
        metrics['rotation_deg'] = float(np.median(angle[known]))
    if by_yaw:
        facing = np.isfinite(yaw)
        for name, values in (('nme68', 100 * points_error), ('rotation', angle)):
            rows = facing & np.isfinite(values)
            bins = mean_by_yaw(values[rows], yaw[rows])
            metrics.update({f'{name}_{key}': value for key, value in bins.items()})
    return metrics
