"""`trans3dhead track`: follow the heads of a picture, folder, video, camera or ROS 2 bag."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.cli.missing_package import missing_package
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import PICTURE_SUFFIXES, FrameSource, open_source

Image = NDArray[np.uint8]

BAG_SUFFIXES = ('.mcap', '.db3')
BAG_OPTIONS = ('topic', 'camera_info', 'namespace', 'copy', 'markers', 'mesh', 'overlay', 'storage',
               'force', 'checkpoint', 'parameter')
VIDEO_CODECS = {'.mp4': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog='trans3dhead track', description=__doc__.split(': ', 1)[1])
    parser.add_argument('source', metavar='SOURCE',
                        help='picture, folder of pictures, GIF, video, stream URL, camera index, '
                             'or a ROS 2 bag (.mcap, .db3, or the folder of one)')
    parser.add_argument('--output', type=Path, metavar='FILE',
                        help='overlay: a video (.mp4, .mov, .mkv, .avi), a picture for one frame, '
                             'or a folder for numbered pictures; of a bag: a bag (.mcap, .db3, or '
                             'a folder) with the messages of the node')
    parser.add_argument('--json', metavar='FILE',
                        help="one JSON object a frame, in order; '-' is the standard output")
    parser.add_argument('--model', type=Path, help='checkpoint (default: the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--detector', default='cascade',
                        help='cascade, or a YuNet .onnx file (default: %(default)s)')
    parser.add_argument('--fov', type=float, metavar='DEGREES',
                        help="the camera's horizontal field of view, for metric poses where the "
                             'source does not bring its camera')
    bag = parser.add_argument_group('for a bag', 'A run that was stopped goes on where it was when '
                                    'the same command is given again.')
    bag.add_argument('--topic', help='of the images, where there are several')
    bag.add_argument('--camera-info', metavar='TOPIC',
                     help='of the calibration (default: camera_info beside the images)')
    bag.add_argument('--namespace', default='', help='of the answers, such as front')
    bag.add_argument('--copy', nargs='?', const='inputs', choices=('inputs', 'all'),
                     help='copy the images and the calibration, or everything')
    bag.add_argument('--markers', action='store_true', help='write head_markers too')
    bag.add_argument('--mesh', action='store_true', help='write head_mesh and its triangles too')
    bag.add_argument('--overlay', action='store_true', help='write overlay too')
    bag.add_argument('--storage', default='mcap', choices=('mcap', 'sqlite3'),
                     help='of an output folder (default: %(default)s)')
    bag.add_argument('--force', action='store_true', help='replace an output that exists')
    bag.add_argument('--checkpoint', type=int, default=200, metavar='IMAGES',
                     help='go on from at most so many images before a stop (default: %(default)s)')
    bag.add_argument('-p', '--parameter', action='append', metavar='NAME:=VALUE',
                     help='a parameter of the node, such as head_scale:=0.9')
    options = parser.parse_args(argv)
    if not is_bag(options.source):
        for name in BAG_OPTIONS:
            if getattr(options, name) != parser.get_default(name):
                raise UserError(f'{name.replace("_", "-")}: is for bags, and {options.source} is '
                                 'none')
    elif options.checkpoint < 1:
        raise UserError(f'checkpoint: expected 1 or more, got {options.checkpoint}')
    return options


def is_bag(source: str) -> bool:
    """
    Tell whether a source is a ROS 2 bag.

    :raises ValueError: for a bag of ROS 1.
    """
    path = Path(source)
    if path.suffix == '.bag' and path.is_file():
        raise UserError(f'source: {path} is a bag of ROS 1; convert it first: '
                         f'rosbags-convert --src {path} --dst {path.with_suffix("")}')
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or any(
            {*file.suffixes} & {*BAG_SUFFIXES} for file in path.iterdir())
    return path.suffix in BAG_SUFFIXES


def _track_bag(options: argparse.Namespace) -> int:
    if not Path(options.source).exists():
        raise UserError(f'source: {options.source} does not exist')
    try:
        from trans3dhead_ros.ros.bag_tracking.track_bag import track_bag
    except ModuleNotFoundError as error:
        raise missing_package('a bag', error) from None
    return track_bag(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead track`; `ValueError` for a user's mistake."""
    options = _parse(argv)
    if is_bag(options.source):
        return _track_bag(options)
    records: list[dict[str, Any]] = []
    with ExitStack() as stack:
        source = stack.enter_context(open_source(options.source))
        camera = source.camera
        if camera is None and options.fov is not None:
            camera = Camera.from_fov(source.size, options.fov)
        # These import torch, which takes seconds: too long for a mistyped name or for the help.
        from trans3dhead_ros.media.overlay import draw_heads
        from trans3dhead_ros.media.records import frame_record, record_line
        from trans3dhead_ros.perception.pipeline import HeadPipeline
        pipeline = HeadPipeline.load(options.model, options.device, detector=options.detector)
        # Last, so that a mistake above leaves the files of an earlier run alone.
        show = stack.enter_context(_overlay_writer(options.output, source))
        write_line = stack.enter_context(_line_writer(options.json))
        began = time.perf_counter()
        frames = tqdm(source, total=source.count, unit='frame', leave=False, disable=None)
        try:
            for frame in frames:
                heads = pipeline.track(frame.image, frame.stamp, camera)
                records.append(frame_record(frame.index, frame.stamp, heads))
                write_line(record_line(records[-1]))
                if show is not None:
                    show(draw_heads(frame.image, heads, pipeline.triangles))
        except KeyboardInterrupt:
            # The usual end of a camera: what was seen so far is kept and summarised.
            frames.close()
        seconds = time.perf_counter() - began
    summary = sys.stderr if options.json == '-' else sys.stdout
    print(summarise(records, source, seconds), file=summary)
    return 0


