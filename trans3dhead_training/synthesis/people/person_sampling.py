"""Random people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Float32Array, IndexArray
from trans3dhead_training.synthesis.anatomy.face_kit import HeadPart, light_of_depth
from trans3dhead_training.synthesis.anatomy.skin_binding import push_outside_skin
from trans3dhead_training.synthesis.appearance.eye_texture import eyeball_texture, eyelash_texture
from trans3dhead_training.synthesis.appearance.eyelid_collision import EYES, Eyelid
from trans3dhead_training.synthesis.appearance.hair_styles import tint_hair
from trans3dhead_training.synthesis.appearance.skin_texture import (
    HAIR_COLOURS,
    SkinAppearance,
    paint_skin_texture,
    skin_tone_colour,
)
from trans3dhead_training.synthesis.people.clothing import (
    NECKLINES,
    Garment,
    sample_cloth_texture,
)
from trans3dhead_training.synthesis.people.person import (
    GarmentInstance,
    Person,
    SmoothDisplacement,
    neutral_vertices,
    torso_weights,
)
from trans3dhead_training.synthesis.people.person_assets import (
    ICT_SOURCE,
    MAKEHUMAN_SOURCE,
    PORTRAIT_SOURCE,
    PersonAssets,
)
from trans3dhead_training.synthesis.render.textured_mesh import Material, Mesh

SKIN_MATERIAL = Material(specular=0.03, roughness=0.6, wrap=0.3)
EYE_MATERIAL = Material(specular=0.03, roughness=0.12)
LASH_MATERIAL = Material(specular=0.0, roughness=0.9, two_sided=True, cutout=True)
TOOTH_MATERIAL = Material(specular=0.05, roughness=0.25)
FLESH_MATERIAL = Material(specular=0.03, roughness=0.4, wrap=0.3, two_sided=True)
HAIR_MATERIAL = Material(specular=0.025, roughness=0.65, two_sided=True, cutout=True)
CLOTH_MATERIAL = Material(specular=0.01, roughness=0.9, two_sided=True)
IDENTITY_SPREAD = 0.95
PORTRAIT_SHARE = 0.4
"""Share of people with the skin of a portrait, where there are portraits."""
LONG_STYLES = ('bob01', 'bob02', 'braid01', 'long01', 'ponytail01')
SHORT_STYLES = ('short01', 'short02', 'short03', 'short04')
IRIS_COLOURS = {'dark brown': (62, 40, 26), 'brown': (98, 64, 38), 'hazel': (118, 96, 56),
                'amber': (140, 98, 48), 'green': None, 'blue': None, 'grey': None, 'ice': None}


@dataclass(frozen=True)
class _Traits:
    """What is sampled before anything is painted."""

    male: bool
    """Whether clothes, hair and make-up are those of a man."""
    old: bool
    """Whether the hair may be grey and the skin has more detail."""
    dark: bool
    """Whether the skin's texture is a dark one."""
    tone: float
    """Skin tone, 0 (fair) .. 1 (dark)."""
    skin: int
    """Index of the bare skin."""
    portrait: int | None
    """Index of the portrait that gives the face, or None."""
    hair_name: str
    """Key of `HAIR_COLOURS`."""
    hair_style: str
    """Name of the style; 'bald', 'shaved' and 'balding' have no mesh."""
    iris: str
    """Key of `IRIS_COLOURS`."""


