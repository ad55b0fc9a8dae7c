"""
What a pipeline remembers of the images before, as JSON and back, exactly.

A run that was interrupted goes on from it as if nothing had happened: numbers keep every bit. Only
the classes named here are made anew, so that a file of somebody else can do no harm.
"""

from __future__ import annotations

import base64
import itertools
from typing import Any

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception import tracker as track
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.perception.smoothing import HeadSmoother, RotationFilter, VectorFilter

_CLASSES = {kind.__name__: kind for kind in (
    track.Tracker, track.Track, HeadSmoother, VectorFilter, RotationFilter)}


def pipeline_state(pipeline: HeadPipeline) -> dict[str, Any]:
    """Return the tracks, their smoothing, and which ids are used, as JSON values."""
    next_id = next(track._IDS)
    # Looking at the counter took a number from it.
    track._IDS = itertools.count(next_id)
    return {'tracker': _pack(pipeline._tracker), 'next_id': next_id}


def restore_pipeline(pipeline: HeadPipeline, state: dict[str, Any]) -> None:
    """
    Continue from what `pipeline_state` returned; ids go on where they were, or higher.

    :raises ValueError: for anything else.
    """
    try:
        tracker, next_id = _unpack(state['tracker']), int(state['next_id'])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'state: is damaged ({error!r})') from None
    if not isinstance(tracker, track.Tracker):
        raise UserError('state: holds no tracks')
    pipeline._tracker = tracker
    track._IDS = itertools.count(max(next_id, next(track._IDS)))


def _pack(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        return {'array': base64.b64encode(array.tobytes()).decode(), 'dtype': array.dtype.str,
                'shape': list(value.shape)}
    if isinstance(value, list):
        return [_pack(item) for item in value]
    if type(value) in _CLASSES.values():
        return {'class': type(value).__name__,
                'fields': {name: _pack(field) for name, field in vars(value).items()}}
    raise TypeError(f'{type(value).__name__} has no place in a state')


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if 'array' in value:
        data = np.frombuffer(base64.b64decode(value['array']), np.dtype(value['dtype']))
        return data.reshape(value['shape']).copy()
    kind = _CLASSES[value['class']]
    made = kind.__new__(kind)
    vars(made).update({name: _unpack(field) for name, field in value['fields'].items()})
    return made
