"""Everything that people are made of, registered to one head once and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_training.fitting.head_basis import sample_head
from trans3dhead_training.synthesis.anatomy.assets import existing
from trans3dhead_training.synthesis.anatomy.base_body import load_base_body
from trans3dhead_training.synthesis.anatomy.binding import Binding, bind
from trans3dhead_training.synthesis.anatomy.face_kit import (
    FaceKit,
    Part,
    load_face_kit,
    load_fields,
)
from trans3dhead_training.synthesis.anatomy.layout import Layout, lay_out, skin_texels
from trans3dhead_training.synthesis.anatomy.mesh_surface import vertex_normals
from trans3dhead_training.synthesis.appearance.ambient import openness
from trans3dhead_training.synthesis.appearance.brows import brow_opacity
from trans3dhead_training.synthesis.appearance.eyes import (
    iris_texture,
    lay_out_eyeball,
    lay_out_lashes,
)
from trans3dhead_training.synthesis.appearance.hair import HairStyle, load_hair
from trans3dhead_training.synthesis.appearance.portrait_skin import PortraitSkins, load_portraits
from trans3dhead_training.synthesis.appearance.skin_atlas import SkinCarrier, skin_files
from trans3dhead_training.synthesis.people.torso import (
    COLLARS,
    NECKLINES,
    Garment,
    PaintedCloth,
    make_collar,
    make_torso,
    paint_under,
)

Float = NDArray[np.float32]
Picture = NDArray[np.uint8]

VERSION = 14
"""Raised when what the cache holds, or how it is made, changes."""
CACHE_NAME = 'wardrobe.npz'
FACE_KIT = Path('head_model/ict_facekit.npz')
MAKEHUMAN = Path('appearance/makehuman')
ICT_SOURCE = 'ICT-FaceKit head model: MIT, (c) 2020 USC Institute for Creative Technologies'
PORTRAIT_FITS = 'portrait_fits.npz'
PORTRAIT_SOURCE = 'portrait {}: official portrait of the United States Congress, public domain'
MAKEHUMAN_SOURCE = 'MakeHuman {}: CC0, (c) 2020 Data Collection AB, J. Palmius, J. Hauquier'


@dataclass(frozen=True, eq=False)
class Wardrobe:
    """
    Assets in the head frame of the mean head, m.

    :ivar parts: 'skin', 'eye_left', 'eye_right' (fronts), 'lashes', 'teeth', 'gums', 'sockets'.
    :ivar head: the vertices of our head model's own sampling, with all modes; no triangles.
    :ivar layout: regions of the skin's texture.
    :ivar skins: (S, 512, 1024, 3) RGB, bare. :ivar skin_names: (S,).
    :ivar skin_means: (S, 3) mean colour of the face.
    :ivar brows: (B, 512, 1024) opacity. :ivar irises: (I, 192, 192, 3).
    :ivar hair: styles, and their mirror images. :ivar torso: :ivar collars: by their names.
    :ivar painted: by the name of the neckline.
    :ivar openness: (V,) of some parts: share of the surroundings that a vertex sees.
    :ivar portraits: skins of portraits; none without their fits.
    :ivar expression_names: (53,) in the order of our head model.
    """

    parts: Mapping[str, Part]
    head: Part
    layout: Layout
    skins: Picture
    skin_names: tuple[str, ...]
    skin_means: NDArray[np.float64]
    brows: Picture
    irises: Picture
    iris_names: tuple[str, ...]
    hair: Mapping[str, HairStyle]
    torso: Garment
    collars: Mapping[str, Garment]
    painted: Mapping[str, PaintedCloth]
    openness: Mapping[str, Float]
    portraits: PortraitSkins
    expression_names: tuple[str, ...]

    @classmethod
    def load(
        cls, data_root: Path, cache: Path, portrait_fits: Path | None = None,
    ) -> Wardrobe:
        """
        Return the wardrobe from the folder `cache`, made from the data when it is not there.

        :param data_root: folder of the data, with head_model/, appearance/ and faces/.
        :param portrait_fits: what `prepare fits --portraits` wrote, for more skins; by default
            portrait_fits.npz beside the folder `cache`, if it is there.
        :raises ValueError: when an input is missing or damaged.
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
                        return _unpacked({key: archive[key] for key in archive.files})
            except (KeyError, OSError, ValueError, zipfile.BadZipFile):
                pass  # a cache is made again, whatever is wrong with it
        wardrobe = build(Path(data_root), portrait_fits)
        file.parent.mkdir(parents=True, exist_ok=True)
        # Several processes may build at once: each renames a whole file into place.
        part = file.with_name(f'{file.stem}.{os.getpid()}.npz')
        np.savez(part, stamp=np.array(stamp), **_packed(wardrobe))
        os.replace(part, file)
        return wardrobe