def sample_person(assets: PersonAssets, generator: np.random.Generator) -> Person:
    """Return a random person; the same generator state gives the same person."""
    traits = _sample_traits(assets, generator)
    identity = (IDENTITY_SPREAD * generator.standard_normal(
        len(assets.parts['skin'].identity))).astype(np.float32)
    asymmetry = _sample_displacement(generator)
    shapes = {
        name: neutral_vertices(part, identity, asymmetry) for name, part in assets.parts.items()
    }
    appearance = _sample_skin_appearance(traits, generator)
    brow = int(generator.integers(len(assets.brows)))
    bare = (assets.skins[traits.skin] if traits.portrait is None
            else assets.portraits.full_texture(traits.portrait, assets.skins))
    skin = paint_skin_texture(bare, assets.skin_means[traits.skin], appearance,
                              assets.brows[brow], assets.uv_maps, generator)
    cut = str(generator.choice(list(NECKLINES), p=[0.26, 0.14, 0.10, 0.16, 0.10, 0.08, 0.16]))
    cloth = sample_cloth_texture(generator)
    skin = assets.overlays[cut].composite(skin, cloth)

    part_meshes = {'skin': _part_mesh('skin', assets.parts['skin'], _with_alpha(skin),
                                      SKIN_MATERIAL, assets.ambient_visibility['skin'])}
    eye = _sample_eye_texture(assets, traits, generator)
    for name in EYES:
        part_meshes[name] = _part_mesh(name, assets.parts[name], eye, EYE_MATERIAL,
                                       assets.ambient_visibility[name])
    flesh = _flesh_colours(appearance, generator)
    for name, material in (('teeth', TOOTH_MATERIAL), ('gums', FLESH_MATERIAL),
                           ('sockets', FLESH_MATERIAL)):
        part_meshes[name] = _part_mesh(
            name, assets.parts[name], _depth_shaded(flesh[name]), material,
            light_of_depth(assets.parts[name].mean))
    lash = eyelash_texture(generator, generator.uniform(0, 0.5 if traits.male else 1.0))
    part_meshes['lashes'] = _part_mesh('lashes', assets.parts['lashes'], lash, LASH_MATERIAL)

    eyelids = {name: Eyelid.from_person(assets.parts, shapes, name) for name in EYES}
    for name in EYES:
        shapes[name] = eyelids[name].with_flat_cornea(shapes[name])
    displacement = shapes['skin'] - assets.parts['skin'].mean
    garments = []
    if traits.hair_style in assets.hair:
        garments.append(_make_hair(
            assets, traits.hair_style, appearance, shapes['skin'], displacement, generator))
    garments.append(_make_garment('torso', assets.torso, displacement, cloth))
    if cut in assets.collars:
        garments.append(_make_garment('collar', assets.collars[cut], displacement, cloth))
    description = {'sex': 'male' if traits.male else 'female', 'tone': f'{traits.tone:.2f}',
                   'skin': assets.skin_names[traits.skin], 'hair': traits.hair_style,
                   'hair colour': traits.hair_name, 'iris': traits.iris, 'neckline': cut,
                   'brows': str(brow + 1)}
    sources = [ICT_SOURCE, MAKEHUMAN_SOURCE.format(f'skin {description["skin"]}'),
               MAKEHUMAN_SOURCE.format('base body, eyebrows, eyes')]
    if traits.portrait is not None:
        description['portrait'] = assets.portraits.names[traits.portrait]
        sources.append(PORTRAIT_SOURCE.format(description['portrait']))
    if traits.hair_style in assets.hair:
        sources.append(MAKEHUMAN_SOURCE.format(f'hair {traits.hair_style.split()[0]}'))
    return Person(
        identity, asymmetry, description, tuple(sources), assets.parts, assets.head,
        shapes, eyelids, torso_weights(assets.parts['skin'].mean), part_meshes, tuple(garments),
        assets.expression_names)


def _choice(generator: np.random.Generator, weights: dict[str, float]) -> str:
    share = np.array(list(weights.values()), dtype=float)
    return str(generator.choice(list(weights), p=share / share.sum()))


def _sample_traits(assets: PersonAssets, generator: np.random.Generator) -> _Traits:
    male = bool(generator.uniform() < 0.5)
    tone = float(generator.uniform())
    dark = bool(generator.uniform() < np.clip((tone - 0.38) / 0.3, 0, 1))
    fitting = [i for i, name in enumerate(assets.skin_names)
               if ('darkskinned' in name) == dark and ('female' in name) != male]
    skin, portrait = int(generator.choice(fitting)), None
    likely = [i for i, base in enumerate(assets.portraits.bases)
              if ('darkskinned' in assets.skin_names[base]) == dark]
    if likely and generator.uniform() < PORTRAIT_SHARE:
        portrait = int(generator.choice(likely))
        skin = int(assets.portraits.bases[portrait])
    old = 'old' in assets.skin_names[skin].split('_')[0] or generator.uniform() < 0.15
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
    if style in assets.hair and generator.uniform() < 0.5:
        style += ' mirrored'
    if tone > 0.5:
        irises = {'dark brown': 5, 'brown': 2, 'hazel': 0.05}
    else:
        irises = {'dark brown': 1.5, 'brown': 2, 'hazel': 1, 'amber': 0.4, 'green': 0.7,
                  'blue': 1.5, 'grey': 0.7, 'ice': 0.4}
    return _Traits(male, bool(old), dark, tone, skin, portrait, _choice(generator, names), style,
                   _choice(generator, irises))


