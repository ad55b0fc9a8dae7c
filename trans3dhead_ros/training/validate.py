"""The few figures that a training watches on faces it does not see."""

from __future__ import annotations

import numpy as np
import torch

from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.training.dataset import Faces
from trans3dhead_ros.training.metrics import nme_68, nme_inner, receiver_operating_area


@torch.no_grad()
def validate(network: Trans3DHead, faces: Faces, device: torch.device) -> dict[str, float]:
    """
    Return errors over plainly cropped faces: `inner51_percent` and `nme68_percent` (jaw on the
    contour) of sqrt(w h) of the true box, `rotation_deg` (median geodesic distance to the fits) and
    `score_auc` against as many negatives.
    """
    network.eval()
    inner, all_points, angles, scores, labels = [], [], [], [], []
    for batch in faces.validation_batches(32):
        batch = batch.to(device)
        prediction = network(batch.crops.contiguous(memory_format=torch.channels_last))
        scores.append(prediction.score)
        labels.append(batch.is_head)
        heads = batch.is_head > 0.5
        truth = batch.points[heads]
        points = torch.cat([prediction.contour, prediction.landmarks[:, JAW_COUNT:]], 1)[heads]
        points, truth = points.cpu().numpy(), truth.cpu().numpy()
        inner.append(nme_inner(points, truth))
        all_points.append(nme_68(points, truth))
        angles.append(geodesic_distance_deg(prediction.rotation[heads], batch.rotation[heads]))
    score, label = torch.cat(scores).cpu().numpy(), torch.cat(labels).cpu().numpy() > 0.5
    return {'inner51_percent': 100 * float(np.concatenate(inner).mean()),
            'nme68_percent': 100 * float(np.concatenate(all_points).mean()),
            'rotation_deg': float(torch.cat(angles).median()),
            'score_auc': receiver_operating_area(score, label)}
