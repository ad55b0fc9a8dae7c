"""
`python -m tools.environments`: unit tests of what a robot runs, with a distribution's versions.

The versions are those of Ubuntu's packages where wheels of them exist, else the nearest ones. For
what a distribution has no package (the engine, readers of bags), pip finds one beside them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Environment:
    """One environment."""

    python: str
    """Version of the interpreter, the command `python` and this."""
    packages: tuple[str, ...]
    """Requirements for pip."""
    beside: tuple[str, ...] = ('mcap', 'onnxruntime', 'rosbags')
    """What apt does not have."""


ENVIRONMENTS = {
    'humble': Environment('3.10', (
        'numpy==1.21.6', 'opencv-python-headless==4.5.4.60', 'scipy==1.8.0', 'pillow==9.0.1',
        'pyyaml==6.0.1', 'tqdm==4.57.0')),
    'jazzy': Environment('3.12', (
        'numpy==1.26.4', 'opencv-python-headless==4.6.0.66', 'scipy==1.11.4', 'pillow==10.2.0',
        'pyyaml==6.0.1', 'tqdm==4.66.2')),
    # OpenCV is the engine there: apt alone.
    'lyrical': Environment('3.13', (
        'numpy==2.3.5', 'opencv-python-headless==4.10.0.84', 'scipy==1.16.3', 'pillow==12.0.0',
        'pyyaml==6.0.3', 'tqdm==4.67.1'), ('mcap', 'rosbags')),
}
"""By ROS 2 distribution; Kilted has the packages of Jazzy."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tests in every environment and return the exit code: 1 where one of them failed."""
    parser = ArgumentParser(
        prog='python -m tools.environments',
        description='Make an environment with the NumPy, OpenCV and SciPy of each distribution, '
        'and run there the unit tests of what a robot runs. It downloads some 200 MB for each.')
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help=f'which: {", ".join(ENVIRONMENTS)} (default: all)')
    parser.add_argument('--folder', type=Path, default=Path('out/environments'),
                        help='folder of the environments, which are kept (default: %(default)s)')
    parser.add_argument('--tests', default='test/trans3dhead_ros',
                        help='a folder or a file of tests (default: %(default)s)')
    options = parser.parse_args(argv)
    unknown = {*options.names} - {*ENVIRONMENTS}
    if unknown:
        raise UserError(f'no such environment: {", ".join(sorted(unknown))}')
    results = {name: run_tests(name, options.folder.resolve() / name, options.tests)
               for name in options.names or ENVIRONMENTS}
    print(*(f'{name:8s}  {result}' for name, result in results.items()), sep='\n')
    return int(not all('passed' in result and 'failed' not in result and 'error' not in result
                       for result in results.values()))


def run_tests(name: str, folder: Path, tests: str) -> str:
    """Return pytest's last line, or why there is none."""
    environment = ENVIRONMENTS[name]
    interpreter = shutil.which(f'python{environment.python}')
    if interpreter is None:
        return f'not run: python{environment.python} is not installed'
    python = folder / 'bin' / 'python'
    if not python.exists():
        made = subprocess.run([interpreter, '-m', 'venv', folder], check=False)
        if made.returncode:
            return f'not run: {interpreter} cannot make an environment'
    # All at once, so that pip chooses the others to go with the versions that are given.
    done = subprocess.run(
        [python, '-m', 'pip', 'install', '--quiet', *environment.packages, *environment.beside,
         'pytest'], capture_output=True, text=True, check=False)
    if done.returncode:
        return f'not run: {done.stderr.strip().splitlines()[-1]}'
    # Nothing of the environment of this process: neither its packages nor its ROS.
    variables = {name: value for name, value in os.environ.items()
                 if name not in ('PYTHONPATH', 'LD_LIBRARY_PATH', 'AMENT_PREFIX_PATH')}
    done = subprocess.run([python, '-m', 'pytest', '-m', 'unit', '-q', tests], cwd=ROOT,
                          env=variables, stdout=subprocess.PIPE, text=True, check=False)
    (folder / 'tests.log').write_text(done.stdout)
    return f'{done.stdout.strip().splitlines()[-1].strip("= ")}: {folder / "tests.log"}'


if __name__ == '__main__':
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f'environments: error: {error}')
