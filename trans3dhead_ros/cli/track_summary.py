"""The summary that `track` prints, accumulated frame by frame: a video may have any length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trans3dhead_ros.media.frame_source import FrameSource
from trans3dhead_ros.media.records import pose_error

_ANGLES = ('yaw', 'pitch', 'roll')
_MOST_LINES = 100


class TrackSummary:
    """
    Figures of the records that it is given; it keeps none of them.

    :param source: of the frames.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self.frames, self._with_heads = 0, 0
        self._tracks: dict[int, _Range] = {}
        # Of a rendered clip only, which is short.
        self._poses: list[dict[str, Any]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """
        Add a frame.

        :param record: as returned by `frame_record`.
        """
        self.frames += 1
        self._with_heads += bool(record['heads'])
        for head in record['heads']:
            self._tracks.setdefault(head['id'], _Range()).add(head['euler_deg'])
        if self._source.truth is not None:
            self._poses.append({'frame': record['frame'], 'heads': [
                {name: head[name] for name in ('position', 'quaternion')}
                for head in record['heads']]})

    def text(self, seconds: float) -> str:
        """
        Return the lines to print.

        :param seconds: that the frames took.
        :return: one line, one for each head, and the errors of a rendered clip.
        """
        lines = [f'{self._source.name}: {self.frames} frames, heads in {self._with_heads} of them, '
                 f'{self.frames / max(seconds, 1e-9):.1f} frames a second']
        lines += [f'head {track_id}: {found}' for track_id, found
                  in sorted(self._tracks.items())[:_MOST_LINES]]
        if len(self._tracks) > _MOST_LINES:
            lines.append(f'… and {len(self._tracks) - _MOST_LINES} more')
        if self._source.truth is not None:
            lines.append(f'pose error: {pose_error(self._poses, self._source.truth)}')
        return '\n'.join(lines)


class _Range:
    """The range of the angles of a head."""

    def __init__(self) -> None:
        self._frames, self._low, self._high = 0, np.full(3, np.inf), np.full(3, -np.inf)

    def add(self, euler_deg: list[float]) -> None:
        self._frames += 1
        self._low = np.minimum(self._low, euler_deg)
        self._high = np.maximum(self._high, euler_deg)

    def __str__(self) -> str:
        ranges = ', '.join(f'{name} {low:+.0f}…{high:+.0f}°' for name, low, high in zip(
            _ANGLES, self._low, self._high, strict=True))
        return f'{self._frames} frames, {ranges}'
