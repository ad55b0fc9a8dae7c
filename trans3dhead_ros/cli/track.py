"""
Follow the heads through a video, with identities and smoothing over time.

For pictures that have nothing to do with one another use `trans3dhead detect`.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.cli.pipeline_options import add_pipeline_arguments, load_pipeline
from trans3dhead_ros.errors import UserError

if TYPE_CHECKING:
    from trans3dhead_ros.media.sources import FrameSource

BAG_SUFFIXES = ('.mcap', '.db3')


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('source', metavar='SOURCE',
                        help='video, GIF, stream URL, camera index, ordered folder of frames, or a '
                             'ROS 2 bag (.mcap, .db3, or the folder of one)')
    parser.add_argument('--output', type=Path, metavar='FILE',
                        help='overlay: a video (.mp4, .mov, .mkv, .avi) or a folder for numbered '
                             'pictures; for a bag: a bag (.mcap, .db3, or a folder) with the '
                             'messages of the node')
    parser.add_argument('--json', metavar='FILE',
                        help="one JSON object per frame, in order; '-' is the standard output")
    add_pipeline_arguments(parser)
    parser.add_argument('--fov', type=float, metavar='DEGREES',
                        help="the camera's horizontal field of view, for metric poses where the "
                             'source has no calibration')
    _add_bag_arguments(parser)


def _add_bag_arguments(parser: ArgumentParser) -> None:
    bag = parser.add_argument_group('for a bag', 'A run that was stopped resumes after its last '
                                    'image when the same command is given again.')
    actions = [
        bag.add_argument('--topic', help='of the images, where there are several'),
        bag.add_argument('--camera-info', metavar='TOPIC',
                         help='of the calibration (default: camera_info beside the images)'),
        bag.add_argument('--namespace', default='', help='of the output topics, such as front'),
        bag.add_argument('--copy', nargs='?', const='inputs', choices=('inputs', 'all'),
                         help='copy the images and the calibration, or everything'),
        bag.add_argument('--markers', action='store_true', help='write head_markers too'),
        bag.add_argument('--mesh', action='store_true',
                         help='write head_mesh and its triangles too'),
        bag.add_argument('--overlay', action='store_true', help='write overlay too'),
        bag.add_argument('--storage', default='mcap', choices=('mcap', 'sqlite3'),
                         help='of an output folder (default: %(default)s)'),
        bag.add_argument('--force', action='store_true', help='replace an output that exists'),
        bag.add_argument('-p', '--parameter', action='append', metavar='NAME:=VALUE',
                         help='a parameter of the node, such as head_scale:=0.9'),
    ]
    parser.set_defaults(bag_defaults={action.dest: action.default for action in actions})


def run(options: Namespace) -> int:
    """
    Track the heads of a video.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    if is_bag(options.source):
        return _track_bag(options)
    _refuse_bag_options(options)
    # These take seconds to load: too long for a mistyped name or for the help.
    from trans3dhead_ros.cli.output_files import line_writer, overlay_writer
    from trans3dhead_ros.media.sources import PICTURE_SUFFIXES, open_source
    if (Path(options.source).suffix.lower() in PICTURE_SUFFIXES
            and Path(options.source).is_file()):
        raise UserError(f'source: {options.source} is one picture: use `trans3dhead detect '
                        f'{options.source}`')
    records: list[dict[str, Any]] = []
    with ExitStack() as stack:
        source = stack.enter_context(open_source(options.source))
        camera = source.camera
        if camera is None and options.fov is not None:
            from trans3dhead_ros.camera import Camera
            camera = Camera.from_fov(source.size, options.fov)
        from tqdm import tqdm

        from trans3dhead_ros.media.overlay import draw_heads
        from trans3dhead_ros.media.records import frame_record, record_line
        pipeline = load_pipeline(options)
        # Last, so that a mistake above leaves the files of an earlier run alone.
        write_overlay = stack.enter_context(overlay_writer(options.output, source))
        write_line = stack.enter_context(line_writer(options.json))
        began = time.perf_counter()
        frames = tqdm(source, total=source.count, unit='frame', leave=False, disable=None)
        try:
            for frame in frames:
                heads = pipeline.track(frame.image, frame.stamp, camera)
                records.append(frame_record(frame.index, frame.stamp, heads, frame.file))
                write_line(record_line(records[-1]))
                if write_overlay is not None:
                    write_overlay(draw_heads(frame.image, heads, pipeline.triangles))
        except KeyboardInterrupt:
            # The usual end of a camera: what it has seen so far is kept and summarised.
            frames.close()
        seconds = time.perf_counter() - began
    print(_summary(records, source, seconds),
          file=sys.stderr if options.json == '-' else sys.stdout)
    return 0


def is_bag(source: str) -> bool:
    """
    Tell whether a source is a ROS 2 bag.

    :param source: as the user gives it.
    :return: whether it is one, by its ending or by what its folder holds.
    :raises UserError: for a bag of ROS 1.
    """
    path = Path(source)
    if path.suffix == '.bag' and path.is_file():
        raise UserError(f'source: {path} is a bag of ROS 1; convert it first: '
                        f'rosbags-convert --src {path} --dst {path.with_suffix("")}')
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or any(
            {*file.suffixes} & {*BAG_SUFFIXES} for file in path.iterdir())
    return path.suffix in BAG_SUFFIXES


def _track_bag(options: Namespace) -> int:
    if not Path(options.source).exists():
        raise UserError(f'source: {options.source} does not exist')
    from trans3dhead_ros.ros.bag_tracking.track_bag import track_bag
    return track_bag(options)


def _refuse_bag_options(options: Namespace) -> None:
    for name, default in options.bag_defaults.items():
        if getattr(options, name) != default:
            raise UserError(f'{name.replace("_", "-")}: is for bags only, and {options.source} is '
                            'not a bag')


def _summary(
    records: Sequence[Mapping[str, Any]], source: FrameSource, seconds: float,
) -> str:
    """Return the lines that `track` prints at its end."""
    import numpy as np
    found = sum(bool(record['heads']) for record in records)
    lines = [f'{source.name}: {len(records)} frames, heads in {found} of them, '
             f'{len(records) / max(seconds, 1e-9):.1f} frames a second']
    angles: dict[int, list[list[float]]] = {}
    for record in records:
        for head in record['heads']:
            angles.setdefault(head['id'], []).append(head['euler_deg'])
    for track_id, euler in sorted(angles.items()):
        low, high = np.min(euler, axis=0), np.max(euler, axis=0)
        ranges = ', '.join(f'{name} {a:+.0f}…{b:+.0f}°' for name, a, b in zip(
            ('yaw', 'pitch', 'roll'), low, high, strict=True))
        lines.append(f'head {track_id}: {len(euler)} frames, {ranges}')
    if source.truth is not None:
        from trans3dhead_ros.media.records import pose_error
        lines.append(f'pose error: {pose_error(records, source.truth)}')
    return '\n'.join(lines)
