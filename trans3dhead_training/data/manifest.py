"""The manifest of prepared data: what a folder contains, from where, under which licence."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trans3dhead_ros.atomic_files import write_json
from trans3dhead_ros.errors import UserError

NAME = 'manifest.json'
VERSION = 1


@dataclass(frozen=True)
class Part:
    """Samples of one kind."""

    name: str
    """Name of the part, such as `photographs`."""
    source: str
    """What the samples were made from."""
    licence: str
    """Licences of these sources."""
    open: bool
    """Whether all of them are free for any use: public domain, CC0, CC BY or MIT."""
    shards: Mapping[str, int]
    """File names below the manifest's folder, and the number of samples in each."""
    validation: int = 0
    """How many samples are held out."""

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(self.shards.values())


@dataclass(frozen=True)
class Manifest:
    """What one prepared folder contains."""

    seed: int
    """Of everything random in it."""
    settings: Mapping[str, Any]
    """How it was prepared."""
    offsets: list[list[float]]
    """(51, 3) m, where labellers put the inner points, seen from those of the head model."""
    parts: tuple[Part, ...]
    """The samples."""

    def save(self, folder: Path) -> Path:
        """Write the manifest to its folder atomically; return the path."""
        path = folder / NAME
        write_json(path, {'version': VERSION, **asdict(self)})
        return path

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """
        Read the manifest of a folder.

        :param folder: of prepared data.
        :return: the manifest.
        :raises UserError: there is none, or it is damaged or of another version.
        """
        path = Path(folder) / NAME
        if not path.is_file():
            raise UserError(f'data: no {NAME} in {folder}; make it with `trans3dhead prepare '
                            'data`')
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
            if content.pop('version') != VERSION:
                raise ValueError(f'its version is not {VERSION}')
            parts = tuple(Part(**part) for part in content.pop('parts'))
            return cls(parts=parts, **content)
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise UserError(f'data: {path} is not a manifest ({error}); run `trans3dhead prepare '
                            'data` again') from None

    def usable(self, open_only: bool) -> tuple[Part, ...]:
        """
        Return the parts that may be used.

        :param open_only: only those that are free for any use.
        :return: at least one part.
        :raises UserError: there is none.
        """
        parts = tuple(part for part in self.parts if part.open or not open_only)
        if not parts:
            raise UserError('data: no part of the manifest is open; prepare synthetic heads or '
                            'portraits')
        return parts

    def credit(
        self, open_only: bool = False, names: Collection[str] | None = None,
    ) -> tuple[str, str]:
        """
        Return sources and licences of parts, for the metadata of a checkpoint.

        :param open_only: only parts that are free for any use.
        :param names: of the parts that were used; None: all.
        :return: sources, licences.
        :raises UserError: there is no such part.
        """
        parts = [part for part in self.usable(open_only) if names is None or part.name in names]
        return ('; '.join(dict.fromkeys(part.source for part in parts)),
                '; '.join(dict.fromkeys(part.licence for part in parts)))
