"""Stamps of messages as numbers; needs no ROS, because messages of a bag have stamps as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time


def stamp_nanoseconds(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return stamp.sec * 10 ** 9 + stamp.nanosec


def stamp_seconds(stamp: Time) -> float:
    """Return a stamp in seconds."""
    # Divided, not multiplied: correctly rounded.
    return stamp_nanoseconds(stamp) / 1e9
