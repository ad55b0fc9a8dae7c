"""What the demo leaves behind: overlay video and picture, one row a frame, and the summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from trans3dhead.msg import HeadArray

from trans3dhead_ros.media.clip_truth import ClipTruth
from trans3dhead_ros.media.records import head_record, pose_error

Picture = NDArray[np.uint8]
_NAMES = ('yaw', 'pitch', 'roll')


def row(index: int, stamp: float, message: HeadArray | None) -> dict[str, Any]:
    """
    Return the row of one source frame.

    :param message: its answer; None where none has come.
    """
    heads = []
    for head in message.heads if message is not None else ():
        at, turn = head.pose.pose.position, head.pose.pose.orientation
        heads.append(head_record(
            head.id, head.score, head.box, np.rad2deg([head.yaw, head.pitch, head.roll]),
            [at.x, at.y, at.z], [turn.x, turn.y, turn.z, turn.w],
            np.array(head.landmarks_px).reshape(-1, 3)))
    return {'frame': index, 'stamp': stamp, 'heads': heads}


class OverlayVideo:
    """
    One video frame per source frame in order: the overlay, or the bare image without an answer.

    :param folder: gets overlay.mp4, and overlay.png with the overlay of the best answer.
    """

    def __init__(self, folder: Path, fps: float) -> None:
        self._folder = folder
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._waiting: dict[int, Picture] = {}
        self._best: tuple[float, Picture | None] = (-1.0, None)

    def image(self, stamp: int, image: Picture) -> None:
        """Add a source frame; stamps (ns) increase."""
        self._waiting[stamp] = image

    def overlay(self, stamp: int, overlay: Picture, worth: float) -> None:
        """
        Add the overlay of a frame; what came before it goes without.

        :param worth: the picture is made of the overlay that has most of it.
        """
        for earlier in [s for s in self._waiting if s < stamp]:
            self._write(self._waiting.pop(earlier))
        self._waiting.pop(stamp, None)
        self._write(overlay)
        if worth > self._best[0]:
            self._best = (worth, overlay)

    def close(self) -> None:
        """Write what waits and complete the files."""
        for image in self._waiting.values():
            self._write(image)
            if self._best[1] is None:
                self._best = (0.0, image)
        self._waiting = {}
        if self._writer is not None:
            self._writer.release()
        if self._best[1] is not None:
            cv2.imwrite(str(self._folder / 'overlay.png'), self._best[1])

    def _write(self, image: Picture) -> None:
        if self._writer is None:
            self._size = (image.shape[1], image.shape[0])
            codec = cv2.VideoWriter_fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(
                str(self._folder / 'overlay.mp4'), codec, self._fps, self._size)
        # A video has one size; the pictures of a folder may have several.
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(image)


def summary(
    rows: Sequence[dict[str, Any]], answered: int, latencies: Sequence[float], seconds: float,
    truth: ClipTruth | None,
) -> str:
    """
    Return the lines that the demo prints at its end.

    :param answered: how many frames have an answer.
    :param latencies: s, from sending an image to receiving its heads.
    :param seconds: from the first image to the last answer.
    :param truth: of the source, where it has one.
    """
    found = sum(bool(r['heads']) for r in rows)
    identities = sorted({head['id'] for r in rows for head in r['heads']})
    lines = [
        f'frames: {len(rows)}, with a head: {found}, '
        f'drops: {len(rows) - answered} (frames without an answer)',
        f'heads: {sum(len(r["heads"]) for r in rows)}, '
        f'ids: {" ".join(map(str, identities)) or "none"}',
        f'fps: {answered / seconds:.1f}' if seconds > 0.0 else 'fps: unknown',
    ]
    if len(latencies):
        p50, p95 = 1000.0 * np.percentile(latencies, [50, 95])
        lines.append(f'latency: p50 {p50:.0f} ms, p95 {p95:.0f} ms')
    for identity in identities:
        angles = np.array([head['euler_deg'] for r in rows for head in r['heads']
                           if head['id'] == identity])
        ranges = ', '.join(
            f'{name} {low:+.1f} to {high:+.1f}°' for name, low, high in
            zip(_NAMES, angles.min(axis=0), angles.max(axis=0), strict=True))
        lines.append(f'pose range of head {identity}: {ranges} ({len(angles)} frames)')
    if truth is not None:
        lines.append(f'pose error: {pose_error(rows, truth)}')
    return '\n'.join(lines)
