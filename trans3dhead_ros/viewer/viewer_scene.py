"""
Log messages of a camera and of its tracker to a Rerun recording.

`camera` is the optical frame of the images: `camera/image` is the image with landmarks and boxes in
pixels, `camera/heads/<id>` a head in metres. `plots/…/<id>` are its numbers over time,
`diagnostics` those of the node. Times are the stamps of the messages.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from typing import Any

import cv2
import numpy as np
import rerun as rr
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import AXIS_LENGTH
from trans3dhead_ros.landmarks import COUNT
from trans3dhead_ros.media.image_decoding import decode_compressed, decode_image
from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.ros.stamps import stamp_nanoseconds, stamp_seconds
from trans3dhead_ros.viewer.viewer_mesh import RebuiltMeshes, RecordedMeshes

TIMELINE = 'stamp'
"""Name of the time line: the stamps of the messages' headers."""

_TRAIL_SECONDS = 5.0
_JPEG_QUALITY = 85
_SKIN = (205, 190, 180)
_COLOURS = ((90, 220, 120), (255, 170, 60), (110, 170, 255), (240, 110, 200), (240, 230, 90),
            (120, 230, 230))
_LEVELS = {0: rr.TextLogLevel.INFO, 1: rr.TextLogLevel.WARN, 2: rr.TextLogLevel.ERROR,
           3: rr.TextLogLevel.WARN}


