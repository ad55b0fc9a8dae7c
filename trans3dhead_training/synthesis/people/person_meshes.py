"""Drawing a person at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_training.synthesis.anatomy.binding import pushed_out
from trans3dhead_training.synthesis.anatomy.face_kit import Part, light_of_depth
from trans3dhead_training.synthesis.anatomy.mesh_surface import vertex_normals
from trans3dhead_training.synthesis.appearance.complexion import (
    HAIR_COLOURS,
    Complexion,
    paint_skin,
    tone_colour,
)
from trans3dhead_training.synthesis.appearance.eyelids import EYES, Lid
from trans3dhead_training.synthesis.appearance.eyes import lash_texture, painted_eye
from trans3dhead_training.synthesis.appearance.hair import tinted
from trans3dhead_training.synthesis.people import person as people
from trans3dhead_training.synthesis.people.person import (
    Bumps,
    GarmentInstance,
    Person,
    body_share,
    neutral,
)
from trans3dhead_training.synthesis.people.torso import (
    NECKLINES,
    Garment,
    cloth_texture,
)
from trans3dhead_training.synthesis.people.wardrobe import (
    ICT_SOURCE,
    MAKEHUMAN_SOURCE,
    PORTRAIT_SOURCE,
    Wardrobe,
)
from trans3dhead_training.synthesis.render.mesh import Material, Mesh

Float = NDArray[np.float32]
Picture = NDArray[np.uint8]

IDENTITY_SPREAD = 0.95
PORTRAIT_SHARE = 0.4
"""Of people whose skin is a portrait's, where there are portraits."""
LONG_STYLES = ('bob01', 'bob02', 'braid01', 'long01', 'ponytail01')
SHORT_STYLES = ('short01', 'short02', 'short03', 'short04')
IRIS_COLOURS = {'dark brown': (62, 40, 26), 'brown': (98, 64, 38), 'hazel': (118, 96, 56),
                'amber': (140, 98, 48), 'green': None, 'blue': None, 'grey': None, 'ice': None}


@dataclass(frozen=True)
class _Draft:
    """What is decided before anything is painted."""

    male: bool
    old: bool
    dark: bool
    tone: float
    skin: int
    portrait: int | None
    hair_name: str
    hair_style: str
    iris: str


def draw_person(wardrobe: Wardrobe, generator: np.random.Generator) -> Person:
    """Return a random person; the same generator state gives the same one."""
    draft = _draft(wardrobe, generator)
    identity = (IDENTITY_SPREAD * generator.standard_normal(
        len(wardrobe.parts['skin'].identity))).astype(np.float32)
    bumps = _bumps(generator)
    shapes = {name: neutral(part, identity, bumps) for name, part in wardrobe.parts.items()}
    look = _complexion(draft, generator)
    brow = int(generator.integers(len(wardrobe.brows)))
    bare = (wardrobe.skins[draft.skin] if draft.portrait is None
            else wardrobe.portraits.whole(draft.portrait, wardrobe.skins))
    skin = paint_skin(bare, wardrobe.skin_means[draft.skin], look,
                      wardrobe.brows[brow], wardrobe.layout, generator)
    cut = str(generator.choice(list(NECKLINES), p=[0.26, 0.14, 0.10, 0.16, 0.10, 0.08, 0.16]))
    cloth = cloth_texture(generator)
    skin = wardrobe.painted[cut].put_on(skin, cloth)

    bodies = {'skin': _mesh('skin', wardrobe.parts['skin'], _opaque(skin), people.SKIN,
                            wardrobe.openness['skin'])}
    eye = _eye_texture(wardrobe, draft, generator)
    for name in EYES:
        bodies[name] = _mesh(name, wardrobe.parts[name], eye, people.EYE,
                             wardrobe.openness[name])
    flesh = _flesh_colours(look, generator)
    for name, material in (('teeth', people.TOOTH), ('gums', people.FLESH),
                           ('sockets', people.FLESH)):
        bodies[name] = _mesh(name, wardrobe.parts[name], _shaded(flesh[name]), material,
                             light_of_depth(wardrobe.parts[name].mean))
    lash = lash_texture(generator, generator.uniform(0, 0.5 if draft.male else 1.0))
    bodies['lashes'] = _mesh('lashes', wardrobe.parts['lashes'], lash, people.LASH)

    lids = {name: Lid.of(wardrobe.parts, shapes, name) for name in EYES}
    for name in EYES:
        shapes[name] = lids[name].flattened(shapes[name])
    displacement = shapes['skin'] - wardrobe.parts['skin'].mean
    worn = []
    if draft.hair_style in wardrobe.hair:
        worn.append(_hair(wardrobe, draft.hair_style, look, shapes['skin'], displacement,
                          generator))
    worn.append(_garment('torso', wardrobe.torso, displacement, cloth))
    if cut in wardrobe.collars:
        worn.append(_garment('collar', wardrobe.collars[cut], displacement, cloth))
    looks = {'sex': 'male' if draft.male else 'female', 'tone': f'{draft.tone:.2f}',
             'skin': wardrobe.skin_names[draft.skin], 'hair': draft.hair_style,
             'hair colour': draft.hair_name, 'iris': draft.iris, 'neckline': cut,
             'brows': str(brow + 1)}
    sources = [ICT_SOURCE, MAKEHUMAN_SOURCE.format(f'skin {looks["skin"]}'),
               MAKEHUMAN_SOURCE.format('base body, eyebrows, eyes')]
    if draft.portrait is not None:
        looks['portrait'] = wardrobe.portraits.names[draft.portrait]
        sources.append(PORTRAIT_SOURCE.format(looks['portrait']))
    if draft.hair_style in wardrobe.hair:
        sources.append(MAKEHUMAN_SOURCE.format(f'hair {draft.hair_style.split()[0]}'))
    return Person(
        identity, bumps, looks, tuple(sources), wardrobe.parts, wardrobe.head,
        shapes, lids, body_share(wardrobe.parts['skin'].mean), bodies, tuple(worn),
        wardrobe.expression_names)


