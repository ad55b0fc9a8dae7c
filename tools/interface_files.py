"""Reads .msg and .srv files for their documentation: each field with the comment above it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trans3dhead_ros.errors import UserError


@dataclass(frozen=True)
class Field:
    """One field of a message."""

    type: str
    name: str
    #: The comment above it, as one line.
    comment: str


@dataclass(frozen=True)
class InterfaceFile:
    """A message, or a service with the fields of its request and of its response."""

    #: Such as `msg/HeadArray`.
    name: str
    #: The comment at the top, one entry a paragraph.
    about: tuple[str, ...]
    #: One entry of a message, two of a service.
    parts: tuple[tuple[Field, ...], ...]


def read_interface_file(path: Path) -> InterfaceFile:
    """
    Read a file that has the comment of each field above it.

    :raises ValueError: for a field without a comment.
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
            # A comment with nothing right below it is about the whole.
            about += [' '.join(text.split('\n')) for text in '\n'.join(comment).split('\n\n')]
            comment = []
    return InterfaceFile(f'{path.suffix[1:]}/{path.stem}', tuple(about),
                         tuple(tuple(part) for part in parts))
