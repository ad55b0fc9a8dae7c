"""The assets of synthetic people, registered to one head and cached in a file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.atomic_files import replacing
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.types import Array, Float32Array, IndexArray
from trans3dhead_training.fitting.head_basis import sample_head
from trans3dhead_training.synthesis.anatomy.asset_files import require_file
from trans3dhead_training.synthesis.anatomy.face_kit import (
    FaceKit,
    HeadPart,
    load_basis,
    load_face_kit,
)
from trans3dhead_training.synthesis.anatomy.makehuman_body import load_makehuman_body
from trans3dhead_training.synthesis.anatomy.skin_binding import SkinBinding, bind_to_skin
from trans3dhead_training.synthesis.anatomy.skin_uv_maps import (
    SkinUvMaps,
    build_skin_uv_maps,
    skin_texels,
)
from trans3dhead_training.synthesis.appearance.ambient_occlusion import ambient_visibility
from trans3dhead_training.synthesis.appearance.eye_texture import (
    eyeball_mesh,
    eyelash_mesh,
    iris_texture,
)
from trans3dhead_training.synthesis.appearance.eyebrow_texture import eyebrow_opacity
from trans3dhead_training.synthesis.appearance.hair_styles import HairStyle, load_hair_style
from trans3dhead_training.synthesis.appearance.portrait_texture import (
    PortraitTextures,
    load_portrait_textures,
)
from trans3dhead_training.synthesis.appearance.skin_transfer import SkinTransfer, skin_files
from trans3dhead_training.synthesis.people.clothing import (
    COLLARS,
    NECKLINES,
    Garment,
    GarmentOverlay,
    garment_overlay,
    make_collar,
    make_torso,
)

VERSION = 14
"""Increased when the contents of the cache, or how they are made, change."""
CACHE_NAME = 'person_assets.npz'
FACE_KIT = Path('head_model/ict_facekit.npz')
MAKEHUMAN = Path('appearance/makehuman')
ICT_SOURCE = 'ICT-FaceKit head model: MIT, (c) 2020 USC Institute for Creative Technologies'
PORTRAIT_FITS = 'portrait_fits.npz'
PORTRAIT_SOURCE = 'portrait {}: official portrait of the United States Congress, public domain'
MAKEHUMAN_SOURCE = 'MakeHuman {}: CC0, (c) 2020 Data Collection AB, J. Palmius, J. Hauquier'


@dataclass(frozen=True, eq=False)
class PersonAssets:
    """
    Assets on the mean head, in the head frame, m.

    Example::

        assets = PersonAssets.load(Path('data'), cache=Path('runs/people'))
        person = sample_person(assets, np.random.default_rng(0))
    """

    parts: Mapping[str, HeadPart]
    """'skin', 'eye_left', 'eye_right' (fronts), 'lashes', 'teeth', 'gums', 'sockets'."""
    head: HeadPart
    """The vertices of the head model's own sampling, with the full basis."""
    uv_maps: SkinUvMaps
    """Maps over the skin's texture."""
    skins: NDArray[np.uint8]
    """(S, 512, 1024, 3) RGB, bare skin textures."""
    skin_names: tuple[str, ...]
    """(S,) names of the skins."""
    skin_means: Array
    """(S, 3) mean colours of the faces."""
    brows: NDArray[np.uint8]
    """(B, 512, 1024) opacity of the eyebrows."""
    irises: NDArray[np.uint8]
    """(I, 192, 192, 3) RGB, eyeball textures."""
    iris_names: tuple[str, ...]
    """(I,) names of the irises."""
    hair: Mapping[str, HairStyle]
    """Hair styles and their mirror images, by name."""
    torso: Garment
    """The torso in cloth."""
    collars: Mapping[str, Garment]
    """Collars by name."""
    overlays: Mapping[str, GarmentOverlay]
    """What each neckline covers of the skin, by name."""
    ambient_visibility: Mapping[str, Float32Array]
    """(V,) fraction of the surroundings that vertices of skin and eyes see."""
    portraits: PortraitTextures
    """Skin textures from portraits; empty without their fits."""
    expression_names: tuple[str, ...]
    """(53,) in the order of the head model."""

    @classmethod
    def load(
        cls, data_root: Path, cache: Path, portrait_fits: Path | None = None,
    ) -> PersonAssets:
        """
        Read the assets from a cache, or build them and write it.

        :param data_root: folder of the data, with head_model/, appearance/ and faces/.
        :param cache: folder of the cache.
        :param portrait_fits: the file that `prepare fits --portraits` writes, for more skins; by
            default portrait_fits.npz beside the folder `cache`, where it exists.
        :return: the assets.
        :raises UserError: an input is missing or damaged.
        """
        file = Path(cache) / CACHE_NAME
        if portrait_fits is None:
            beside = Path(cache).parent / PORTRAIT_FITS
            portrait_fits = beside if beside.is_file() else None
        stamp = _fingerprint(Path(data_root), portrait_fits)
        if file.is_file():
            try:
                with np.load(file, allow_pickle=False) as archive:
                    if str(archive['stamp']) == stamp:
                        return _unflatten({key: archive[key] for key in archive.files})
            except (KeyError, OSError, ValueError, zipfile.BadZipFile):
                pass  # a damaged cache is built again
        assets = build_assets(Path(data_root), portrait_fits)
        # Several processes may build at once.
        with replacing(file) as cache:
            np.savez(cache, stamp=np.array(stamp), **_flatten(assets))
        return assets


