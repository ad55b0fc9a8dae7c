"""The figure of the frames and their axes, the TF tree and the signs of the angles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import axis_points, rotation_from_euler
from trans3dhead_ros.types import Array, Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer


# x red, y green, z blue, as RViz draws a frame.
_COLOURS = ('#d62828', '#2a9d3a', '#1d5fd1')
_INK, _QUIET, _PAPER = '#222831', '#6b7280', '#fbfbfa'
_AXIS = 0.14
# The centre of the head, about which it is rotated: behind and below the sellion.
_MIDDLE = np.array([-0.085, 0.0, -0.015])
# The two heads of TF have numbers; the first one is drawn.
_HEAD = 'tracked_head_1'

_SCENE_TILE, _SCENE_FOV_DEG = (1000, 620), 46.0
_SCENE_FROM, _SCENE_AT = np.array([-0.66, -0.30, -0.30]), np.array([0.01, -0.035, 0.30])
_IMAGE_TILE, _IMAGE_FOV_DEG = (640, 480), 46.0
_IMAGE_PLANE = 0.235
_POSE_EULER, _POSE_AT = np.array([12.0, 4.0, 0.0]), np.array([0.03, -0.01, 0.62])

_TILE, _TILE_FOV_DEG, _TILE_DISTANCE = (300, 320), 25.0, 0.80
# Title, caption, and yaw, pitch, roll in degrees.
SIGNS = (
    ('yaw > 0', "the nose points to the\nimage's left (own right)", (35.0, 0.0, 0.0)),
    ('yaw < 0', "the nose points to the\nimage's right (own left)", (-35.0, 0.0, 0.0)),
    ('pitch > 0', 'the chin is up', (0.0, 22.0, 0.0)),
    ('pitch < 0', 'the chin is down', (0.0, -22.0, 0.0)),
    ('roll > 0', "the crown leans to the\nimage's right", (0.0, 0.0, 25.0)),
    ('roll < 0', "the crown leans to the\nimage's left", (0.0, 0.0, -25.0)),
)


@dataclass(frozen=True, eq=False)
class View:
    """A camera that looks at a scene: p_view = rotation @ p_scene + translation."""

    camera: Camera
    rotation: Array
    translation: Array

    @classmethod
    def towards(cls, camera: Camera, eye: Array, target: Array) -> View:
        """
        Return the view from one point towards another; the scene's y axis points down.

        :param camera: the camera.
        :param eye: (3,) m, its position in the scene, which is an optical frame.
        :param target: (3,) m, the point that it looks at.
        :return: the view.
        """
        forward = (target - eye) / np.linalg.norm(target - eye)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        return cls(camera, rotation, -rotation @ eye)

    def pixels(self, points: Array) -> Array:
        """Project points (..., 3) m of the scene to pixels (..., 2)."""
        return self.camera.project(points @ self.rotation.T + self.translation)

    def pose(self, rotation: Array, translation: Array) -> tuple[Array, Array]:
        """Return a pose of the scene in the frame of this view."""
        return self.rotation @ rotation, self.rotation @ translation + self.translation


def scene_view() -> View:
    """Return the view of the scene from behind the depicted camera and beside it."""
    return View.towards(Camera.from_fov(_SCENE_TILE, _SCENE_FOV_DEG), _SCENE_FROM, _SCENE_AT)


def sign_pose(euler_deg: tuple[float, float, float]) -> tuple[Array, Array]:
    """Return the pose (3, 3), (3,) of the head in the pictures of the angles."""
    rotation = rotation_from_euler(np.array(euler_deg))
    return rotation, np.array([0.0, 0.0, _TILE_DISTANCE]) - rotation @ _MIDDLE


def draw_frames(renderer: HeadRenderer, path: Path) -> None:
    """Write the figure as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(16.0, 11.6), dpi=100, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    _draw_scene(figure.add_axes((0.0, 0.435, 0.625, 0.535)), renderer)
    _draw_image(figure.add_axes((0.662, 0.63, 0.32, 0.315)), renderer)
    _draw_tree(figure.add_axes((0.655, 0.345, 0.335, 0.255)))
    for number, (title, seen, euler_deg) in enumerate(SIGNS):
        axes = figure.add_axes((0.012 + 0.1638 * number, 0.055, 0.158, 0.232))
        _draw_sign(axes, renderer, title, seen, euler_deg)
    for height, words in ((0.96, 'Frames'), (0.322, 'Angles, as the head looks in its image')):
        figure.text(0.015, height, words, color=_INK, size=16, weight='bold')
    figure.savefig(path)


