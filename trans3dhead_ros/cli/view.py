"""Show images, heads, meshes and diagnostics in the Rerun viewer, from a bag or live topics."""

from __future__ import annotations

from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.output_paths import check_outputs


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('source', nargs='?', metavar='BAG',
                        help='a bag with heads (.mcap, .db3, or the folder of one); if omitted, '
                             'live topics')
    parser.add_argument('--namespace', default='',
                        help='namespace of the tracker, such as front')
    parser.add_argument('--image', metavar='TOPIC',
                        help='image topic, with /compressed if they are compressed (default: '
                             'image_raw in the namespace, or the only image topic of the bag)')
    target = parser.add_mutually_exclusive_group()
    target.add_argument('--save', type=Path, metavar='FILE.rrd',
                        help='write a recording for later, instead of opening a viewer')
    target.add_argument('--web', action='store_true', help='serve a viewer for browsers')
    parser.add_argument('--port', type=int, default=9090,
                        help='port of --web; its data use the next port (default: %(default)s)')
    parser.add_argument('--duration', type=float, metavar='SECONDS',
                        help='stop after this time instead of at Ctrl-C')
    parser.add_argument('--force', action='store_true', help='replace an existing recording')


def run(options: Namespace) -> int:
    """
    Show heads in the viewer.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    if options.duration is not None and not 0.0 < options.duration < float('inf'):
        raise UserError(f'duration: expected a positive number, got {options.duration}')
    if not 0 < options.port < 65535:
        raise UserError(f'port: expected 1 to 65534, got {options.port}')
    check_outputs({'save': options.save}, [options.source or ''], force=True)
    if find_spec('rerun') is None:
        raise UserError('view needs Rerun, which needs NumPy 2: in an environment that has it, '
                        'python3 -m pip install rerun-sdk; docs/viewer.md says more')
    if options.source is None:
        from trans3dhead_ros.ros.live_viewer.viewer_node import view_live
        return view_live(options)
    from trans3dhead_ros.viewer.bag_viewer import view_bag
    return view_bag(options)
