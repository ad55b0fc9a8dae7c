"""What the demo leaves: overlay video and image, one row per frame, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from trans3dhead.msg import HeadArray

from trans3dhead_ros.media.clip_truth import ClipTruth
from trans3dhead_ros.media.records import head_record, pose_error
from trans3dhead_ros.types import Image

_ANGLES = ('yaw', 'pitch', 'roll')


def head_array_record(index: int, stamp: float, message: HeadArray | None) -> dict[str, Any]:
    """
    Return the record of one source frame; see `media.records`.

    :param index: number of the frame in its source, from 0.
    :param stamp: seconds.
    :param message: the heads of the frame; None if none was received.
    :return: an object for JSON.
    """
    heads = []
    for head in message.heads if message is not None else ():
        at, turn = head.pose.pose.position, head.pose.pose.orientation
        position, quaternion = (np.array(v) for v in (
            [at.x, at.y, at.z], [turn.x, turn.y, turn.z, turn.w]))
        heads.append(head_record(
            head.id, head.score, head.box, np.rad2deg([head.yaw, head.pitch, head.roll]),
            position, quaternion, np.array(head.landmarks_px).reshape(-1, 3),
            head.face_visible))
    return {'frame': index, 'stamp': stamp, 'heads': heads}


class OverlayVideo:
    """
    One video frame per source frame in order: its overlay or, if none was received, the image.

    :param folder: gets overlay.mp4, and overlay.png with the best overlay.
    :param fps: frames per second of the video.
    """

    def __init__(self, folder: Path, fps: float) -> None:
        self._folder = folder
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._pending: dict[int, Image] = {}
        self._best: tuple[float, Image | None] = (-1.0, None)

    def add_image(self, stamp: int, image: Image) -> None:
        """
        Add a source frame.

        :param stamp: in ns; increases from frame to frame.
        :param image: the frame.
        """
        self._pending[stamp] = image

    def add_overlay(self, stamp: int, overlay: Image, score: float) -> None:
        """
        Add the overlay of a source frame; earlier frames get none any more.

        :param stamp: of the frame in ns.
        :param overlay: the frame with its heads.
        :param score: overlay.png is the overlay with the highest one.
        """
        for earlier in [pending for pending in self._pending if pending < stamp]:
            self._write(self._pending.pop(earlier))
        self._pending.pop(stamp, None)
        self._write(overlay)
        if score > self._best[0]:
            self._best = (score, overlay)

    def close(self) -> None:
        """Write the pending frames and complete the files."""
        for image in self._pending.values():
            self._write(image)
            if self._best[1] is None:
                self._best = (0.0, image)
        self._pending = {}
        if self._writer is not None:
            self._writer.release()
        if self._best[1] is not None:
            cv2.imwrite(str(self._folder / 'overlay.png'), self._best[1])

    def _write(self, image: Image) -> None:
        if self._writer is None:
            self._size = (image.shape[1], image.shape[0])
            codec = cv2.VideoWriter_fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(
                str(self._folder / 'overlay.mp4'), codec, self._fps, self._size)
        # A video has one size; the pictures of a folder may have several.
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(image)


def summarize(
    records: Sequence[dict[str, Any]], processed: int, latencies: Sequence[float], seconds: float,
    truth: ClipTruth | None,
) -> str:
    """
    Return the lines that the demo prints at its end.

    :param records: of all source frames.
    :param processed: number of frames for which heads were received.
    :param latencies: seconds from publishing an image to receiving its heads.
    :param seconds: from the first image to the last heads.
    :param truth: true poses of the source, if it has them.
    :return: several lines.
    """
    found = sum(bool(record['heads']) for record in records)
    ids = sorted({head['id'] for record in records for head in record['heads']})
    lines = [
        f'frames: {len(records)}, with a head: {found}, '
        f'drops: {len(records) - processed} (frames that were not processed)',
        f'heads: {sum(len(record["heads"]) for record in records)}, '
        f'ids: {" ".join(map(str, ids)) or "none"}',
        f'fps: {processed / seconds:.1f}' if seconds > 0.0 else 'fps: unknown',
    ]
    if len(latencies):
        p50, p95 = 1000.0 * np.percentile(latencies, [50, 95])
        lines.append(f'latency: p50 {p50:.0f} ms, p95 {p95:.0f} ms')
    for track_id in ids:
        angles = np.array([head['euler_deg'] for record in records for head in record['heads']
                           if head['id'] == track_id])
        ranges = ', '.join(
            f'{name} {low:+.1f} to {high:+.1f}°' for name, low, high in
            zip(_ANGLES, angles.min(axis=0), angles.max(axis=0), strict=True))
        lines.append(f'pose range of head {track_id}: {ranges} ({len(angles)} frames)')
    if truth is not None:
        lines.append(f'pose error: {pose_error(records, truth)}')
    return '\n'.join(lines)
