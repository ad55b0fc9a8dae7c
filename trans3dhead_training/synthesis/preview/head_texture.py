"""A procedural texture for the head model: skin, lips, brows, hair and eyes, from its landmarks."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, Float32Array, Image, IndexArray

# All colours are BGR.
SKIN = (142, 172, 222)
LIPS = (100, 96, 186)
HAIR = (32, 42, 62)
SCLERA = (225, 230, 235)
IRIS = (120, 92, 52)
INSIDE = (38, 36, 84)
"""Colour of back faces, seen through an open mouth or beside the eyes."""

_IRIS_ANGLE, _PUPIL_ANGLE = 29.0, 12.0
_HAIR_THICKNESS = 0.011

# The texture is cylindrical about this vertical axis of the head, m.
_AXIS_X = -0.085
_LOW, _HIGH = -0.17, 0.13
_WIDTH, _HEIGHT = 1024, 480

# The hairline: m above the sellion by the angle from the front in degrees, from the forehead over
# the sideburn and the ear to the nape.
_HAIRLINE = ((0, 0.073), (30, 0.071), (50, 0.058), (62, 0.040), (70, 0.006), (78, -0.012),
             (84, 0.012), (92, 0.028), (112, 0.026), (122, -0.020), (132, -0.072), (180, -0.085))


@dataclass(frozen=True, eq=False)
class HeadTexture:
    """Texture and hair of one head; they move with the mesh."""

    rest: Array
    """(V, 3) m, the mean vertices, which are the texture coordinates."""
    hair: Array
    """(V, 3) m, displacement of each vertex by hair."""
    part: IndexArray
    """(V,) index of the connected component: 0 the skin, 1 … the eyeballs."""
    centre: Array
    """(P, 3) m, centre of each component of the mean head."""
    atlas: Image
    """(480, 1024, 3) BGR, the cylindrical texture."""

    def colours(self, rest: Float32Array, part: IndexArray) -> Float32Array:
        """
        Return the colours of surface points.

        :param rest: (N, 3) m, the points on the mean head.
        :param part: (N,) their component.
        :return: (N, 3) BGR 0…255.
        """
        # OpenCV accepts at most 32767 columns, so the points are laid out in rows.
        rows = -(-len(rest) // _WIDTH)
        maps = (np.resize(c.astype(np.float32), (rows, _WIDTH)) for c in _atlas_coordinates(rest))
        colours = cv2.remap(self.atlas, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        colours = colours.reshape(-1, 3)[:len(rest)].astype(np.float32)
        eye = part > 0
        colours[eye] = _eye_colours(rest[eye] - self.centre[part[eye]])
        return colours


def paint_head(model: HeadModule, seed: int = 3) -> HeadTexture:
    """
    Return a texture for the mean head.

    The largest connected component of the mesh is the skin; every other one is an eyeball.

    :param model: the head model.
    :param seed: of the noise on skin and hair.
    :return: the texture.
    """
    rest = np.asarray(model.mean, np.float64)
    triangles = np.asarray(model.triangles)
    part, centre = _parts(rest, triangles)
    landmarks = rest[np.asarray(model.landmark_indices)]
    return HeadTexture(rest, _hair_offsets(rest, part), part, centre,
                       _paint_atlas(landmarks, np.random.default_rng(seed)))


def _parts(rest: Array, triangles: NDArray[np.integer]) -> tuple[IndexArray, Array]:
    ends = np.concatenate([triangles, np.roll(triangles, 1, axis=1)]).reshape(-1)
    others = np.concatenate([np.roll(triangles, 1, axis=1), triangles]).reshape(-1)
    graph = coo_matrix((np.ones(len(ends)), (ends, others)), (len(rest), len(rest)))
    count, label = connected_components(graph, directed=False)
    order = np.argsort(-np.bincount(label), kind='stable')
    part = np.empty(count, np.int64)
    part[order] = np.arange(count)
    part = part[label]
    centre = np.stack([(rest[part == p].min(0) + rest[part == p].max(0)) / 2
                       for p in range(count)])
    return part, centre


def _atlas_coordinates(points: NDArray[np.floating]) -> tuple[Array, Array]:
    """Return column and row (…) in the atlas of points (…, 3) m of the mean head."""
    angle = np.arctan2(points[..., 1], points[..., 0] - _AXIS_X)
    across = (0.5 - angle / (2 * np.pi)) * (_WIDTH - 1)
    down = (_HIGH - points[..., 2]) / (_HIGH - _LOW) * (_HEIGHT - 1)
    return across, down


def _hair_share(angle_deg: Array, z: Array, softness: float) -> Array:
    """Return 0 (skin) … 1 (hair) by the angle from the front and the height."""
    line = np.interp(np.abs(angle_deg), *np.transpose(_HAIRLINE))
    return np.clip((z - line) / softness + 0.5, 0, 1)


def _hair_offsets(rest: Array, part: IndexArray) -> Array:
    outwards = rest - [_AXIS_X, 0.0, 0.0]
    angle = np.rad2deg(np.arctan2(outwards[:, 1], outwards[:, 0]))
    outwards[:, 2] = np.maximum(outwards[:, 2], 0)
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-9)
    # The hair gets thinner towards the hairline, to avoid a step on the forehead.
    share = _hair_share(angle, rest[:, 2] - 0.014, 0.028) * (part == 0)
    return _HAIR_THICKNESS * share[:, None] * outwards


def _paint_atlas(landmarks: Array, rng: np.random.Generator) -> Image:
    atlas = np.empty((_HEIGHT, _WIDTH, 3), np.float32)
    atlas[:] = SKIN
    across, down = _atlas_coordinates(landmarks)
    points = np.stack([across, down], axis=-1)
    millimetre = (_HEIGHT - 1) / (_HIGH - _LOW) / 1000
    atlas *= 1 + _noise(rng, 20, 0.05) + _noise(rng, 1.5, 0.03)

    cheeks = np.stack([points[[36, 48, 3]].mean(0), points[[45, 54, 13]].mean(0)])
    _blend(atlas, _spots(cheeks, 12 * millimetre), (118, 128, 218), 0.45)
    _blend(atlas, _spots(points[30:31], 8 * millimetre), (124, 140, 218), 0.35)
    for eye in (range(36, 42), range(42, 48)):
        _blend(atlas, _spots(points[list(eye)].mean(0)[None], 11 * millimetre),
               (110, 128, 176), 0.45)
    nostrils = (points[[32, 34]] * 2 + points[[31, 35]]) / 3 - [0, 2.5 * millimetre]
    _blend(atlas, _spots(nostrils, 2.3 * millimetre), (40, 48, 84), 1.0)

    lips = _region(_smooth_curve(points[48:60], closed=True), 0.6 * millimetre)
    _blend(atlas, lips * (1 + _noise(rng, 1, 0.1)[..., 0]), LIPS, 0.85)
    # The line between the lips, from corner to corner.
    middle = (points[[60, 61, 62, 63, 64]] + points[[60, 67, 66, 65, 64]]) / 2
    _blend(atlas, _stroke(middle, 1.2 * millimetre), (56, 46, 96), 0.8)
    for eye in (points[36:42], points[42:48]):
        _blend(atlas, _stroke(_smooth_curve(eye, closed=True), 1.5 * millimetre),
               (70, 74, 110), 0.7)
        _blend(atlas, _stroke(eye[:4] - [0, 0.5 * millimetre], 1.8 * millimetre), (24, 26, 38), 0.9)
    for brow in (points[17:22], points[22:27]):
        shape = _stroke(brow, 8.5 * millimetre)
        strokes = 0.9 + _noise(rng, 0.8, 0.35)[..., 0]
        _blend(atlas, shape * np.clip(strokes, 0, 1), HAIR, 0.95)

    columns = np.arange(_WIDTH) / (_WIDTH - 1)
    angle = (0.5 - columns) * 360
    height = _HIGH - np.arange(_HEIGHT) / (_HEIGHT - 1) * (_HIGH - _LOW)
    ragged = 0.006 * rng.normal(size=_WIDTH)
    ragged = cv2.GaussianBlur(ragged[None], (0, 0), 1)[0]
    share = _hair_share(angle[None], height[:, None] + ragged[None], 0.006)
    strands = cv2.GaussianBlur(rng.normal(size=(_HEIGHT, _WIDTH)), (0, 0), 0.6, sigmaY=7)
    hair = np.array(HAIR) * (1 + 0.35 * strands / strands.std())[..., None]
    atlas += share[..., None].astype(np.float32) * (hair - atlas)
    return np.clip(atlas, 0, 255).astype(np.uint8)


def _eye_colours(direction: NDArray[np.floating]) -> Float32Array:
    """Return the colours (N, 3) of points (N, 3) relative to an eyeball that looks along x."""
    length = np.maximum(np.linalg.norm(direction, axis=1), 1e-9)
    angle = np.rad2deg(np.arccos(np.clip(direction[:, 0] / length, -1, 1)))[:, None]

    def inside(border: float) -> Array:
        return np.clip((border - angle) / 3.0 + 0.5, 0, 1)

    colours = np.tile(np.array(SCLERA, np.float64), (len(angle), 1))
    # Darker towards the rim of the iris.
    iris = np.array(IRIS) * (1.25 - 0.5 * np.clip(angle / _IRIS_ANGLE, 0, 1))
    colours += inside(_IRIS_ANGLE) * (iris - colours)
    colours += inside(_PUPIL_ANGLE) * (12.0 - colours)
    return colours.astype(np.float32)


def _noise(rng: np.random.Generator, sigma: float, amplitude: float) -> Float32Array:
    """Return smooth noise (H, W, 1) with this standard deviation."""
    rough = rng.normal(size=(_HEIGHT, _WIDTH)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return (amplitude * smooth / smooth.std())[..., None]


def _blend(atlas: Float32Array, mask: NDArray[np.floating],
           colour: tuple[int, int, int], strength: float) -> None:
    atlas += strength * np.clip(mask, 0, 1)[..., None] * (np.array(colour, np.float32) - atlas)


def _spots(centres: Array, radius: float) -> Float32Array:
    rows, columns = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float32)
    mask = np.zeros((_HEIGHT, _WIDTH), np.float32)
    for x, y in centres:
        mask += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius ** 2))
    return mask


def _region(curve: Array, softness: float) -> Float32Array:
    mask = np.zeros((_HEIGHT, _WIDTH), np.float32)
    cv2.fillPoly(mask, [np.round(curve * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), softness)


def _stroke(curve: Array, thickness: float) -> Float32Array:
    """Return a soft line that gets thinner towards its ends."""
    fine = _smooth_curve(curve, closed=False)
    mask = np.zeros((_HEIGHT, _WIDTH), np.float32)
    along = np.linspace(0, 1, len(fine))
    width = thickness * (0.35 + 0.65 * np.sin(np.pi * along) ** 0.6)
    for (x, y), radius in zip(fine, width / 2, strict=True):
        cv2.circle(mask, (round(x * 16), round(y * 16)), max(round(radius * 16), 6), 1.0, -1,
                   cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask, (0, 0), max(0.12 * thickness, 0.4))


def _smooth_curve(points: Array, closed: bool, steps: int = 12) -> Array:
    """Return a Catmull-Rom curve (M, 2) through the points."""
    if closed:
        around = np.concatenate([points[-1:], points, points[:2]])
    else:
        around = np.concatenate([2 * points[:1] - points[1:2], points,
                                 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t ** 2
               + (3 * b - a - 3 * c + d) * t ** 3)
        for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False)]
    return np.concatenate([*pieces, points[-1:]])