def _choice(generator: np.random.Generator, weights: dict[str, float]) -> str:
    share = np.array(list(weights.values()), dtype=float)
    return str(generator.choice(list(weights), p=share / share.sum()))


def _draft(wardrobe: Wardrobe, generator: np.random.Generator) -> _Draft:
    male = bool(generator.uniform() < 0.5)
    tone = float(generator.uniform())
    dark = bool(generator.uniform() < np.clip((tone - 0.38) / 0.3, 0, 1))
    fitting = [i for i, name in enumerate(wardrobe.skin_names)
               if ('darkskinned' in name) == dark and ('female' in name) != male]
    skin, portrait = int(generator.choice(fitting)), None
    likely = [i for i, base in enumerate(wardrobe.portraits.bases)
              if ('darkskinned' in wardrobe.skin_names[base]) == dark]
    if likely and generator.uniform() < PORTRAIT_SHARE:
        portrait = int(generator.choice(likely))
        skin = int(wardrobe.portraits.bases[portrait])
    old = 'old' in wardrobe.skin_names[skin].split('_')[0] or generator.uniform() < 0.15
    if generator.uniform() < 0.07:
        names = {'blue': 1, 'pink': 1, 'purple': 1, 'green': 0.5, 'red': 1}
    elif old and generator.uniform() < 0.6:
        names = {'grey': 1, 'white': 0.7, 'dark brown': 0.3}
    elif tone > 0.45:
        names = {'black': 3, 'soft black': 3, 'dark brown': 2, 'brown': 0.4, 'blond': 0.1}
    else:
        names = {'black': 1, 'soft black': 1.5, 'dark brown': 2, 'brown': 2, 'light brown': 1.5,
                 'dark blond': 1.2, 'blond': 1, 'light blond': 0.5, 'red': 0.5, 'auburn': 0.7}
    if male:
        styles = {'bald': 0.10, 'shaved': 0.20, 'balding': 0.12, 'afro01': 0.04 + 0.12 * dark,
                  **dict.fromkeys(SHORT_STYLES, 0.15), 'short03': 0.06, 'long01': 0.04,
                  'ponytail01': 0.03}
    else:
        styles = {'bald': 0.01, 'shaved': 0.03, 'afro01': 0.05 + 0.12 * dark,
                  **dict.fromkeys(LONG_STYLES, 0.15), 'bob01': 0.06, 'long01': 0.22,
                  'ponytail01': 0.22, **dict.fromkeys(SHORT_STYLES, 0.05)}
    style = _choice(generator, styles)
    if style == 'afro01' and names.keys() & {'blond', 'blue'}:
        names = {'black': 3, 'soft black': 3, 'dark brown': 1, 'auburn': 0.2}
    if style in wardrobe.hair and generator.uniform() < 0.5:
        style += ' mirrored'
    if tone > 0.5:
        irises = {'dark brown': 5, 'brown': 2, 'hazel': 0.05}
    else:
        irises = {'dark brown': 1.5, 'brown': 2, 'hazel': 1, 'amber': 0.4, 'green': 0.7,
                  'blue': 1.5, 'grey': 0.7, 'ice': 0.4}
    return _Draft(male, bool(old), dark, tone, skin, portrait, _choice(generator, names), style,
                  _choice(generator, irises))


