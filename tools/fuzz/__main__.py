"""Read mutated files with every reader; ends with code 1 where one is neither read nor refused."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tools.fuzz.campaign import fuzz_apart
from tools.fuzz.readers import READERS
from trans3dhead_ros.arguments import ArgumentParser


def main() -> int:
    """
    Run the command.

    :return: exit code.
    """
    parser = ArgumentParser(prog='fuzz', description=__doc__)
    parser.add_argument('readers', nargs='*', metavar='READER', default=[],
                        help=f'of {", ".join(READERS)} (default: all)')
    parser.add_argument('--count', type=int, default=5000,
                        help='files for each (default: %(default)s)')
    parser.add_argument('--first', type=int, default=0,
                        help='number of the first file; a number always gives the same file')
    parser.add_argument('--keep', type=Path, metavar='DIR', help='folder for files of defects')
    options = parser.parse_args()
    code = 0
    for name in options.readers or READERS:
        if name not in READERS:
            parser.error(f'no reader {name}')
        began = time.monotonic()
        found = fuzz_apart(name, options.count, options.first, options.keep)
        print(f'{name}: {found.read} read, {found.refused} refused, {len(found.defects)} defects, '
              f'{time.monotonic() - began:.0f} s', flush=True)
        # One of each kind: the last line of a traceback tells them apart.
        kinds = {defect.strip().splitlines()[-1]: defect for defect in found.defects}
        for defect in list(kinds.values())[:20]:
            print(defect, flush=True)
        code = code or bool(found.defects)
    return int(code)


if __name__ == '__main__':
    sys.exit(main())