class Scene:
    """
    Logs messages as they arrive: topics in any order, each in the order of its stamps.

    Messages may be of rclpy or of rosbags: only their fields are read.

    :param recording: where they are logged.
    :param namespace: of the tracker, or its camera; diagnostics of others are left out.
    :param rebuild: whether meshes are rebuilt from the coefficients of the heads, because no
        vertices were recorded.
    """

    def __init__(
        self, recording: rr.RecordingStream, namespace: str = '', rebuild: bool = False,
    ) -> None:
        self._recording = recording
        self._namespace = {*filter(None, namespace.split('/'))}
        self._meshes = RebuiltMeshes() if rebuild else RecordedMeshes()
        self._seen: set[int] = set()
        self._named: set[int] = set()
        self._trails: dict[int, deque[tuple[float, NDArray]]] = defaultdict(deque)
        recording.log('camera', rr.ViewCoordinates.RDF, static=True)

    def image(self, message: Any) -> None:
        """Show an Image or CompressedImage; one that cannot be decoded is left out."""
        self._at(message.header)
        try:
            encoded = _encoded(message)
        except UserError:
            return
        self._recording.log('camera/image', encoded)

    def camera_info(self, message: Any) -> None:
        """Place the image in space by a CameraInfo."""
        K = np.asarray(message.k, float).reshape(3, 3)
        if K[0, 0] > 0.0 and np.isfinite(K).all() and message.width and message.height:
            self._at(message.header)
            self._recording.log('camera/image', rr.Pinhole(
                image_from_camera=K, resolution=[message.width, message.height],
                image_plane_distance=1.0))

    def heads(self, message: Any) -> None:
        """Show a HeadArray."""
        self._at(message.header)
        seconds = stamp_seconds(message.header.stamp)
        for head in message.heads:
            self._head(head, seconds)
        for vertices, head in self._meshes.from_heads(message):
            self._mesh(head, vertices)
        present = {head.id for head in message.heads}
        for lost in self._seen - present:
            for path in (f'camera/heads/{lost}', f'camera/image/heads/{lost}'):
                self._recording.log(path, rr.Clear(recursive=True))
            self._trails.pop(lost, None)
        self._seen = present

    def mesh(self, message: Any) -> None:
        """Show a head_mesh: a row of vertices per head, in the order of the HeadArray before it."""
        self._at(message.header)
        for vertices, head in self._meshes.from_cloud(message):
            self._mesh(head, vertices)

    def triangles(self, message: Any) -> None:
        """Set the triangles of the meshes that follow."""
        self._meshes.triangles = np.asarray(message.data, np.uint32).reshape(-1, 3)
        self._named -= self._seen

    def diagnostics(self, message: Any) -> None:
        """Show numbers and state of every tracker in a DiagnosticArray."""
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            words = {*re.split('[/: ]+', status.name)}
            if 'inference p50 (ms)' not in values or not self._namespace <= words:
                continue
            self._at(message.header)
            for key, text in values.items():
                number = _number(text)
                if number is not None:
                    self._recording.log(f'diagnostics/{_word(key)}', rr.Scalars(number))
            level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
            self._recording.log('diagnostics/log', rr.TextLog(
                f'{status.name}: {status.message}', level=_LEVELS.get(level, 'WARN')))

    def _head(self, head: Any, seconds: float) -> None:
        log, colour = self._recording.log, _COLOURS[head.id % len(_COLOURS)]
        place, flat = f'camera/heads/{head.id}', f'camera/image/heads/{head.id}'
        px = np.asarray(head.landmarks_px).reshape(COUNT, 3)
        box = np.asarray(head.box)
        log(f'{flat}/landmarks', rr.Points2D(px[:, :2], colors=colour, radii=1.2))
        log(f'{flat}/box', rr.Boxes2D(array=box, array_format=rr.Box2DFormat.XYXY, colors=colour,
                                      labels=f'{head.id}: {head.score:.2f}'))
        log(f'{place}/landmarks', rr.Points3D(np.asarray(head.landmarks_m).reshape(COUNT, 3),
                                              colors=colour, radii=0.0015))
        at, turn = head.pose.pose.position, head.pose.pose.orientation
        position = np.array([at.x, at.y, at.z])
        log(f'{place}/axes', rr.Transform3D(
            translation=position, quaternion=rr.Quaternion(xyzw=[turn.x, turn.y, turn.z, turn.w])),
            rr.TransformAxes3D(AXIS_LENGTH))
        log(f'{place}/name', rr.Points3D([position], labels=f'head {head.id}', radii=0.0,
                                         colors=colour))
        trail = self._trails[head.id]
        if trail and not 0.0 <= seconds - trail[-1][0] <= _TRAIL_SECONDS:
            trail.clear()
        trail.append((seconds, position))
        while trail[0][0] < seconds - _TRAIL_SECONDS:
            trail.popleft()
        log(f'{place}/trail', rr.LineStrips3D([[point for _, point in trail]], colors=colour,
                                              radii=0.001))
        self._name(head.id)
        log(f'plots/position/{head.id}', rr.Scalars(position))
        log(f'plots/angles/{head.id}', rr.Scalars(np.rad2deg([head.yaw, head.pitch, head.roll])))
        log(f'plots/score/{head.id}', rr.Scalars(float(head.score)))

    def _name(self, track_id: int) -> None:
        """Log once what the numbers and the triangles of a head are."""
        if track_id in self._named:
            return
        self._named.add(track_id)

        def names(*parts: str) -> rr.SeriesLines:
            return rr.SeriesLines(names=[f'{part} of {track_id}' for part in parts])
        self._recording.log(f'plots/position/{track_id}', names('x', 'y', 'z'), static=True)
        self._recording.log(f'plots/angles/{track_id}', names('yaw', 'pitch', 'roll'), static=True)
        self._recording.log(f'plots/score/{track_id}', names('score'), static=True)
        if self._meshes.triangles is not None:
            self._recording.log(f'camera/heads/{track_id}/mesh', rr.Mesh3D.from_fields(
                triangle_indices=self._meshes.triangles, albedo_factor=_SKIN), static=True)

    def _mesh(self, track_id: int, vertices: NDArray[np.float32]) -> None:
        self._name(track_id)
        self._recording.log(f'camera/heads/{track_id}/mesh', rr.Mesh3D.from_fields(
            vertex_positions=vertices,
            vertex_normals=vertex_normals(vertices, self._meshes.triangles).astype(np.float32)))

    def _at(self, header: Any) -> None:
        nanoseconds = stamp_nanoseconds(header.stamp)
        self._recording.set_time(TIMELINE, timestamp=np.datetime64(nanoseconds, 'ns'))


def _encoded(message: Any) -> rr.EncodedImage:
    """Return the image as JPEG; `UserError` if it cannot be decoded."""
    if hasattr(message, 'format'):
        data = bytes(message.data)
        # Decoded also to check it. A JPEG is logged as it came.
        image = decode_compressed(message)
        if data.startswith(b'\xff\xd8'):
            return rr.EncodedImage(contents=data, media_type='image/jpeg')
    else:
        image = decode_image(message)
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return rr.EncodedImage(contents=cv2.imencode('.jpg', image, options)[1].tobytes(),
                           media_type='image/jpeg')


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _word(key: str) -> str:
    """Return 'inference_p50_ms' for 'inference p50 (ms)'."""
    return '_'.join(part.strip('()') for part in key.split())
