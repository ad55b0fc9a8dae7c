"""
Count false heads in rooms without people, and how long they live.

    python benchmarks/static_rooms.py --data DATA/rooms [--count 80] [--seconds 2]

Each held-out picture is tracked as the frames of a still camera at 15 Hz, in stream time. A head
that is still answered after the first second is one that no rule of the tracker ends.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from trans3dhead_ros import HeadPipeline
from trans3dhead_training.detection.picture_sources import read_rooms

RATE_HZ = 15.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--count', type=int, default=80)
    parser.add_argument('--seconds', type=float, default=2.0)
    parser.add_argument('--detector')
    parser.add_argument('--model')
    options = parser.parse_args()
    rooms = read_rooms(options.data, True)
    rows = np.unique(np.linspace(0, len(rooms) - 1, options.count).astype(int))
    pipeline = HeadPipeline.load(options.model, device='cpu', detector=options.detector)
    lives = []
    for row in rows:
        pipeline.reset()
        seen = [len(pipeline.track(rooms[row].image, stamp=frame / RATE_HZ))
                for frame in range(int(options.seconds * RATE_HZ))]
        lives.append([any(seen), any(seen[int(RATE_HZ) + 1:])])
    ever, late = np.array(lives).sum(axis=0)
    print(f'{len(rows)} rooms: a false head in {ever}, after a second still in {late}')


if __name__ == '__main__':
    main()