def summarise(records: Sequence[dict[str, Any]], source: FrameSource, seconds: float) -> str:
    """Return the lines that `track` prints at its end."""
    found = sum(bool(record['heads']) for record in records)
    lines = [f'{source.name}: {len(records)} frames, heads in {found} of them, '
             f'{len(records) / max(seconds, 1e-9):.1f} frames a second']
    angles: dict[int, list[list[float]]] = {}
    for record in records:
        for head in record['heads']:
            angles.setdefault(head['id'], []).append(head['euler_deg'])
    for identity, euler in sorted(angles.items()):
        low, high = np.min(euler, axis=0), np.max(euler, axis=0)
        ranges = ', '.join(f'{name} {a:+.0f}…{b:+.0f}°' for name, a, b in zip(
            ('yaw', 'pitch', 'roll'), low, high, strict=True))
        lines.append(f'head {identity}: {len(euler)} frames, {ranges}')
    if source.truth is not None:
        from trans3dhead_ros.media.records import pose_error
        lines.append(f'pose error: {pose_error(records, source.truth)}')
    return '\n'.join(lines)


@contextmanager
def _line_writer(path: str | None) -> Iterator[Callable[[str], object]]:
    if path is None:
        yield lambda line: None
    elif path == '-':
        yield sys.stdout.write
    else:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Line by line, so that what was seen is there when a long run is stopped.
        with Path(path).open('w', buffering=1) as file:
            yield file.write


@contextmanager
def _overlay_writer(
    path: Path | None, source: FrameSource,
) -> Iterator[Callable[[Image], object] | None]:
    """Yield what takes the overlay of each frame; None where none is wanted."""
    if path is None:
        yield None
        return
    suffix = path.suffix.lower()
    (path.parent if suffix else path).mkdir(parents=True, exist_ok=True)
    if not suffix:
        numbers = iter(range(sys.maxsize))
        yield lambda image: _write_picture(path / f'{next(numbers):06d}.png', image)
    elif suffix in PICTURE_SUFFIXES:
        if source.count != 1:
            raise UserError(f'output: {path} is one picture, but {source.name} has several '
                             'frames; name a video (.mp4) or a folder')
        yield lambda image: _write_picture(path, image)
    elif suffix in VIDEO_CODECS:
        codec = cv2.VideoWriter_fourcc(*VIDEO_CODECS[suffix])
        writer = cv2.VideoWriter(str(path), codec, source.fps, source.size)
        if not writer.isOpened():
            raise UserError(f'output: {path} cannot be written')
        try:
            yield lambda image: writer.write(_fitted(image, source.size))
        finally:
            writer.release()
    else:
        raise UserError(f'output: {path} has none of the endings '
                         f'{" ".join(sorted(PICTURE_SUFFIXES | VIDEO_CODECS.keys()))}')


def _write_picture(path: Path, image: Image) -> None:
    if not cv2.imwrite(str(path), image):
        raise UserError(f'output: {path} cannot be written')


def _fitted(image: Image, size: tuple[int, int]) -> Image:
    """Scale an image into (width, height) with black bars: a video has frames of one size only."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    small = cv2.resize(image, (max(round(width * scale), 1), max(round(height * scale), 1)),
                       interpolation=cv2.INTER_AREA)
    fitted = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = (size[1] - small.shape[0]) // 2, (size[0] - small.shape[1]) // 2
    fitted[y:y + small.shape[0], x:x + small.shape[1]] = small
    return fitted