def _draw_scene(axes: Axes, renderer: HeadRenderer) -> None:
    view = scene_view()
    rotation, translation = _pose()
    picture = renderer.render(_paper(_SCENE_TILE), view.camera, *view.pose(rotation, translation))
    corners = _plane_corners(Camera.from_fov(_IMAGE_TILE, _IMAGE_FOV_DEG))
    plane = view.pixels(corners)
    _show(axes, _with_plane(picture, _photograph(renderer), plane))

    eye, sellion = view.pixels(np.zeros(3)), view.pixels(translation)
    for corner in plane:
        axes.plot(*np.stack([eye, corner]).T, color=_QUIET, lw=0.8)
    axes.plot(*np.vstack([plane, plane[:1]]).T, color=_QUIET, lw=1.2)
    axes.plot(*np.stack([eye, sellion]).T, color=_INK, lw=1.3, ls=(0, (5, 4)))
    _draw_axes(axes, view, axis_points(np.eye(3), np.zeros(3), 0.085),
               ('x right', 'y down', 'z forward'))
    _draw_axes(axes, view, axis_points(rotation, translation, _AXIS),
               ('x out of the face', "y to the head's left", 'z up'))
    top = view.pixels(translation + rotation @ [0.0, 0.0, _AXIS])
    _label(axes, top, (40, -22), f'{_HEAD}: the head frame,\norigin at the sellion', 'left')
    _label(axes, eye, (26, 66), 'camera optical frame:\nthe frame_id of the image', 'left')
    _label(axes, plane[3], (-10, 34), 'p_camera = R p_head + t', 'center')


def _draw_image(axes: Axes, renderer: HeadRenderer) -> None:
    rotation, translation = _pose()
    view = View(Camera.from_fov(_IMAGE_TILE, _IMAGE_FOV_DEG), np.eye(3), np.zeros(3))
    _show(axes, _photograph(renderer))
    points = renderer.model.mean[renderer.model.landmark_indices].cpu().numpy().astype(float)
    landmarks = view.pixels(points @ rotation.T + translation)
    axes.plot(*landmarks.T, '.', color='white', ms=3.5, mec='none')
    _draw_axes(axes, view, axis_points(rotation, translation), ('x', 'y', 'z'))
    for end, colour in (((150, 0), _COLOURS[0]), ((0, 120), _COLOURS[1])):
        _arrow(axes, np.zeros(2), np.array(end, float), colour, 3)
    axes.text(160, 22, 'x right', color=_COLOURS[0], size=12.5, weight='bold',
              path_effects=_halo())
    axes.text(10, 142, 'y down', color=_COLOURS[1], size=12.5, weight='bold',
              path_effects=_halo())
    axes.set_title('Image: pixel centres at integers, the first is (0, 0)', color=_INK, size=13,
                   weight='bold', loc='left', pad=12)


def _draw_tree(axes: Axes) -> None:
    """Draw the TF tree and who publishes each transform."""
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 7.2)
    axes.axis('off')
    axes.text(0.2, 6.9, 'TF', color=_INK, size=13, weight='bold')
    boxes = {'map … base_link': (3.1, 6.2), 'camera_link': (3.1, 4.6),
             'camera_optical_frame': (3.1, 3.0), _HEAD: (1.5, 1.1), 'tracked_head_2': (4.9, 1.1)}
    for name, (x, y) in boxes.items():
        ours = name.startswith('tracked')
        axes.text(x, y, name, ha='center', va='center', size=12, color='white' if ours else _INK,
                  family='monospace', bbox={
                      'boxstyle': 'round,pad=0.45', 'fc': '#1d5fd1' if ours else 'white',
                      'ec': '#1d5fd1' if ours else _QUIET, 'lw': 1.2})
    for start, end, ours in (
            ('map … base_link', 'camera_link', False),
            ('camera_link', 'camera_optical_frame', False),
            ('camera_optical_frame', _HEAD, True),
            ('camera_optical_frame', 'tracked_head_2', True)):
        (x0, y0), (x1, y1) = boxes[start], boxes[end]
        axes.annotate('', (x1, y1 + 0.45), (x0, y0 - 0.45), arrowprops={
            'arrowstyle': '-|>', 'color': '#1d5fd1' if ours else _QUIET,
            'lw': 1.8 if ours else 1.2, 'ls': '-' if ours else '--'})
    for y, words in ((5.4, "the robot's and the camera's\n(robot_state_publisher, static)"),
                     (2.0, 'head_tracker, with the stamp\nof the image')):
        axes.text(9.95, y, words, ha='right', va='center', size=11.5,
                  color='#1d5fd1' if y < 3 else _QUIET)