def build_assets(data_root: Path, portrait_fits: Path | None = None) -> PersonAssets:
    """
    Register and bake all assets, which takes some twenty seconds.

    :param data_root: folder of the data.
    :param portrait_fits: fits of portraits, or None for no portrait skins.
    :return: the assets.
    :raises UserError: an input is missing or damaged.
    """
    face_kit = load_face_kit(data_root / FACE_KIT)
    human = data_root / MAKEHUMAN
    body = load_makehuman_body(human / 'base.obj', face_kit)
    texels = skin_texels(face_kit)
    uv_maps = build_skin_uv_maps(face_kit, texels)
    transfer = SkinTransfer(face_kit, body, texels, uv_maps)
    files = skin_files(human / 'skins')
    skins = np.stack([transfer.transfer(file) for file in files])
    irises = _list_files(human / 'eyes', '*.png', 'irises')
    hair = {}
    for folder in _list_files(human / 'hair', '*', 'hair'):
        style = load_hair_style(folder, body, face_kit.parts['skin'].mean)
        hair[style.name] = style
        hair[style.name + ' mirrored'] = _mirrored(style, face_kit.parts['skin'].mean)
    middle = skins[:, 100:330, 130:382].reshape(len(skins), -1, 3)
    head, expression_names = _head(data_root / FACE_KIT)
    parts = _trim_parts(face_kit)
    means = middle.mean(1)
    if portrait_fits is None:
        portraits = PortraitTextures.empty()
    else:
        portraits = load_portrait_textures(data_root / 'faces', portrait_fits, skins, means,
                                           parts['skin'], texels, uv_maps)
    return PersonAssets(
        parts, head, uv_maps, skins,
        tuple(file.stem for file in files), means,
        np.stack([eyebrow_opacity(folder, face_kit, body)
                  for folder in _list_files(human / 'eyebrows', '*', 'eyebrows')]),
        np.stack([iris_texture(file) for file in irises]),
        tuple(file.stem for file in irises), hair, make_torso(face_kit, body),
        {name: make_collar(face_kit, name) for name in COLLARS},
        {cut: garment_overlay(uv_maps.position, cut) for cut in NECKLINES},
        _measure_ambient_visibility(parts), portraits, expression_names)