def _sample_skin_appearance(traits: _Traits, generator: np.random.Generator) -> SkinAppearance:
    uniform = generator.uniform
    hair = np.clip(np.array(HAIR_COLOURS[traits.hair_name]) * uniform(0.85, 1.15)
                   + generator.normal(0, 4, 3), 5, 240)
    beard = 0.0
    if traits.male and traits.portrait is None:
        beard = float(_choice(generator, {'0': 0.3, '0.15': 0.25, '0.35': 0.2, '0.6': 0.15,
                                          '0.85': 0.1})) * uniform(0.8, 1.1)
    scalp = {'bald': 0.0, 'shaved': uniform(0.35, 0.8), 'balding': uniform(0.4, 0.8)}.get(
        traits.hair_style, 0.92)
    made_up = not traits.male and uniform() < 0.55
    brows = uniform(0.65, 1.0) if traits.portrait is None else uniform(0.1, 0.4)
    lip_colours = ((176, 60, 66), (196, 84, 92), (150, 44, 58), (188, 108, 98), (120, 40, 60),
                   (206, 98, 118))
    shadows = ((92, 66, 60), (60, 52, 62), (120, 82, 92), (66, 76, 96), (40, 34, 34))
    lip = np.array(lip_colours[generator.integers(len(lip_colours))]) * (1 - 0.4 * traits.tone)
    shadow = np.array(shadows[generator.integers(len(shadows))]) * (1 - 0.45 * traits.tone)
    brow_hair = hair if traits.hair_name not in ('blue', 'pink', 'purple', 'green') else (
        np.array(HAIR_COLOURS['dark brown'], dtype=float))
    # A portrait's detail is a photograph's own.
    contrast = (0.85 if traits.dark or traits.portrait is not None
                else 1.15 if traits.old else 1.0)
    return SkinAppearance(
        traits.tone, float(np.clip(generator.normal(0, 0.9), -2, 2)),
        float(uniform(0.9, 1.15) * contrast),
        float(uniform(0, 1) ** 1.5),
        float(uniform(0.2, 1.0)),
        float(uniform(0.4, 1) if traits.tone < 0.4 and uniform() < 0.2 else 0.0),
        int(generator.integers(0, 7)), tuple(hair), tuple(brow_hair), float(brows),
        min(beard, 1.0), scalp, 1.0 if traits.hair_style == 'balding' else 0.0,
        float(uniform(0.3, 0.8)) if made_up else 0.0, tuple(lip),
        float(uniform(0.2, 0.8)) if made_up and uniform() < 0.7 else 0.0, tuple(shadow),
        float(max(0.0, generator.normal(0.1, 0.35))))


def _sample_displacement(generator: np.random.Generator) -> SmoothDisplacement:
    """Sample a slight asymmetry of about half a millimetre that the basis does not have."""
    count = 14
    centres = generator.uniform([-0.12, -0.08, -0.12], [0.02, 0.08, 0.08], (count, 3))
    return SmoothDisplacement(centres, generator.uniform(0.02, 0.045, count),
                              generator.normal(0, 0.0006, (count, 3)))