def build(data_root: Path, portrait_fits: Path | None = None) -> Wardrobe:
    """
    Register and carry everything; some twenty seconds.

    :raises ValueError: when an input is missing or damaged.
    """
    kit = load_face_kit(data_root / FACE_KIT)
    human = data_root / MAKEHUMAN
    body = load_base_body(human / 'base.obj', kit)
    texels = skin_texels(kit)
    layout = lay_out(kit, texels)
    carrier = SkinCarrier(kit, body, texels, layout)
    files = skin_files(human / 'skins')
    skins = np.stack([carrier.carry(file) for file in files])
    irises = _listed(human / 'eyes', '*.png', 'irises')
    hair = {}
    for folder in _listed(human / 'hair', '*', 'hair'):
        style = load_hair(folder, body, kit.parts['skin'].mean)
        hair[style.name] = style
        hair[style.name + ' mirrored'] = _mirrored(style, kit.parts['skin'].mean)
    middle = skins[:, 100:330, 130:382].reshape(len(skins), -1, 3)
    head, expression_names = _head(data_root / FACE_KIT)
    parts = _trimmed(kit)
    means = middle.mean(1)
    if portrait_fits is None:
        portraits = PortraitSkins.none()
    else:
        portraits = load_portraits(data_root / 'faces', portrait_fits, skins, means,
                                   parts['skin'], texels, layout)
    return Wardrobe(
        parts, head, layout, skins,
        tuple(file.stem for file in files), means,
        np.stack([brow_opacity(folder, kit, body)
                  for folder in _listed(human / 'eyebrows', '*', 'eyebrows')]),
        np.stack([iris_texture(file) for file in irises]),
        tuple(file.stem for file in irises), hair, make_torso(kit, body),
        {name: make_collar(kit, name) for name in COLLARS},
        {cut: paint_under(layout.position, cut) for cut in NECKLINES},
        _openness(parts), portraits, expression_names)


