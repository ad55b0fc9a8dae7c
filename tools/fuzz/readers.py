"""The readers that are fuzzed, each with whole files to begin with, which it makes itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np


@dataclass(frozen=True)
class FuzzedReader:
    """One reader."""

    seeds: Callable[[Path], Iterator[tuple[str, bytes]]]
    """Yields names and contents of whole files; it may use a folder for others beside them."""
    read: Callable[[Path], object]
    """Reads the file of that name in that folder; `UserError` is its only error."""


def _noise(height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def _picture_seeds(_: Path) -> Iterator[tuple[str, bytes]]:
    from PIL import Image
    first, second = Image.fromarray(_noise()), Image.fromarray(_noise()[::-1].copy())
    exif = Image.Exif()
    exif[274] = 6
    for form in ('JPEG', 'PNG', 'WEBP', 'BMP', 'AVIF', 'JPEG2000', 'PPM', 'TIFF', 'GIF'):
        buffer = io.BytesIO()
        first.save(buffer, form, **({'exif': exif} if form in ('JPEG', 'PNG', 'WEBP') else {}))
        yield f'{form.lower()}.img', buffer.getvalue()
    for form in ('GIF', 'PNG', 'WEBP', 'TIFF'):
        buffer = io.BytesIO()
        first.save(buffer, form, save_all=True, append_images=[second], **(
            {} if form == 'TIFF' else {'duration': 50}))
        yield f'moving_{form.lower()}.img', buffer.getvalue()
    samples = _noise().astype(np.uint16) * 16
    for suffix in ('.png', '.tif', '.pgm'):
        image = samples[..., 0] if suffix == '.pgm' else samples
        yield f'deep_{suffix[1:]}.img', cv2.imencode(suffix, image)[1].tobytes()


def _video_seeds(folder: Path) -> Iterator[tuple[str, bytes]]:
    for suffix, codec in (('.mp4', 'mp4v'), ('.avi', 'MJPG'), ('.mkv', 'mp4v'), ('.mov', 'mp4v')):
        path = folder / f'film{suffix}'
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 20,
                                 (64, 48))
        for index in range(6):
            writer.write(np.roll(cv2.resize(_noise(), (64, 48)), 4 * index, axis=1))
        writer.release()
        yield path.name, path.read_bytes()


def _read_source(path: Path) -> None:
    from trans3dhead_ros.media.sources import open_source
    with open_source(path) as source:
        for _ in source:
            pass


def _points() -> np.ndarray:
    return np.random.default_rng(1).uniform(20, 90, (68, 2))


def _table_seeds(folder: Path) -> Iterator[tuple[str, bytes]]:
    columns = ['file', 'source', 'split', *(f'{axis}{i}' for i in range(68) for axis in 'xy')]
    lines = [','.join(columns)]
    for number in range(3):
        cv2.imwrite(str(folder / f'face_{number}.png'), _noise(100, 100))
        lines.append(','.join([f'face_{number}.png', 'helen', 'train',
                               *(f'{value:.2f}' for value in _points().ravel())]))
    text = '\n'.join(lines) + '\n'
    yield 'labels.csv', text.encode()
    yield 'labels.csv', text.encode('utf-16')


def _read_table(path: Path) -> None:
    from trans3dhead_training.data.labels import read_labels
    read_labels(path)


def _pts_seeds(folder: Path) -> Iterator[tuple[str, bytes]]:
    rows = '\n'.join(f'{x:.6f} {y:.6f}' for x, y in _points())
    yield 'face.pts', f'version: 1\nn_points: 68\n{{\n{rows}\n}}\n'.encode()


def _read_pts(path: Path) -> None:
    from trans3dhead_training.formats.pts import read_points
    read_points(path)


def _mat_seeds(folder: Path) -> Iterator[tuple[str, bytes]]:
    from scipy.io import savemat
    cv2.imwrite(str(folder / 'face.jpg'), _noise(100, 100))
    for compressed in (False, True):
        buffer = io.BytesIO()
        savemat(buffer, {'Pose_Para': np.array([[0.1, 0.2, 0.3, 80, 80, 0, 1e-3]]),
                         'pt3d_68': np.vstack([_points().T, np.zeros(68)])},
                do_compression=compressed)
        yield 'face.mat', buffer.getvalue()


def _read_mat(path: Path) -> None:
    from trans3dhead_training.formats.aflw import read_aflw
    read_aflw(path.parent)


def _bag_seeds(folder: Path) -> Iterator[tuple[str, bytes]]:
    from trans3dhead_ros.bags.bag_writer import BagWriter
    from trans3dhead_ros.bags.message_types import common_types
    types = common_types()
    known = types.types
    header = known['std_msgs/msg/Header'](known['builtin_interfaces/msg/Time'](1, 2), 'camera')
    kind = 'sensor_msgs/msg/Image'
    image = known[kind](header=header, height=6, width=8, encoding='bgr8', is_bigendian=0, step=24,
                        data=_noise(6, 8).ravel())
    for storage, suffix in (('mcap', '.mcap'), ('sqlite3', '.db3')):
        with BagWriter(folder / f'bag_{storage}', storage) as bag:
            for index in range(4):
                data = bytes(types.serialize_cdr(image, kind))
                bag.write('/image_raw', kind, index * 10**8, data)
        (file,) = (folder / f'bag_{storage}').glob(f'*{suffix}')
        yield f'bag{suffix}', file.read_bytes()


def _read_bag(path: Path) -> None:
    from trans3dhead_ros.bags.bag_reader import BagReader
    with BagReader(path) as bag:
        for _ in bag.messages(list(bag.topics)):
            pass


def _model_seeds(suffix: str) -> Callable[[Path], Iterator[tuple[str, bytes]]]:
    def seeds(_: Path) -> Iterator[tuple[str, bytes]]:
        from trans3dhead_ros.model_files.model_metadata import bundled_model
        yield f'model{suffix}', bundled_model().with_suffix(suffix).read_bytes()
    return seeds


def _read_graph(path: Path) -> None:
    from trans3dhead_ros.model_files.model_pair import open_model
    open_model(path).head_model()


def _read_checkpoint(path: Path) -> None:
    import torch

    from trans3dhead_ros.network.checkpoint import load_checkpoint
    load_checkpoint(path, torch.device('cpu'))


READERS = {
    'pictures': FuzzedReader(_picture_seeds, _read_source),
    'videos': FuzzedReader(_video_seeds, _read_source),
    'csv': FuzzedReader(_table_seeds, _read_table),
    'pts': FuzzedReader(_pts_seeds, _read_pts),
    'mat': FuzzedReader(_mat_seeds, _read_mat),
    'bags': FuzzedReader(_bag_seeds, _read_bag),
    'graphs': FuzzedReader(_model_seeds('.onnx'), _read_graph),
    'checkpoints': FuzzedReader(_model_seeds('.safetensors'), _read_checkpoint),
}
"""By name, as `python -m tools.fuzz NAME` takes it."""
