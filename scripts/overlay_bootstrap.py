"""Lets this venv's Python find the ROS 2 message overlay with nothing sourced.

`scripts/set_up.py` copies this file into the venv's site-packages, where a .pth file imports it at
every start. The overlay is installed into the venv itself, so its Python modules are found anyway;
two things are not:

* The loader reads LD_LIBRARY_PATH only when a process starts, and ROS 2 opens type support
  libraries by name. So the first start sets it and executes the same command once more. The wheels
  do the same for themselves, but behind one flag for all venvs: a child process in another venv
  would be left without. Here the path itself is looked at, so every venv gets its own.
* The ament index (`share/`) is found through AMENT_PREFIX_PATH.
"""

import glob
import os
import sys
import sysconfig


def _complete_environment() -> None:
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    if sys.prefix not in prefixes:
        os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(filter(None, (sys.prefix, *prefixes)))
    library = os.path.join(sys.prefix, 'lib')
    libraries = os.environ.get('LD_LIBRARY_PATH', '').split(os.pathsep)
    if library not in libraries:
        bundled = glob.glob(os.path.join(sysconfig.get_path('purelib'), 'ros_*.libs'))
        search = filter(None, (library, *bundled, *libraries))
        os.environ['LD_LIBRARY_PATH'] = os.pathsep.join(search)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], dict(os.environ))


_complete_environment()