def _listed(folder: Path, pattern: str, what: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise UserError(f'{what}: nothing in {folder}; is TRANS3DHEAD_DATA the data folder?')
    return found


def _fingerprint(data_root: Path, portrait_fits: Path | None) -> str:
    """Return what the cache depends on: the version, names and sizes of assets, the fits."""
    existing(data_root / FACE_KIT, 'parametric head')
    human = data_root / MAKEHUMAN
    existing(human / 'base.obj', 'mesh')
    files = [data_root / FACE_KIT, *sorted(path for path in human.rglob('*') if path.is_file())]
    sizes = ' '.join(f'{path.relative_to(data_root)}:{path.stat().st_size}' for path in files)
    if portrait_fits is not None:
        fits = existing(portrait_fits, 'portrait fits').read_bytes()
        sizes += f' portraits:{hashlib.sha256(fits).hexdigest()}'
    return f'{VERSION} {sizes}'


def _trimmed(kit: FaceKit) -> dict[str, Part]:
    parts = dict(kit.parts)
    for name in ('eye_left', 'eye_right'):
        ball = lay_out_eyeball(parts[name])
        parts[name] = _subset(parts[name], ball.used, ball.triangles, ball.uv)
    parts['lashes'] = _subset(parts['lashes'],
                              *lay_out_lashes(parts['lashes'], parts['skin'].mean))
    return parts


def _openness(parts: Mapping[str, Part]) -> dict[str, Float]:
    """Measure what each vertex of skin and eyes sees past skin and eyes."""
    names = ('skin', 'eye_left', 'eye_right')
    offsets = np.cumsum([0] + [len(parts[name].mean) for name in names])
    vertices = np.concatenate([parts[name].mean for name in names]).astype(float)
    triangles = np.concatenate([parts[name].triangles + offset
                                for name, offset in zip(names, offsets, strict=False)])
    open_ = openness(vertices, vertex_normals(vertices, triangles), vertices, triangles)
    return {name: open_[offsets[i]:offsets[i + 1]] for i, name in enumerate(names)}


def _subset(part: Part, used: NDArray[np.int64], triangles: NDArray[np.int64], uv: Float) -> Part:
    return Part(part.mean[used], part.identity[:, used], part.expression[:, used], triangles, uv)


def _head(source: Path) -> tuple[Part, tuple[str, ...]]:
    """Return all modes on the sampling of our head model, whose triangles are its own."""
    model, sampling = sample_head(source)
    mean, identity, expression = load_fields(source).sampled(sampling.apply)
    part = Part(mean, identity, expression, model.triangles.numpy(),
                np.zeros((len(model.triangles), 3, 2), np.float32))
    return part, tuple(model.expression_names)


def _mirrored(style: HairStyle, skin: Float) -> HairStyle:
    vertices = style.binding.vertices * np.float32([1, -1, 1])
    return replace(style, name=style.name + ' mirrored', binding=bind(vertices, skin),
                   triangles=style.triangles[:, ::-1].copy(), uv=style.uv[:, ::-1].copy())


def _packed(thing: Any, prefix: str = '') -> dict[str, NDArray[Any]]:
    """Return the arrays of nested dataclasses and mappings under dotted names."""
    found: dict[str, NDArray[Any]] = {}
    items = thing.items() if isinstance(thing, Mapping) else (
        (field.name, getattr(thing, field.name)) for field in fields(thing))
    for name, value in items:
        if isinstance(value, np.ndarray):
            found[prefix + name] = value
        elif isinstance(value, tuple):
            found[prefix + name] = np.array(value)
        elif not isinstance(value, str):
            found.update(_packed(value, f'{prefix}{name}/'))
    return found


def _unpacked(arrays: Mapping[str, NDArray[Any]]) -> Wardrobe:
    def make(kind: type, prefix: str, **given: Any) -> Any:
        return kind(**given, **{field.name: arrays[prefix + field.name] for field in fields(kind)
                                if field.name not in given})

    def names(prefix: str) -> list[str]:
        inside = (key[len(prefix):].split('/')[0] for key in arrays if key.startswith(prefix))
        return list(dict.fromkeys(inside))

    def garment(prefix: str) -> Garment:
        return make(Garment, prefix, binding=make(Binding, prefix + 'binding/'))

    hair = {name: make(HairStyle, f'hair/{name}/', name=name,
                       binding=make(Binding, f'hair/{name}/binding/')) for name in names('hair/')}
    return make(
        Wardrobe, '', parts={name: make(Part, f'parts/{name}/') for name in names('parts/')},
        head=make(Part, 'head/'), layout=make(Layout, 'layout/'),
        skin_names=tuple(str(name) for name in arrays['skin_names']),
        iris_names=tuple(str(name) for name in arrays['iris_names']),
        expression_names=tuple(str(name) for name in arrays['expression_names']), hair=hair,
        torso=garment('torso/'),
        collars={name: garment(f'collars/{name}/') for name in names('collars/')},
        portraits=make(PortraitSkins, 'portraits/',
                       names=tuple(str(name) for name in arrays['portraits/names'])),
        openness={name: arrays[f'openness/{name}'] for name in names('openness/')},
        painted={name: make(PaintedCloth, f'painted/{name}/') for name in names('painted/')})