def _sample_eye_texture(
    assets: PersonAssets, traits: _Traits, generator: np.random.Generator
) -> NDArray[np.uint8]:
    colour = IRIS_COLOURS[traits.iris]
    choices = {'green': ('green_eye', 'bluegreen_eye'), 'blue': (
        'blue_eye', 'lightblue_eye', 'deepblue_eye'), 'grey': ('grey_eye',), 'ice': ('ice_eye',)}
    names: Sequence[str] = choices.get(traits.iris, ('brownlight_eye', 'grey_eye'))
    names = [name for name in names if name in assets.iris_names] or [assets.iris_names[0]]
    picked = assets.iris_names.index(names[generator.integers(len(names))])
    iris = assets.irises[picked]
    if colour is None:  # MakeHuman's own are too vivid for most people
        soft = iris.astype(np.float32)
        iris = np.clip(soft + (soft.mean(-1, keepdims=True) - soft) * generator.uniform(0.25, 0.6),
                       0, 255).astype(np.uint8)
    else:
        colour = np.array(colour) * generator.uniform(0.8, 1.2)
    return eyeball_texture(
        iris, colour, generator.uniform(0.24, 0.5), generator.uniform(0.88, 1.04),
        0.6 * generator.uniform(0, 1) ** 2)


def _flesh_colours(
    appearance: SkinAppearance, generator: np.random.Generator
) -> dict[str, NDArray]:
    tooth = np.array([200, 189, 168]) * generator.uniform(0.82, 1.04) - [
        0, 0, generator.uniform(0, 26)]
    gums = np.array([150, 78, 80]) * (1 - 0.35 * appearance.tone) * generator.uniform(0.85, 1.1)
    return {
        'teeth': tooth,
        'gums': gums,
        'sockets': 0.35 * skin_tone_colour(appearance.tone, appearance.undertone) * [1.0, 0.6, 0.6],
    }


def _make_hair(
    assets: PersonAssets, name: str, appearance: SkinAppearance, skin: Float32Array,
    displacement: Float32Array, generator: np.random.Generator,
) -> GarmentInstance:
    style = assets.hair[name]
    texture = tint_hair(style.grey, np.array(appearance.hair), float(generator.uniform(0, 0.6)))
    bound = style.binding
    # Fullness scales the offset of each vertex from the skin that it is bound to.
    anchor = np.einsum('nkc,nk->nc', assets.parts['skin'].mean[bound.skin], bound.weights)
    fullness = generator.uniform(0.92, 1.12)
    vertices = bound.deformed(displacement) + (fullness - 1) * (bound.vertices - anchor)
    normals = vertex_normals(skin, assets.parts['skin'].triangles).astype(np.float32)
    vertices = push_outside_skin(vertices.astype(np.float32), bound, skin, normals, 0.003)
    share = 0.6 * np.clip((-0.10 - bound.vertices[:, 2]) / 0.15, 0, 1)
    mesh = _to_mesh('hair', vertices, style.triangles, style.uv, texture, HAIR_MATERIAL)
    return GarmentInstance(mesh, share.astype(np.float32))


def _make_garment(
    name: str, garment: Garment, displacement: Float32Array, cloth: NDArray[np.uint8]
) -> GarmentInstance:
    vertices = garment.binding.deformed(displacement)
    mesh = _to_mesh(name, vertices, garment.triangles, garment.uv, cloth, CLOTH_MATERIAL)
    return GarmentInstance(mesh, torso_weights(garment.binding.vertices))


def _with_alpha(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)


def _depth_shaded(colour: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return (4, 32, 4), dark on the left: u is the depth in the mouth (`face_kit._by_depth`)."""
    light = np.linspace(0.25, 1.0, 32)[:, None]
    row = np.concatenate([np.clip(colour * light, 0, 255), np.full((32, 1), 255.0)], 1)
    return np.tile(row.astype(np.uint8), (4, 1, 1))


def _part_mesh(
    name: str, part: HeadPart, texture: NDArray[np.uint8], material: Material,
    ambient_visibility: Float32Array | None = None,
) -> Mesh:
    mesh = _to_mesh(name, part.mean, part.triangles, part.uv, texture, material)
    return (
        mesh
        if ambient_visibility is None
        else replace(mesh, occlusion=torch.from_numpy(ambient_visibility))
    )


def _to_mesh(
    name: str, vertices: Float32Array, triangles: IndexArray, uv: Float32Array,
    texture: NDArray[np.uint8], material: Material,
) -> Mesh:
    return Mesh(
        torch.from_numpy(np.ascontiguousarray(vertices)), torch.from_numpy(triangles),
        torch.from_numpy(uv), torch.from_numpy(np.ascontiguousarray(texture)), material, name)
