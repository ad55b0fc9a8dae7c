"""
The C library's heap, for a process whose threads come and go.

glibc gives threads pools of their own ("arenas"), up to eight a core, and keeps what was freed in
each. Every life cycle has a new worker and every load_model a new loader: each leaves the memory of
a model in another pool, and a process that needs 450 MB holds 950. Other C libraries have neither
function; nothing happens there.
"""

from __future__ import annotations

import contextlib
import ctypes

# From glibc's malloc.h.
_M_ARENA_MAX = -8
_ARENAS = 2


def limit_pools() -> None:
    """Let all threads share two pools; before other threads have begun."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return what is free in the pools to the system."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
