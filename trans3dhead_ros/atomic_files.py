"""Files that are complete or absent: a reader, or a process that is killed, never leaves a part."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """
    Open a file for writing under a temporary name, and rename it when it is complete.

    :param path: of the file; its folder is created, and an existing file is replaced.
    :yield: the open file; after an exception, it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.partial')
    try:
        with partial.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically, see `replacing`."""
    with replacing(path) as file:
        file.write(data)


def write_json(path: Path, content: Mapping[str, Any], **options: Any) -> None:
    """
    Write a JSON object atomically, see `replacing`.

    :param path: of the file.
    :param content: JSON values by name.
    :param **options: of `json.dumps`.
    """
    text = json.dumps(content, **{'indent': 1, 'ensure_ascii': False, **options})
    write_bytes(path, f'{text}\n'.encode())
