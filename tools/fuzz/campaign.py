"""Read many mutated files, and say what was neither read nor refused in one line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tools.fuzz.mutations import mutated
from tools.fuzz.readers import READERS
from trans3dhead_ros.errors import UserError

MEMORY_BYTES = 6 * 2 ** 30
"""Address space of a process that reads; more is a defect."""
_TIMEOUT = 60.0  # s for one file


@dataclass
class Findings:
    """What became of the files."""

    read: int = 0
    refused: int = 0
    defects: list[str] = field(default_factory=list)
    """One text each: the number of the file, and its traceback or the signal."""


class Fuzzer:
    """
    Reads mutated files in this process; use it as a context manager.

    :param reader: one of `READERS`.
    :param kept: folder for the files that are defects; None keeps none.

    Example::

        with Fuzzer('pictures') as fuzzer:
            print(fuzzer.read(17))
    """

    def __init__(self, reader: str, kept: Path | None = None) -> None:
        self._name, self._reader, self._kept = reader, READERS[reader], kept
        self._folder = tempfile.TemporaryDirectory(dir=_memory_folder())
        self._seeds = list(self._reader.seeds(Path(self._folder.name)))

    def read(self, number: int) -> str:
        """
        Read one mutated file.

        :param number: of the file; a number always gives the same file.
        :return: 'read', 'refused', or the traceback of a defect.
        """
        name, data = self._seeds[number % len(self._seeds)]
        data = mutated(data, np.random.default_rng([number]))
        path = Path(self._folder.name) / name
        path.write_bytes(data)
        try:
            self._reader.read(path)
        except UserError as error:
            if '\n' not in str(error):
                return 'refused'
            outcome = f'a message of several lines: {error}'
        except Exception:
            outcome = traceback.format_exc()
        else:
            return 'read'
        if self._kept is not None:
            self._kept.mkdir(parents=True, exist_ok=True)
            (self._kept / f'{self._name}_{number}_{name}').write_bytes(data)
        return outcome

    def __enter__(self) -> Fuzzer:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def fuzz_apart(reader: str, count: int, first: int, kept: Path | None) -> Findings:
    """
    Read mutated files in processes that may crash or hang.

    :param reader: one of `READERS`.
    :param count: number of files.
    :param first: number of the first one.
    :param kept: folder for the files that are defects.
    :return: what became of them.
    """
    findings, number, end = Findings(), first, first + count
    while number < end:
        words = [reader, str(number), str(end), str(kept or '')]
        with subprocess.Popen([sys.executable, '-m', 'tools.fuzz.campaign', *words],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              preexec_fn=_bound) as process:
            for line in process.stdout:
                number, outcome = json.loads(line)
                number += 1
                if outcome == 'read':
                    findings.read += 1
                elif outcome == 'refused':
                    findings.refused += 1
                else:
                    findings.defects.append(f'{number - 1}: {outcome}')
        if number < end:
            findings.defects.append(f'{number}: the process ended with code {process.returncode}')
            number += 1
    return findings


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _memory_folder() -> str | None:
    return '/dev/shm' if os.access('/dev/shm', os.W_OK) else None


def _child(reader: str, first: int, end: int, kept: str) -> None:
    import faulthandler
    output = os.fdopen(os.dup(1), 'w')
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    with Fuzzer(reader, Path(kept) if kept else None) as fuzzer:
        for number in range(first, end):
            faulthandler.dump_traceback_later(_TIMEOUT, exit=True)
            print(json.dumps([number, fuzzer.read(number)]), file=output, flush=True)
    faulthandler.cancel_dump_traceback_later()


if __name__ == '__main__':
    _child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
