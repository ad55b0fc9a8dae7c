"""Refuse outputs that are, hold or link to a source, or that exist already."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from trans3dhead_ros.errors import UserError


def check_outputs(
    outputs: Mapping[str, str | os.PathLike[str] | None], sources: Sequence[str], force: bool,
) -> None:
    """
    Refuse outputs before anything is opened.

    Names are compared without case, too: the file system of a memory card does not tell them apart.

    :param outputs: option → path; None and '-' write no file. A path that names a device or a pipe
        is only compared with the sources.
    :param sources: paths as the user gave them; other sources, as a URL, are left alone.
    :param force: whether what exists may be replaced.
    :raises UserError: for the first output that is a source or another output, holds or links to a
        source, or exists while `force` is False.
    """
    paths = {option: Path(path) for option, path in outputs.items()
             if path is not None and str(path) != '-'}
    existing = [Path(source) for source in sources if os.path.lexists(source)]
    seen: dict[str, str] = {}
    for option, path in paths.items():
        _check_apart(option, path, existing)
        if is_special(path):
            continue
        other = seen.setdefault(_key(path), option)
        if other != option:
            raise UserError(f'{option}: {path} is the file of --{other} too; name another one')
        if option == 'json' and path.is_dir():
            raise UserError(f'json: {path} is a folder; name a file')
        if not force:
            _check_new(option, path)


def is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether a path names a device, a pipe or a socket, which is written in place."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def partial_path(path: str | os.PathLike[str]) -> Path:
    """Return where a file is written until it is complete: `heads.partial.json` beside it."""
    target = Path(os.path.realpath(path))
    return target.with_name(f'{target.stem}.partial{target.suffix}')


def _check_apart(option: str, path: Path, sources: Sequence[Path]) -> None:
    """Refuse a path that is a source or a file in one, or holds a source."""
    parents: set[Path] = set()
    for source in sources:
        if _same(path, source):
            raise UserError(f'{option}: {path} is the source {source} itself, by that or another '
                            'name; choose another place')
        # A folder of pictures is flat.
        inside = source.iterdir() if source.is_dir() and path.is_file() else ()
        if any(_same(path, file) for file in inside):
            raise UserError(f'{option}: {path} is one of the files of the source {source}; choose '
                            'another place')
        if path.is_dir():
            for parent in {*source.absolute().parents, *source.resolve().parents} - parents:
                if _same(path, parent):
                    raise UserError(f'{option}: {path} holds the source {source}; choose another '
                                    'place')
                parents.add(parent)


def _check_new(option: str, path: Path) -> None:
    mend = 'choose another name, or replace it with --force'
    if path.is_dir():
        inside = next(path.iterdir(), None)
        if inside is not None:
            raise UserError(f'{option}: the folder {path} is not empty, it holds {inside.name}; '
                            'choose another one, or replace files of the same names with --force')
    elif os.path.lexists(path):
        raise UserError(f'{option}: {path} exists; {mend}')
    elif os.path.lexists(partial_path(path)):
        raise UserError(f'{option}: {partial_path(path)} was left by a run that did not end; move '
                        'it elsewhere, or replace it with --force')


def _same(one: Path, other: Path) -> bool:
    try:
        if os.path.samefile(one, other):
            return True
    except OSError:
        pass
    # Links are followed above, where they lead to something.
    return one.name.casefold() == other.name.casefold() and _key(one) == _key(other)


def _key(path: Path) -> str:
    """Return a path without links, and without what some file systems do not tell apart."""
    return unicodedata.normalize('NFC', os.path.realpath(path)).casefold()
