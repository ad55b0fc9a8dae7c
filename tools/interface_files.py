"""Read the documentation of .msg and .srv files: each field with the comment above it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trans3dhead_ros.errors import UserError


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    type: str
    """Type as the file spells it."""
    name: str
    """Name of the field."""
    comment: str
    """The comment above it, as one line."""


@dataclass(frozen=True)
class InterfaceFile:
    """A message, or a service with the fields of its request and of its response."""

    name: str
    """Such as `msg/HeadArray`."""
    about: tuple[str, ...]
    """The comment at the top, one entry per paragraph."""
    parts: tuple[tuple[Field, ...], ...]
    """The fields: one entry for a message, request and response for a service."""


def read_interface_file(path: Path) -> InterfaceFile:
    """
    Read a file in which every field has a comment above it.

    :param path: a .msg or .srv file.
    :return: its documentation.
    :raises UserError: for a field without a comment.
    """
    about: list[str] = []
    parts: list[list[Field]] = [[]]
    comment: list[str] = []
    for line in [*path.read_text().splitlines(), '']:
        if line.startswith('#'):
            comment.append(line.lstrip('# '))
        elif line == '---':
            parts.append([])
        elif line:
            if not comment:
                raise UserError(f'{path.name}: no comment above {line!r}')
            kind, name = line.split()
            parts[-1].append(Field(kind, name, ' '.join(comment)))
            comment = []
        elif comment:
            # A comment followed by an empty line describes the whole file.
            about += [' '.join(text.split('\n')) for text in '\n'.join(comment).split('\n\n')]
            comment = []
    return InterfaceFile(f'{path.suffix[1:]}/{path.stem}', tuple(about),
                         tuple(tuple(part) for part in parts))
