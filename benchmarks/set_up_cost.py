r"""
What the set-up of `make demo` costs: what is fetched, and the time with a warm package cache.

    python benchmarks/set_up_cost.py [--json] [--keep DIR]

The wheels of `requirements/runtime.txt` and `ros.txt` for this Python are downloaded into a folder,
whose size is what is fetched; with a ROS 2 of the system, `make demo` fetches less. Then a clone of
the last commit is set up twice from nothing, and the second time, with a warm cache, counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from budget_table import print_figures

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
    """Return the figures; the clone and the wheels lie in a folder, which is empty."""
    clone, wheels = folder / 'clone', folder / 'wheels'
    subprocess.run(['git', 'clone', '--quiet', '--depth', '1', ROOT.as_uri(), clone], check=True)
    environment = dict(os.environ)
    for name in ('PYTHONPATH', 'VIRTUAL_ENV'):
        environment.pop(name, None)
    subprocess.run([
        sys.executable, '-m', 'pip', 'download', '--quiet', '--dest', wheels,
        '-r', 'requirements/runtime.txt', '-r', 'requirements/ros.txt'], cwd=clone, check=True,
        env=environment, stdout=sys.stderr)
    first, warm = set_up(clone, environment), set_up(clone, environment)
    return {'fetched_mb': megabytes(wheels), 'first_s': first, 'warm_s': warm,
            'installed_mb': megabytes(clone / '.venv')}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--keep', type=Path, metavar='DIR',
                        help='keep the clone and the wheels in this new folder')
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True)
        figures = measure(options.keep.resolve())
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder))
    print_figures(figures, BUDGETS, options.json, 1, '{:14s} {:8.1f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
