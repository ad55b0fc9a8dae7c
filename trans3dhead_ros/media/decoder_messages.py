"""
What decoders print about a damaged picture, which is the only report of what libjpeg filled in.

A JPEG that lost a part of its data decodes to a picture that is half grey, and OpenCV returns it as
if it were whole.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
# Of decoders; what else is printed meanwhile is printed afterwards.
_PREFIXES = ('Corrupt JPEG data', 'Premature end of JPEG', 'Invalid JPEG', 'Inconsistent progress',
             'Unsupported JPEG', 'Unknown Adobe', 'Warning: unknown JFIF', 'Invalid SOS',
             'Invalid color', 'libpng', 'iCCP', 'TIFF', '[ WARN', '[ERROR', 'Image dims',
             'Bogus', 'Application transferred', 'Caution:', 'imdecode', 'imread', 'libtiff')
# Bytes too many, as padding before the end marker, damage nothing.
_DAMAGE = ('premature end', 'bad Huffman', 'found marker', 'Premature end', 'invalid', 'Invalid',
           'Corrupt JPEG data: bad')


@contextmanager
def decoder_messages() -> Iterator[list[str]]:
    """
    Collect the lines that decoders print to the standard error of the process.

    :yield: a list that holds them once the context is left.
    """
    lines: list[str] = []
    with _LOCK, tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # a process without standard error
            yield lines
            return
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file.read().decode(errors='replace').splitlines():
                if line.strip().startswith(_PREFIXES):
                    lines.append(line.strip())
                else:
                    print(line, file=sys.stderr)


def damage(lines: list[str]) -> str | None:
    """Return the first line that tells of a picture that is not whole; None where none does."""
    return next((line for line in lines if any(word in line for word in _DAMAGE)), None)