def _complexion(draft: _Draft, generator: np.random.Generator) -> Complexion:
    uniform = generator.uniform
    hair = np.clip(np.array(HAIR_COLOURS[draft.hair_name]) * uniform(0.85, 1.15)
                   + generator.normal(0, 4, 3), 5, 240)
    beard = 0.0
    if draft.male and draft.portrait is None:
        beard = float(_choice(generator, {'0': 0.3, '0.15': 0.25, '0.35': 0.2, '0.6': 0.15,
                                          '0.85': 0.1})) * uniform(0.8, 1.1)
    scalp = {'bald': 0.0, 'shaved': uniform(0.35, 0.8), 'balding': uniform(0.4, 0.8)}.get(
        draft.hair_style, 0.92)
    made_up = not draft.male and uniform() < 0.55
    brows = uniform(0.65, 1.0) if draft.portrait is None else uniform(0.1, 0.4)  # it has its own
    lip_colours = ((176, 60, 66), (196, 84, 92), (150, 44, 58), (188, 108, 98), (120, 40, 60),
                   (206, 98, 118))
    shadows = ((92, 66, 60), (60, 52, 62), (120, 82, 92), (66, 76, 96), (40, 34, 34))
    lip = np.array(lip_colours[generator.integers(len(lip_colours))]) * (1 - 0.4 * draft.tone)
    shadow = np.array(shadows[generator.integers(len(shadows))]) * (1 - 0.45 * draft.tone)
    brow_hair = hair if draft.hair_name not in ('blue', 'pink', 'purple', 'green') else (
        np.array(HAIR_COLOURS['dark brown'], dtype=float))
    # A portrait's detail is a photograph's own.
    contrast = (0.85 if draft.dark or draft.portrait is not None
                else 1.15 if draft.old else 1.0)
    return Complexion(
        draft.tone, float(np.clip(generator.normal(0, 0.9), -2, 2)),
        float(uniform(0.9, 1.15) * contrast),
        float(uniform(0, 1) ** 1.5),
        float(uniform(0.2, 1.0)),
        float(uniform(0.4, 1) if draft.tone < 0.4 and uniform() < 0.2 else 0.0),
        int(generator.integers(0, 7)), tuple(hair), tuple(brow_hair), float(brows),
        min(beard, 1.0), scalp, 1.0 if draft.hair_style == 'balding' else 0.0,
        float(uniform(0.3, 0.8)) if made_up else 0.0, tuple(lip),
        float(uniform(0.2, 0.8)) if made_up and uniform() < 0.7 else 0.0, tuple(shadow),
        float(max(0.0, generator.normal(0.1, 0.35))))


def _bumps(generator: np.random.Generator) -> Bumps:
    """Draw a slight asymmetry that no basis of modes has, about half a millimetre."""
    count = 14
    centres = generator.uniform([-0.12, -0.08, -0.12], [0.02, 0.08, 0.08], (count, 3))
    return Bumps(centres, generator.uniform(0.02, 0.045, count),
                 generator.normal(0, 0.0006, (count, 3)))


