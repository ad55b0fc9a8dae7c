"""
Let this venv's Python find ROS 2 and the messages of this package with nothing sourced.

`scripts/set_up.py` copies this file into the venv's site-packages, where a .pth file imports it at
every start. Everything is installed into the venv itself, so Python modules are found anyway, but
two things are not:

* ROS 2 opens type support libraries by name, and the loader reads LD_LIBRARY_PATH only when a
  process starts. So the first start sets it and executes the same command again. The ROS 2 wheels
  bring a .pth file that does so too, but in no fixed order and with one flag for all venvs, which
  leaves a child process in another venv without its libraries. This module runs before it, checks
  the path itself and sets the flag.
* The ament index (`share/`) is found through AMENT_PREFIX_PATH.

Whatever the user has sourced comes first, so that a workspace on top of this venv wins over it.
Entries of other venvs, inherited from a parent process, are dropped.
"""

import os
import sys
import sysconfig
from glob import glob


def _completed(variable: str, own: list[str]) -> str:
    """Return a path variable with the venv's own entries last and without other venvs' entries."""
    entries = [entry for entry in os.environ.get(variable, '').split(os.pathsep) if entry]
    return os.pathsep.join([entry for entry in entries if not _in_venv(entry)] + own)


def _in_venv(path: str) -> bool:
    while path not in ('', os.sep):
        if os.path.exists(os.path.join(path, 'pyvenv.cfg')):
            return True
        path = os.path.dirname(path)
    return False


def _complete_environment() -> None:
    library = os.path.join(sys.prefix, 'lib')
    if library in os.environ.get('LD_LIBRARY_PATH', '').split(os.pathsep):
        return
    bundled = sorted(glob(os.path.join(sysconfig.get_path('purelib'), 'ros_*.libs')))
    environment = {
        **os.environ,
        'AMENT_PREFIX_PATH': _completed('AMENT_PREFIX_PATH', [sys.prefix]),
        'LD_LIBRARY_PATH': _completed('LD_LIBRARY_PATH', [library, *bundled]),
        '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1',
    }
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


_complete_environment()