def _list_files(folder: Path, pattern: str, what: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise UserError(f'{what}: nothing in {folder}; is TRANS3DHEAD_DATA the data folder?')
    return found


def _fingerprint(data_root: Path, portrait_fits: Path | None) -> str:
    """Return what the cache depends on: version, names and sizes of the files, hash of the fits."""
    require_file(data_root / FACE_KIT, 'parametric head')
    human = data_root / MAKEHUMAN
    require_file(human / 'base.obj', 'mesh')
    files = [data_root / FACE_KIT, *sorted(path for path in human.rglob('*') if path.is_file())]
    sizes = ' '.join(f'{path.relative_to(data_root)}:{path.stat().st_size}' for path in files)
    if portrait_fits is not None:
        fits = require_file(portrait_fits, 'portrait fits').read_bytes()
        sizes += f' portraits:{hashlib.sha256(fits).hexdigest()}'
    return f'{VERSION} {sizes}'


def _trim_parts(face_kit: FaceKit) -> dict[str, HeadPart]:
    parts = dict(face_kit.parts)
    for name in ('eye_left', 'eye_right'):
        ball = eyeball_mesh(parts[name])
        parts[name] = _subset(parts[name], ball.used, ball.triangles, ball.uv)
    parts['lashes'] = _subset(parts['lashes'],
                              *eyelash_mesh(parts['lashes'], parts['skin'].mean))
    return parts


def _measure_ambient_visibility(parts: Mapping[str, HeadPart]) -> dict[str, Float32Array]:
    """Measure what each vertex of skin and eyes sees past skin and eyes."""
    names = ('skin', 'eye_left', 'eye_right')
    offsets = np.cumsum([0] + [len(parts[name].mean) for name in names])
    vertices = np.concatenate([parts[name].mean for name in names]).astype(float)
    triangles = np.concatenate([parts[name].triangles + offset
                                for name, offset in zip(names, offsets, strict=False)])
    open_ = ambient_visibility(vertices, vertex_normals(vertices, triangles), vertices, triangles)
    return {name: open_[offsets[i]:offsets[i + 1]] for i, name in enumerate(names)}


def _subset(part: HeadPart, used: IndexArray, triangles: IndexArray, uv: Float32Array) -> HeadPart:
    return HeadPart(
        part.mean[used], part.identity[:, used], part.expression[:, used], triangles, uv
    )


def _head(source: Path) -> tuple[HeadPart, tuple[str, ...]]:
    """Return the full basis at the head model's sampling, and the names of the expressions."""
    model, sampling = sample_head(source)
    mean, identity, expression = load_basis(source).sampled(sampling.apply)
    part = HeadPart(mean, identity, expression, model.triangles.numpy(),
                    np.zeros((len(model.triangles), 3, 2), np.float32))
    return part, tuple(model.expression_names)


def _mirrored(style: HairStyle, skin: Float32Array) -> HairStyle:
    vertices = style.binding.vertices * np.float32([1, -1, 1])
    return replace(style, name=style.name + ' mirrored', binding=bind_to_skin(vertices, skin),
                   triangles=style.triangles[:, ::-1].copy(), uv=style.uv[:, ::-1].copy())


def _flatten(thing: Any, prefix: str = '') -> dict[str, NDArray[Any]]:
    """Return the arrays of nested dataclasses and mappings under paths such as `hair/bob01/uv`."""
    found: dict[str, NDArray[Any]] = {}
    items = thing.items() if isinstance(thing, Mapping) else (
        (field.name, getattr(thing, field.name)) for field in fields(thing))
    for name, value in items:
        if isinstance(value, np.ndarray):
            found[prefix + name] = value
        elif isinstance(value, tuple):
            found[prefix + name] = np.array(value)
        elif not isinstance(value, str):
            found.update(_flatten(value, f'{prefix}{name}/'))
    return found


def _unflatten(arrays: Mapping[str, NDArray[Any]]) -> PersonAssets:
    def make(kind: type, prefix: str, **given: Any) -> Any:
        return kind(**given, **{field.name: arrays[prefix + field.name] for field in fields(kind)
                                if field.name not in given})

    def names(prefix: str) -> list[str]:
        inside = (key[len(prefix):].split('/')[0] for key in arrays if key.startswith(prefix))
        return list(dict.fromkeys(inside))

    def garment(prefix: str) -> Garment:
        return make(Garment, prefix, binding=make(SkinBinding, prefix + 'binding/'))

    hair = {
        name: make(
            HairStyle, f'hair/{name}/', name=name,
            binding=make(SkinBinding, f'hair/{name}/binding/'))
        for name in names('hair/')
    }
    return make(
        PersonAssets,
        '',
        parts={name: make(HeadPart, f'parts/{name}/') for name in names('parts/')},
        head=make(HeadPart, 'head/'),
        uv_maps=make(SkinUvMaps, 'uv_maps/'),
        skin_names=tuple(str(name) for name in arrays['skin_names']),
        iris_names=tuple(str(name) for name in arrays['iris_names']),
        expression_names=tuple(str(name) for name in arrays['expression_names']),
        hair=hair,
        torso=garment('torso/'),
        collars={name: garment(f'collars/{name}/') for name in names('collars/')},
        portraits=make(
            PortraitTextures, 'portraits/',
            names=tuple(str(name) for name in arrays['portraits/names'])),
        ambient_visibility={
            name: arrays[f'ambient_visibility/{name}'] for name in names('ambient_visibility/')
        },
        overlays={name: make(GarmentOverlay, f'overlays/{name}/') for name in names('overlays/')},
    )
