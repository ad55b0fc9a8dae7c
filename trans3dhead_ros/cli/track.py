"""
Follow the heads through a video, with ids and smoothing over time.

For unrelated pictures use `trans3dhead detect`. The frames of a folder must be ordered: their names
are numbered, or --frames says that they are frames of a video. If a picture does not continue the
previous one, its heads get new ids.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.bags.bag_files import is_bag
from trans3dhead_ros.cli.losses import add_reading_arguments, check_bits, report_losses
from trans3dhead_ros.cli.pipeline_options import add_pipeline_arguments, load_pipeline
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.output_paths import check_outputs

if TYPE_CHECKING:
    from trans3dhead_ros.camera import Camera
    from trans3dhead_ros.media.frame_source import FrameSource


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('source', metavar='SOURCE',
                        help='video, GIF, stream URL, camera index, ordered folder of frames, or a '
                             'ROS 2 bag (.mcap, .db3, or the folder of one)')
    parser.add_argument('--output', type=Path, metavar='FILE',
                        help='write an overlay: a video (.mp4, .mov, .mkv, .avi) or a folder of '
                             'numbered pictures; if SOURCE is a bag, write a bag (.mcap, .db3, or '
                             'a folder) with the messages of the node')
    parser.add_argument('--json', metavar='FILE',
                        help="write one JSON object per frame, in order; '-' is standard output")
    add_pipeline_arguments(parser)
    parser.add_argument('--fov', type=float, metavar='DEGREES',
                        help="the camera's horizontal field of view, for metric poses if the "
                             'source has no calibration')
    parser.add_argument('--frames', action='store_true',
                        help='treat the pictures of the folder as frames of one video, in the '
                             'order of their names')
    add_reading_arguments(parser)
    _add_bag_arguments(parser)


def _add_bag_arguments(parser: ArgumentParser) -> None:
    bag = parser.add_argument_group('bags', 'A run that was stopped resumes after its last image '
                                    'when the same command is given again.')
    actions = [
        bag.add_argument('--topic', help='image topic, if the bag has several'),
        bag.add_argument('--camera-info', metavar='TOPIC',
                         help='calibration topic (default: camera_info in the namespace of the '
                              'images)'),
        bag.add_argument('--namespace', default='',
                         help='namespace of the output topics, such as front'),
        bag.add_argument('--copy', nargs='?', const='inputs', choices=('inputs', 'all'),
                         help='copy the images and the calibration, or everything'),
        bag.add_argument('--markers', action='store_true', help='also write head_markers'),
        bag.add_argument('--mesh', action='store_true',
                         help='also write head_mesh and its triangles'),
        bag.add_argument('--overlay', action='store_true', help='also write overlay'),
        bag.add_argument('--storage', default='mcap', choices=('mcap', 'sqlite3'),
                         help='storage format if the output is a folder (default: %(default)s)'),
        bag.add_argument('-p', '--parameter', action='append', metavar='NAME:=VALUE',
                         help='set a parameter of the node, such as head_scale:=0.9'),
    ]
    parser.set_defaults(bag_defaults={action.dest: action.default for action in actions})


def run(options: Namespace) -> int:
    """
    Track the heads of a video.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    bag = is_bag(options.source)
    # A run that resumes may have written the rows before its disk was full.
    resumes = bag and options.output is not None and options.output.with_name(
        f'{options.output.name}.partial').exists()
    check_outputs({'json': options.json, 'output': None if bag else options.output},
                  [options.source], options.force or resumes)
    if bag:
        if options.frames:
            raise UserError(f'frames: {options.source} is not a folder of pictures; omit --frames')
        if options.bits:
            options.parameter = [*(options.parameter or ()), f'significant_bits:={options.bits}']
        return _track_bag(options)
    _refuse_bag_options(options)
    # These take seconds to load: too long for a mistyped name or for the help.
    from trans3dhead_ros.cli.output_files import check_overlay, line_writer, overlay_writer
    from trans3dhead_ros.media.frame_order import CutDetector, check_order
    from trans3dhead_ros.media.sources import PictureSource, open_source
    check_overlay(options.output)
    check_bits(options)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(options.source, options.bits))
        pictures = isinstance(source, PictureSource)
        if pictures:
            if source.count == 1 and not Path(options.source).is_dir():
                raise UserError(f'source: {options.source} is one picture: use `trans3dhead detect '
                                f'{options.source}`')
            if not options.frames:
                check_order(source.name, source.paths)
        elif options.frames:
            raise UserError(f'frames: {options.source} is not a folder of pictures; omit --frames')
        _camera(source, source.size, options.fov)
        from tqdm import tqdm

        from trans3dhead_ros.cli.track_summary import TrackSummary
        from trans3dhead_ros.media.overlay import draw_heads
        from trans3dhead_ros.media.records import frame_record, record_line
        pipeline = load_pipeline(options)
        # Last, so that a mistake above leaves the files of an earlier run alone.
        write_overlay = stack.enter_context(overlay_writer(options.output, source))
        write_line = stack.enter_context(line_writer(options.json))
        summary, cuts = TrackSummary(source), CutDetector()
        began = time.perf_counter()
        frames = tqdm(source, total=source.count, unit='frame', leave=False, disable=None)
        try:
            for frame in frames:
                if pictures and cuts.is_cut(frame.image):
                    pipeline.reset()
                height, width = frame.image.shape[:2]
                heads = pipeline.track(frame.image, frame.stamp,
                                       _camera(source, (width, height), options.fov))
                record = frame_record(frame.index, frame.stamp, heads, frame.file, frame.page)
                summary.add(record)
                write_line(record_line(record))
                if write_overlay is not None:
                    write_overlay(draw_heads(frame.image, heads, pipeline.triangles))
        except KeyboardInterrupt:
            # How a user stops a camera: the frames so far are kept and summarised.
            frames.close()
        seconds = time.perf_counter() - began
    print(summary.text(seconds), file=sys.stderr if options.json == '-' else sys.stdout)
    return report_losses(options, source.losses, source.notes)


def _camera(source: FrameSource, size: tuple[int, int], fov: float | None) -> Camera | None:
    """Return the camera of a picture: the pictures of a folder may have several sizes."""
    if source.camera is not None or fov is None:
        return source.camera
    from trans3dhead_ros.camera import Camera
    return Camera.from_fov(size, fov)


def _track_bag(options: Namespace) -> int:
    if not Path(options.source).exists():
        raise UserError(f'source: {options.source} does not exist')
    from trans3dhead_ros.ros.bag_tracking.track_bag import track_bag
    return track_bag(options)


def _refuse_bag_options(options: Namespace) -> None:
    for name, default in options.bag_defaults.items():
        if getattr(options, name) != default:
            raise UserError(f'{name.replace("_", "-")}: applies to bags only, and '
                            f'{options.source} is not a bag')