def _draw_sign(axes: Axes, renderer: HeadRenderer, title: str, seen: str,
               euler_deg: tuple[float, float, float]) -> None:
    camera = Camera.from_fov(_TILE, _TILE_FOV_DEG)
    rotation, translation = sign_pose(euler_deg)
    _show(axes, renderer.render(_paper(_TILE), camera, rotation, translation))
    view = View(camera, np.eye(3), np.zeros(3))
    _draw_axes(axes, view, axis_points(rotation, translation), ('x', 'y', 'z'))
    axes.set_title(title, color=_INK, size=14, weight='bold', pad=4)
    axes.text(_TILE[0] / 2, _TILE[1] + 8, seen, color=_INK, size=11.5, ha='center', va='top')


def _pose() -> tuple[Array, Array]:
    """Return the pose of the head in the scene and in its image."""
    return rotation_from_euler(_POSE_EULER), _POSE_AT


def _photograph(renderer: HeadRenderer) -> Image:
    """Return the image of the depicted camera."""
    room = np.empty((_IMAGE_TILE[1], _IMAGE_TILE[0], 3), np.uint8)
    room[:] = np.linspace((176, 164, 150), (118, 108, 98), _IMAGE_TILE[1])[:, None]
    return renderer.render(room, Camera.from_fov(_IMAGE_TILE, _IMAGE_FOV_DEG), *_pose())


def _plane_corners(camera: Camera) -> Array:
    """Return the corners (4, 3) m of the image in front of the camera, clockwise."""
    width, height = camera.size
    rays = camera.rays([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
    return _IMAGE_PLANE * np.column_stack([rays, np.ones(4)])


def _with_plane(picture: Image, photograph: Image, corners: Array) -> Image:
    """Blend the camera's image, half transparent, into the scene."""
    height, width = photograph.shape[:2]
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    warp = cv2.getPerspectiveTransform(flat, corners.astype(np.float32))
    size = (picture.shape[1], picture.shape[0])
    layer = cv2.warpPerspective(photograph, warp, size, flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(np.full((height, width), 0.62, np.float32), warp, size)[..., None]
    return np.round(picture * (1 - cover) + layer * cover).astype(np.uint8)


def _paper(size: tuple[int, int]) -> Image:
    red, green, blue = (int(_PAPER[i:i + 2], 16) for i in (1, 3, 5))
    return np.full((size[1], size[0], 3), (blue, green, red), np.uint8)


def _show(axes: Axes, picture: Image) -> None:
    axes.imshow(picture[..., ::-1], interpolation='lanczos')
    axes.axis('off')


def _draw_axes(axes: Axes, view: View, points: Array, names: tuple[str, str, str]) -> None:
    """Draw a frame, given its origin and the ends of its axes (4, 3) m, the farthest axis first."""
    pixels = view.pixels(points)
    places: list[Array] = []
    depths = (points @ view.rotation.T + view.translation)[1:, 2]
    for number in np.argsort(-depths):
        start, end, colour = pixels[0], pixels[1 + number], _COLOURS[number]
        _arrow(axes, start, end, colour, 3)
        along = end - start
        length = np.linalg.norm(along)
        # An axis towards the viewer has no direction in the picture; its name goes below it.
        place = end + (15 * along / length if length > 12 else np.array([0.0, 20.0]))
        if any(np.linalg.norm(place - other) < 18 for other in places):
            place = place + ((14.0, -8.0) if abs(along[0]) < abs(along[1]) else (0.0, -18.0))
        places.append(place)
        across = 'left' if along[0] > 0.4 * length else 'right' if along[0] < -0.4 * length \
            else 'center'
        axes.text(*place, names[number], color=colour, size=12.5, weight='bold', ha=across,
                  va='center', path_effects=_halo())


def _arrow(axes: Axes, start: Array, end: Array, colour: str, width: float) -> None:
    axes.annotate('', end, start, annotation_clip=False, arrowprops={
        'arrowstyle': '-|>,head_width=0.32,head_length=0.6', 'color': colour, 'lw': width,
        'shrinkA': 0, 'shrinkB': 0})


def _label(axes: Axes, anchor: Array, offset: tuple[float, float], words: str, across: str) -> None:
    axes.text(*(anchor + offset), words, color=_INK, size=12.5, ha=across, va='center',
              linespacing=1.35, path_effects=_halo())


def _halo() -> list:
    """Return a pale outline that keeps letters readable on a picture."""
    from matplotlib.patheffects import withStroke
    return [withStroke(linewidth=3.5, foreground='white', alpha=0.85)]
