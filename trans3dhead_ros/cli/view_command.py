"""`trans3dhead view`: image, heads, mesh and diagnostics in the Rerun viewer."""

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.cli.missing_package import missing_package
from trans3dhead_ros.errors import UserError


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog='trans3dhead view', description=__doc__.split(': ', 1)[1])
    parser.add_argument('source', nargs='?', metavar='BAG',
                        help='a bag with heads (.mcap, .db3, or the folder of one); live topics '
                             'where none is given')
    parser.add_argument('--namespace', default='', help='of the tracker, such as front')
    parser.add_argument('--image', metavar='TOPIC',
                        help='of the images, with /compressed where they are (default: image_raw '
                             'in the namespace; of a bag, the only one)')
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--save', type=Path, metavar='FILE.rrd',
                       help='write a recording for later, instead of opening a viewer')
    where.add_argument('--web', action='store_true', help='serve a viewer for browsers')
    parser.add_argument('--port', type=int, default=9090,
                        help='of --web; its data go through the next one (default: %(default)s)')
    parser.add_argument('--duration', type=float, metavar='SECONDS',
                        help='end after so long; else at Ctrl-C')
    parser.add_argument('--force', action='store_true', help='replace a recording that exists')
    options = parser.parse_args(argv)
    if options.duration is not None and not 0.0 < options.duration < float('inf'):
        raise UserError(f'duration: expected a positive number, got {options.duration}')
    if not 0 < options.port < 65535:
        raise UserError(f'port: expected 1 to 65534, got {options.port}')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead view`; `ValueError` for a user's mistake."""
    options = _parse(argv)
    if find_spec('rerun') is None:
        raise UserError('view needs Rerun, which needs NumPy 2: in an environment that has it, '
                         'python3 -m pip install rerun-sdk==0.39.0; docs/viewer.md says more')
    try:
        from trans3dhead_ros.viewer.viewer import view
    except ModuleNotFoundError as error:
        raise missing_package('view', error) from None
    return view(options)