def _eye_texture(wardrobe: Wardrobe, draft: _Draft, generator: np.random.Generator) -> Picture:
    colour = IRIS_COLOURS[draft.iris]
    choices = {'green': ('green_eye', 'bluegreen_eye'), 'blue': (
        'blue_eye', 'lightblue_eye', 'deepblue_eye'), 'grey': ('grey_eye',), 'ice': ('ice_eye',)}
    names: Sequence[str] = choices.get(draft.iris, ('brownlight_eye', 'grey_eye'))
    names = [name for name in names if name in wardrobe.iris_names] or [wardrobe.iris_names[0]]
    picked = wardrobe.iris_names.index(names[generator.integers(len(names))])
    iris = wardrobe.irises[picked]
    if colour is None:  # MakeHuman's own are too vivid for most people
        soft = iris.astype(np.float32)
        iris = np.clip(soft + (soft.mean(-1, keepdims=True) - soft) * generator.uniform(0.25, 0.6),
                       0, 255).astype(np.uint8)
    else:
        colour = np.array(colour) * generator.uniform(0.8, 1.2)
    return painted_eye(iris, colour, generator.uniform(0.24, 0.5), generator.uniform(0.88, 1.04),
                       0.6 * generator.uniform(0, 1) ** 2)


def _flesh_colours(look: Complexion, generator: np.random.Generator) -> dict[str, NDArray]:
    tooth = np.array([200, 189, 168]) * generator.uniform(0.82, 1.04) - [
        0, 0, generator.uniform(0, 26)]
    gums = np.array([150, 78, 80]) * (1 - 0.35 * look.tone) * generator.uniform(0.85, 1.1)
    return {'teeth': tooth, 'gums': gums,
            'sockets': 0.35 * tone_colour(look.tone, look.undertone) * [1.0, 0.6, 0.6]}


def _hair(
    wardrobe: Wardrobe, name: str, look: Complexion, skin: Float, displacement: Float,
    generator: np.random.Generator,
) -> GarmentInstance:
    style = wardrobe.hair[name]
    texture = tinted(style.grey, np.array(look.hair), float(generator.uniform(0, 0.6)))
    bound = style.binding
    # Fuller or flatter: offsets from the skin that carries a vertex, scaled.
    anchor = np.einsum('nkc,nk->nc', wardrobe.parts['skin'].mean[bound.skin], bound.weights)
    fullness = generator.uniform(0.92, 1.12)
    worn = bound.on(displacement) + (fullness - 1) * (bound.vertices - anchor)
    normals = vertex_normals(skin, wardrobe.parts['skin'].triangles).astype(np.float32)
    worn = pushed_out(worn.astype(np.float32), bound, skin, normals, 0.003)
    share = 0.6 * np.clip((-0.10 - bound.vertices[:, 2]) / 0.15, 0, 1)
    mesh = _built('hair', worn, style.triangles, style.uv, texture, people.HAIR)
    return GarmentInstance(mesh, share.astype(np.float32))


def _garment(name: str, garment: Garment, displacement: Float, cloth: Picture) -> GarmentInstance:
    vertices = garment.binding.on(displacement)
    mesh = _built(name, vertices, garment.triangles, garment.uv, cloth, people.CLOTH)
    return GarmentInstance(mesh, body_share(garment.binding.vertices))


def _opaque(rgb: Picture) -> Picture:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)


def _shaded(colour: NDArray[np.floating]) -> Picture:
    """Return (4, 32, 4): dark on the left, which `face_kit` lays out as the depth of the mouth."""
    light = np.linspace(0.25, 1.0, 32)[:, None]
    row = np.concatenate([np.clip(colour * light, 0, 255), np.full((32, 1), 255.0)], 1)
    return np.tile(row.astype(np.uint8), (4, 1, 1))


def _mesh(
    name: str, part: Part, texture: Picture, material: Material, openness: Float | None = None,
) -> Mesh:
    mesh = _built(name, part.mean, part.triangles, part.uv, texture, material)
    return mesh if openness is None else replace(mesh, occlusion=torch.from_numpy(openness))


def _built(
    name: str, vertices: Float, triangles: NDArray[np.int64], uv: Float, texture: Picture,
    material: Material,
) -> Mesh:
    return Mesh(
        torch.from_numpy(np.ascontiguousarray(vertices)), torch.from_numpy(triangles),
        torch.from_numpy(uv), torch.from_numpy(np.ascontiguousarray(texture)), material, name)
