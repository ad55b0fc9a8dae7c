r"""
What the set-up of `make demo` costs: what is fetched, and the time with a warm package cache.

    python benchmarks/set_up_cost.py [--json] [--keep DIR]

A clone of this repository's last commit is set up twice, with a package cache of its own: once with
the cache empty, which then holds what was fetched, and once more from nothing with that cache. A
sourced ROS 2 is used, as by `make demo`; without one its wheels are fetched too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUDGETS = {'warm_s': 60.0, 'fetched_mb': 250.0}


def megabytes(folder: Path) -> float:
    """Return the size of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 2 ** 20


def set_up(clone: Path, environment: dict[str, str]) -> float:
    """Set up a clone from nothing and return the seconds it took."""
    for name in ('.venv', 'build', 'install'):
        shutil.rmtree(clone / name, ignore_errors=True)
    start = time.monotonic()
    subprocess.run([sys.executable, 'scripts/set_up.py', 'runtime'], cwd=clone, check=True,
                   env=environment, stdout=sys.stderr)
    return time.monotonic() - start


def measure(folder: Path) -> dict[str, float]:
    """Return the figures; the clone and the cache lie in a folder, which is empty."""
    clone, cache = folder / 'clone', folder / 'cache'
    subprocess.run(['git', 'clone', '--quiet', '--depth', '1', ROOT.as_uri(), clone], check=True)
    environment = {**os.environ, 'PIP_CACHE_DIR': str(cache)}
    for name in ('PYTHONPATH', 'VIRTUAL_ENV'):
        environment.pop(name, None)
    cold = set_up(clone, environment)
    fetched = megabytes(cache)
    return {'fetched_mb': fetched, 'cold_s': cold, 'warm_s': set_up(clone, environment),
            'installed_mb': megabytes(clone / '.venv')}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--keep', type=Path, metavar='DIR',
                        help='a new folder for the clone and the cache, which then stay')
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True)
        figures = measure(options.keep.resolve())
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder))
    if options.json:
        print(json.dumps({name: round(value, 1) for name, value in figures.items()}))
        return 0
    for name, value in figures.items():
        budget = BUDGETS.get(name)
        note = '' if budget is None else \
            f'  budget {budget:g}: {"kept" if value <= budget else "MISSED"}'
        print(f'{name:14s} {value:8.1f}{note}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
