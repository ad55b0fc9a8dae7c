"""
Three-dimensional head alignment from camera images.

The public interface is :class:`HeadPipeline`, :class:`Head` and :class:`Camera`; everything else
may change. ROS is not needed. Each name is imported on first use, so that ``import
trans3dhead_ros`` is fast.

Example::

    from trans3dhead_ros import HeadPipeline

    pipeline = HeadPipeline.load()
    heads = pipeline.detect(image)  # (H, W, 3) uint8 BGR
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trans3dhead_ros.camera import Camera
    from trans3dhead_ros.perception.head import Head
    from trans3dhead_ros.perception.pipeline import HeadPipeline

__all__ = ['Camera', 'Head', 'HeadPipeline']

_MODULES = {
    'Camera': 'trans3dhead_ros.camera',
    'Head': 'trans3dhead_ros.perception.head',
    'HeadPipeline': 'trans3dhead_ros.perception.pipeline',
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
