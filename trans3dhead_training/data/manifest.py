"""The manifest of prepared data: what lies in a folder, from where, under which licence."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trans3dhead_ros.errors import UserError

NAME = 'manifest.json'
VERSION = 1


@dataclass(frozen=True)
class Part:
    """
    Samples of one kind.

    :ivar source: what they were made from. :ivar licence: of those sources.
    :ivar open: public domain, CC0, CC BY or MIT throughout: free for any use.
    :ivar shards: file names below the manifest's folder -> number of samples.
    :ivar validation: how many of them are held out.
    """

    name: str
    source: str
    licence: str
    open: bool
    shards: Mapping[str, int]
    validation: int = 0

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(self.shards.values())


@dataclass(frozen=True)
class Manifest:
    """
    All of one prepared folder.

    :ivar seed: of everything random in it. :ivar settings: how it was prepared.
    :ivar offsets: (51, 3) m: where labellers put the inner points, seen from the head model's.
    """

    seed: int
    settings: Mapping[str, Any]
    offsets: list[list[float]]
    parts: tuple[Part, ...]

    def save(self, folder: Path) -> Path:
        """Write it into its folder, in one step; return the path."""
        path, partial = folder / NAME, folder / f'.{NAME}.partial'
        partial.write_text(json.dumps({'version': VERSION, **asdict(self)}, indent=1) + '\n')
        partial.replace(path)
        return path

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """
        Read the manifest of a folder.

        :raises ValueError: there is none, or it is no manifest of this version.
        """
        path = Path(folder) / NAME
        if not path.is_file():
            raise UserError(f'data: no {NAME} in {folder}; make it with `trans3dhead prepare '
                             'data`')
        try:
            content = json.loads(path.read_text())
            if content.pop('version') != VERSION:
                raise UserError(f'another version than {VERSION}')
            parts = tuple(Part(**part) for part in content.pop('parts'))
            return cls(parts=parts, **content)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f'data: {path} is no manifest ({error}); run `trans3dhead prepare '
                             'data` again') from None

    def chosen(self, open_only: bool) -> tuple[Part, ...]:
        """
        Return the parts that may be used.

        :raises ValueError: `open_only`, and no part is open.
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
        Return sources and licences of the chosen parts, for a checkpoint's metadata.

        :param names: of the parts that were used; None: all that are there.
        :raises ValueError: see `chosen`.
        """
        parts = [part for part in self.chosen(open_only) if names is None or part.name in names]
        return ('; '.join(dict.fromkeys(part.source for part in parts)),
                '; '.join(dict.fromkeys(part.licence for part in parts)))
