"""
Measure the gaze direction of a checkpoint against the assumption that eyes look straight ahead.

    python benchmarks/gaze.py --data FOLDER [--model FILE.safetensors]

Uses the synthetic validation heads that show both eyes. Gaze is relative to the head, so the error
of the assumption is the angle of the true gaze. Prints the mean angular errors of the checkpoint
and of the assumption.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.ros.hri.gaze import AHEAD, gaze_rotation
from trans3dhead_training.data.shards import SUFFIX, Shard

FACING_DEG = 50.0


def angle_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the angles (N,) between unit vectors (N, 3)."""
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(first, second), axis=1),
                                 (first * second).sum(1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True,
                        help='output of `trans3dhead prepare data`')
    parser.add_argument('--model', help='checkpoint (default: the bundled one)')
    options = parser.parse_args()

    aligner = HeadAligner.load(options.model, 'cpu')
    names = aligner.expression_names
    true, estimated = [], []
    for path in sorted((options.data / 'synthetic').glob(f'*{SUFFIX}')):
        shard = Shard(path)
        labels = shard.labels
        facing = -labels['rotation'][:, 2, 0] > np.cos(np.radians(FACING_DEG))
        for row in np.flatnonzero(facing & (labels['is_validation'] == 1)):
            image = cv2.imdecode(np.frombuffer(shard.picture(row), np.uint8), cv2.IMREAD_COLOR)
            points = labels['points'][row].astype(float)
            box = np.concatenate([points.min(0), points.max(0)])
            found = aligner.align(image, box[None])
            true.append(gaze_rotation(labels['expression'][row], names)[:, 2])
            estimated.append(gaze_rotation(found.expression[0], names)[:, 2])
    if not true:
        raise SystemExit(f'{options.data}: no synthetic validation heads; '
                         'run `trans3dhead prepare data`')
    true, estimated = np.array(true), np.array(estimated)
    ahead = np.broadcast_to(AHEAD[:, 2], true.shape)
    print(f'{len(true)} heads within {FACING_DEG:.0f} degrees of the camera')
    print(f'mean error: checkpoint {angle_deg(estimated, true).mean():.2f} degrees, '
          f'straight ahead {angle_deg(ahead, true).mean():.2f}')
    print(f'estimates deviate by {angle_deg(estimated, ahead).mean():.2f} degrees from straight '
          f'ahead, at most {angle_deg(estimated, ahead).max():.2f}')


if __name__ == '__main__':
    main()
