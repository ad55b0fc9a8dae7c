"""`python -m tools.api_docs`: the page and the permissions of the node, read from the node."""

import sys
from collections.abc import Sequence
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError

PAGE = Path('docs/ros_api.md')
POLICY = Path('config/sros2/head_tracker.policy.xml')
INTERFACES = ('msg/HeadArray.msg', 'msg/Head.msg', 'msg/LandmarkArray.msg', 'srv/LoadModel.srv')
"""Messages and services of this package, in the order of the page."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write both files and return the exit code; needs ROS 2."""
    parser = ArgumentParser(
        prog='python -m tools.api_docs',
        description=f'Start the node, read what it offers, and write {PAGE} and {POLICY}. '
        'It needs ROS 2: an environment of `make setup`, or a sourced one.')
    parser.add_argument('--root', type=Path, default=Path(),
                        help='the checkout, with msg/ and srv/ (default: this folder)')
    parser.add_argument('--output', type=Path,
                        help='folder to write below (default: the checkout)')
    options = parser.parse_args(argv)
    for path, text in api_docs(options.root).items():
        whole = (options.output or options.root) / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(text)
        print(whole)
    return 0


def api_docs(root: Path) -> dict[Path, str]:
    """
    Write both texts.

    :param root: the checkout.
    :return: path below the checkout -> text.
    :raises UserError: when it is not a checkout, or part of the interface is not described.
    """
    from tools.api_page import api_page, undescribed
    from tools.interface_files import read_interface_file
    from tools.node_interface import tracker_interface
    from tools.security_policy import policy_file
    missing = [name for name in INTERFACES if not (root / name).is_file()]
    if missing:
        raise UserError(f'--root: {root.resolve()} is not a checkout, it has no {missing[0]}')
    there = {str(path.relative_to(root)) for kind in ('msg', 'srv')
             for path in root.glob(f'{kind}/*.{kind}')}
    files = [read_interface_file(root / name)
             for name in (*INTERFACES, *sorted(there - set(INTERFACES)))]
    tracker = tracker_interface()
    unknown = undescribed(tracker)
    if unknown:
        raise UserError(f'describe {", ".join(unknown)} in the tables of tools/api_page.py')
    return {PAGE: api_page(tracker, files), POLICY: policy_file(tracker)}


if __name__ == '__main__':
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f'api_docs: error: {error}')
