"""
Choose the replay set of `trans3dhead update` from prepared synthetic people.

    python -m tools.replay_set PREPARED…

PREPARED are folders of `trans3dhead prepare data --parts synthetic --preset wide`, or shards of
one. The pictures are made as small as a network sees them, so that the set fits into the package.
Run it with a finished head model only: the offsets of labels come from `--offsets`, a folder of
data that the bundled model was trained on.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.types import Array
from trans3dhead_training.data.labels import is_held_out
from trans3dhead_training.data.manifest import Manifest, Part
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.data.shards import Shard, write_shard
from trans3dhead_training.preparation.synthetic_maker import SyntheticMaker
from trans3dhead_training.update.recording_maker import REPLAY

SIDE_PX, JPEG_QUALITY = 192, 82
NAME = 'synthetic'


def main() -> None:
    """Write the replay set into the package, or elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('prepared', type=Path, nargs='+')
    parser.add_argument('--offsets', type=Path, required=True, metavar='FOLDER',
                        help='prepared folder whose manifest has the offsets of labels')
    parser.add_argument('--count', type=int, default=1000)
    parser.add_argument('--output', type=Path, default=REPLAY)
    options = parser.parse_args()
    paths = [path for folder in options.prepared for path in (
        [folder] if folder.is_file() else sorted(folder.rglob('*.safetensors')))]
    samples = [made_small(sample) for sample in chosen([Shard(path) for path in paths],
                                                       options.count)]
    write_shard(options.output / NAME / '00000.safetensors', samples)
    part = Part(NAME, SyntheticMaker.source, SyntheticMaker.licence, True,
                {f'{NAME}/00000.safetensors': len(samples)},
                sum(sample.is_validation for sample in samples))
    Manifest(0, {'side_px': SIDE_PX, 'jpeg_quality': JPEG_QUALITY},
             np.round(Manifest.load(options.offsets).offsets, 6).tolist(), (part,)
             ).save(options.output)
    size = sum(file.stat().st_size for file in options.output.rglob('*') if file.is_file())
    print(f'{options.output}: {len(samples)} heads of '
          f'{len({sample.group for sample in samples})} people, {part.validation} held out, '
          f'{size / 1e6:.1f} MB')


def chosen(shards: list[Shard], count: int) -> list[Sample]:
    """Return so many samples, the same number of each person, in a fixed order."""
    rows: dict[str, list[tuple[Shard, int]]] = defaultdict(list)
    for shard in shards:
        for row, group in enumerate(shard.groups):
            rows[str(group)].append((shard, row))
    turns = [(place, group, row) for group, own in rows.items() for place, row in enumerate(own)]
    turns.sort(key=lambda turn: turn[:2])
    return [replace(shard.sample(row), is_validation=is_held_out(group))
            for _, group, (shard, row) in turns[:count]]


def made_small(sample: Sample) -> Sample:
    """Return a sample whose picture is at most `SIDE_PX` wide."""
    image = sample.image()
    factor = SIDE_PX / image.shape[0]
    if factor >= 1.0:
        return sample
    image = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()

    def moved(points: Array) -> Array:
        # Pixel centres lie at integers, edges at halves, and scaling keeps the edges.
        return (points + 0.5) * factor - 0.5

    return replace(
        sample, picture=data, points=moved(sample.points), depth=sample.depth * factor,
        contour=moved(sample.contour), placement=Placement(
            moved(sample.placement.translation), sample.placement.log_scale + np.log(factor)))


if __name__ == '__main__':
    main()
