"""The heap of a process whose threads come and go, as glibc itself tells of it."""

import platform
import subprocess
import sys

import pytest

if platform.libc_ver()[0] != 'glibc':
    pytest.skip('only glibc has pools', allow_module_level=True)

# Threads that live at the same time, each with memory of its own.
PROGRAM = """
import ctypes, sys, threading
from trans3dhead_ros.ros.node.heap import give_back, limit_pools
if sys.argv[1] == 'limited':
    limit_pools()
barrier = threading.Barrier(9)
def work():
    kept = [bytearray(1000) for _ in range(1000)]
    barrier.wait()
    barrier.wait()
for _ in range(8):
    threading.Thread(target=work).start()
barrier.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b'w'))
libc.malloc_info(0, file)
libc.fclose(file)
barrier.wait()
give_back()
"""


def pools(kind, folder):
    path = folder / f'{kind}.xml'
    subprocess.run([sys.executable, '-c', PROGRAM, kind, str(path)], check=True)
    return path.read_text().count('<heap nr=')


def test_threads_share_two_pools(tmp_path):
    assert pools('limited', tmp_path) <= 2 < pools('free', tmp_path)
