"""Drawing of heads in their image: mesh, landmarks, axes and a label."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import axis_points
from trans3dhead_ros.landmarks import CURVES, SELLION
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.types import Array, Image

_MESH_OPACITY = 0.45
# BGR; consecutive ids get distant hues.
_COLOURS = ((255, 200, 80), (90, 220, 255), (150, 255, 120), (255, 130, 220), (120, 170, 255),
            (255, 255, 140))
# BGR; x red, y green, z blue, as in RViz.
_AXIS_COLOURS = ((60, 60, 255), (60, 220, 60), (255, 110, 60))
# Fractional bits of the coordinates of OpenCV's drawing functions.
_SHIFT = 4
_FONT, _FONT_SCALE, _LINE_HEIGHT = cv2.FONT_HERSHEY_SIMPLEX, 0.42, 14


def draw_heads(image: Image, heads: Sequence[Head], triangles: NDArray[np.integer]) -> Image:
    """
    Draw heads into a copy of an image, distant ones first.

    :param image: (H, W, 3) uint8 BGR.
    :param heads: those without vertices are drawn without mesh.
    :param triangles: (T, 3) vertex indices, counter-clockwise seen from outside.
    :return: the copy.
    :raises ValueError: for another kind of image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}')
    canvas = np.ascontiguousarray(image).copy()
    for head in sorted(heads, key=lambda h: -float(h.translation[2])):
        colour = _COLOURS[(head.track_id or 0) % len(_COLOURS)]
        if len(head.vertices_px):
            _draw_mesh(canvas, head, triangles, colour)
        _draw_landmarks(canvas, head, colour)
        _draw_axes(canvas, head)
        _draw_label(canvas, head, colour)
    return canvas


def _fixed(points: Array) -> NDArray[np.int32]:
    """Convert pixels to OpenCV's fixed-point numbers, clipped to what fits into them."""
    return np.round(np.clip(points, -1e5, 1e5) * (1 << _SHIFT)).astype(np.int32)


def _draw_mesh(canvas: Image, head: Head, triangles: NDArray[np.integer],
               colour: tuple[int, int, int]) -> None:
    """Blend a wireframe of the triangles that face the camera into the image."""
    height, width = canvas.shape[:2]
    low = np.clip(np.floor(head.vertices_px.min(axis=0)) - 1, 0, [width, height]).astype(int)
    high = np.clip(np.ceil(head.vertices_px.max(axis=0)) + 2, 0, [width, height]).astype(int)
    if (high <= low).any():
        return
    window = canvas[low[1]:high[1], low[0]:high[0]]
    corners = (head.vertices_px - low)[triangles]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    # y points down, so the signed area of triangles that face the camera is negative.
    facing = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0
    wires = window.copy()
    cv2.polylines(wires, _fixed(corners[facing]), True, colour, 1, cv2.LINE_AA, _SHIFT)
    # The wireframe of a small head is dense and would hide the face.
    opacity = _MESH_OPACITY * float(np.clip(_size(head) / 160, 0.4, 1.0))
    cv2.addWeighted(wires, opacity, window, 1 - opacity, 0, dst=window)


def _draw_landmarks(canvas: Image, head: Head, colour: tuple[int, int, int]) -> None:
    points = _fixed(head.landmarks[:, :2])
    for curve, closed in CURVES:
        cv2.polylines(canvas, [points[list(curve)]], closed, colour, 1, cv2.LINE_AA, _SHIFT)
    # Dots would cover a small head.
    if _size(head) < 50:
        return
    radius = int(np.clip(_size(head) / 120, 0.6, 3.0) * (1 << _SHIFT))
    for x, y in points.tolist():
        cv2.circle(canvas, (x, y), radius, (255, 255, 255), -1, cv2.LINE_AA, _SHIFT)


def _draw_axes(canvas: Image, head: Head) -> None:
    origin, *ends = _fixed(head_axes_px(head)).tolist()
    thickness = 2 if _size(head) > 60 else 1
    # Axes that point away from the camera are drawn first.
    for axis in np.argsort(-head.rotation[2]):
        cv2.line(canvas, origin, ends[axis], _AXIS_COLOURS[axis], thickness, cv2.LINE_AA, _SHIFT)


def head_axes_px(head: Head) -> Array:
    """
    Return the pixels (4, 2) of the head's origin and of the end points of its x, y and z axes.

    A `Head` has no camera. An affine camera is fitted to its vertices and their pixels, which is
    accurate also away from the image's centre.
    """
    origin = head.landmarks[SELLION, :2]
    if len(head.vertices):
        relative = head.vertices - head.translation
        system = np.column_stack([relative, np.ones(len(relative))])
        camera = np.linalg.lstsq(system, head.vertices_px, rcond=None)[0][:3].T
    else:
        camera = np.eye(2, 3) * _size(head) / 0.15
    return axis_points(camera @ head.rotation, origin)


def _draw_label(canvas: Image, head: Head, colour: tuple[int, int, int]) -> None:
    yaw, pitch, roll = head.euler_deg
    name = '' if head.track_id is None else f'#{head.track_id} '
    lines = [f'{name}{head.score:.2f}']
    if _size(head) > 45:
        lines.append(f'yaw {yaw:+.0f} pitch {pitch:+.0f} roll {roll:+.0f}')
    widths = [cv2.getTextSize(line, _FONT, _FONT_SCALE, 1)[0][0] for line in lines]
    top = head.vertices_px[:, 1].min() if len(head.vertices_px) else head.box[1]
    left = int(np.clip(head.box[0], 2, max(canvas.shape[1] - max(widths) - 2, 2)))
    bottom = int(np.clip(top - 6, _LINE_HEIGHT * len(lines), canvas.shape[0] - 4))
    for number, line in enumerate(reversed(lines)):
        place = (left, bottom - _LINE_HEIGHT * number)
        for shade, thickness in (((0, 0, 0), 3), (colour, 1)):
            cv2.putText(canvas, line, place, _FONT, _FONT_SCALE, shade, thickness, cv2.LINE_AA)


def _size(head: Head) -> float:
    """Return the longer side of the head's box, px."""
    return float(np.max(head.box[2:] - head.box[:2]))
