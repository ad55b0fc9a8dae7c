"""`python -m tools.type_hashes`: pin the hashes by which ROS 2 tells types of messages apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError

PINNED = Path('test/trans3dhead_ros/ros/type_hashes.json')


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file and return the exit code; needs ROS 2."""
    ArgumentParser(
        prog='python -m tools.type_hashes',
        description=f'Write the hashes of the installed messages to {PINNED}, in a checkout. After '
        'a change of a message, run `make setup` first, which builds it.').parse_args(argv)
    if not PINNED.is_file():
        raise UserError(f'{Path().resolve()} is not a checkout, it has no {PINNED}')
    hashes = installed_hashes()
    if not hashes:
        raise UserError('the messages are not installed, or by a ROS 2 without type hashes')
    PINNED.write_text(json.dumps(hashes, indent=2) + '\n')
    print(PINNED)
    return 0


def installed_hashes() -> dict[str, str]:
    """Return the hash of every installed message and service; Humble has none."""
    from ament_index_python.packages import get_package_share_directory
    hashes = {}
    for path in sorted(Path(get_package_share_directory('trans3dhead')).glob('*/*.json')):
        name = f'trans3dhead/{path.parent.name}/{path.stem}'
        entries = json.loads(path.read_text())['type_hashes']
        hashes[name] = next(entry['hash_string'] for entry in entries if entry['type_name'] == name)
    return hashes


if __name__ == '__main__':
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f'type_hashes: error: {error}')
