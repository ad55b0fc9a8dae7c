"""
Measure the maps from detector boxes to landmark boxes in `perception/detector.py`.

    python benchmarks/calibrate_detectors.py --data FOLDER [--yunet FILE.onnx]

Prints, for each detector, the median offset of the centre and the median size of the landmark box
in units of the sides of the detector box, with median absolute deviations. Offsets of mirrored
profiles are mirrored back. Photographs of the validation set are not used.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_training.data.labels import read_labels

SOURCES = ('helen', 'afw', 'lfpw')


def cascade_boxes(name: str, grey: np.ndarray, smallest: int) -> np.ndarray:
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + name)
    return np.array(cascade.detectMultiScale(grey, 1.1, 3, minSize=(smallest, smallest)),
                    dtype=float).reshape(-1, 4)


def yunet_boxes(network: cv2.FaceDetectorYN, image: np.ndarray) -> np.ndarray:
    network.setInputSize(image.shape[1::-1])
    found = network.detect(image)[1]
    return np.zeros((0, 4)) if found is None else found[:, :4].astype(float)


def relation(boxes: np.ndarray, points: np.ndarray, mirror: float = 1.0) -> list[list[float]]:
    """Return offset and size of the landmark box relative to each detector box of the same face."""
    low, high = points.min(0), points.max(0)
    rows = []
    for x, y, width, height in boxes:
        offset = ((low + high) / 2 - [x + width / 2, y + height / 2]) / [width, height]
        size = (high - low) / [width, height]
        if np.linalg.norm(offset) < 0.5 and 0.4 < size.max() < 2.0:
            rows.append([mirror * offset[0], offset[1], *size])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', required=True, help='the folder that contains faces/labels.csv')
    parser.add_argument('--yunet', help='a YuNet model of fixed input size')
    parser.add_argument('--count', type=int, default=600, help='photographs (default %(default)s)')
    options = parser.parse_args()

    network = None
    if options.yunet:
        network = cv2.FaceDetectorYN.create(options.yunet, '', (320, 320), 0.6)
    records = [
        record for record in read_labels(Path(options.data) / 'faces')
        if record.source in SOURCES and record.points is not None and not record.is_validation]
    chosen = np.random.default_rng(0).permutation(len(records))[:options.count]
    rows: dict[str, list[list[float]]] = {}
    for record in (records[i] for i in chosen):
        image = cv2.imread(str(record.path))
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        smallest = int(0.5 * np.ptp(record.points, axis=0).max())
        for name in ('frontalface_default', 'frontalface_alt2', 'profileface'):
            boxes = cascade_boxes(f'haarcascade_{name}.xml', grey, smallest)
            rows.setdefault(name, []).extend(relation(boxes, record.points))
        flipped = cascade_boxes('haarcascade_profileface.xml', cv2.flip(grey, 1), smallest)
        flipped[:, 0] = grey.shape[1] - 1 - flipped[:, 0] - flipped[:, 2]
        rows['profileface'].extend(relation(flipped, record.points, mirror=-1.0))
        if network is not None:
            rows.setdefault('yunet', []).extend(
                relation(yunet_boxes(network, image), record.points))
    print(f'{len(chosen)} photographs; median (median absolute deviation)')
    for name, found in rows.items():
        values = np.array(found)
        median = np.median(values, axis=0)
        spread = np.median(np.abs(values - median), axis=0)
        text = '  '.join(f'{label} {m:+.3f} ({s:.3f})' for label, m, s in zip(
            ('dx', 'dy', 'width', 'height'), median, spread, strict=True))
        print(f'{name:22s}{len(found):5d} boxes  {text}')


if __name__ == '__main__':
    main()
