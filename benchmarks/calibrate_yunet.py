"""
Measure the map from YuNet's boxes to landmark boxes in `perception/detector.py`.

    python benchmarks/calibrate_yunet.py YUNET.onnx --data FOLDER

Prints the median offset of the centre and the median size of the landmark box in units of the sides
of YuNet's box, with median absolute deviations. Photographs of the validation set are not used.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_training.data.labels import read_labels

SOURCES = ('helen', 'afw', 'lfpw')


def yunet_boxes(network: cv2.FaceDetectorYN, image: np.ndarray) -> np.ndarray:
    network.setInputSize(image.shape[1::-1])
    found = network.detect(image)[1]
    return np.zeros((0, 4)) if found is None else found[:, :4].astype(float)


def relation(boxes: np.ndarray, points: np.ndarray) -> list[list[float]]:
    """Return offset and size of the landmark box relative to each detector box of the same face."""
    low, high = points.min(0), points.max(0)
    rows = []
    for x, y, width, height in boxes:
        offset = ((low + high) / 2 - [x + width / 2, y + height / 2]) / [width, height]
        size = (high - low) / [width, height]
        if np.linalg.norm(offset) < 0.5 and 0.4 < size.max() < 2.0:
            rows.append([*offset, *size])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', required=True, help='the folder that contains faces/labels.csv')
    parser.add_argument('yunet', help='a YuNet model of fixed input size')
    parser.add_argument('--count', type=int, default=600, help='photographs (default %(default)s)')
    options = parser.parse_args()

    network = cv2.FaceDetectorYN.create(options.yunet, '', (320, 320), 0.6)
    records = [
        record for record in read_labels(Path(options.data) / 'faces')
        if record.source in SOURCES and record.points is not None and not record.is_validation]
    chosen = np.random.default_rng(0).permutation(len(records))[:options.count]
    rows: list[list[float]] = []
    for record in (records[i] for i in chosen):
        rows += relation(yunet_boxes(network, cv2.imread(str(record.path))), record.points)
    values = np.array(rows)
    median = np.median(values, axis=0)
    spread = np.median(np.abs(values - median), axis=0)
    text = '  '.join(f'{label} {m:+.3f} ({s:.3f})' for label, m, s in zip(
        ('dx', 'dy', 'width', 'height'), median, spread, strict=True))
    print(f'{len(chosen)} photographs, {len(rows)} boxes; median (median absolute deviation): '
          f'{text}')


if __name__ == '__main__':
    main()
