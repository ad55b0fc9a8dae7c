"""
The answers of a run that is not finished, so that a run that was interrupted goes on.

A folder beside the output holds two files: `answers`, to which every message is appended, and
`state.json`, which is replaced as a whole at each checkpoint: what the run is, how many bytes of
`answers` are good, and what the run has to remember. What was written after the last checkpoint is
cut off and made again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from trans3dhead_ros.errors import UserError

_HEAD = struct.Struct('<HIqQ')


class Answer(NamedTuple):
    """One message of the tracker."""

    topic: str
    #: ns, when the image was recorded.
    stamp: int
    #: Number of the image, from 0.
    image: int
    #: Serialised.
    data: bytes


class Journal:
    """
    A run's folder; use it as a context manager, or `close` it.

    :param plan: JSON values that say what the run is; another run must not go on in its place.
    :param topics: of the answers, in an order that belongs to the plan.
    :param anew: forget what another run has left.
    :ivar folder: as it was given.
    :ivar state: of the last checkpoint; None at the beginning of a run.
    :raises ValueError: when another run has left something, or is at work.
    """

    def __init__(
        self, folder: Path, plan: Mapping[str, Any], topics: Sequence[str], anew: bool = False,
    ) -> None:
        self.folder = folder
        self._plan = {**plan, 'topics': list(topics)}
        self._topics = list(topics)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise UserError(f'output: another run is writing {folder}') from None
        try:
            self.state, size = self._left(anew)
        except ValueError:
            os.close(self._lock)
            raise
        self._file = (folder / 'answers').open('r+b' if size else 'wb')
        self._file.truncate(size)
        self._file.seek(size)
        self.checkpoint(self.state)

    def append(self, answer: Answer) -> None:
        """Write an answer; it counts from the next checkpoint on."""
        self._file.write(_HEAD.pack(self._topics.index(answer.topic), answer.image, answer.stamp,
                                    len(answer.data)))
        self._file.write(answer.data)

    def checkpoint(self, state: dict[str, Any] | None) -> None:
        """From here on a run can go on, with this state."""
        self._file.flush()
        os.fsync(self._file.fileno())
        text = json.dumps({'plan': self._plan, 'size': self._file.tell(), 'state': state})
        target, new = self.folder / 'state.json', self.folder / 'state.json.new'
        with new.open('w') as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
        os.fsync(self._lock)

    def answers(self) -> Iterator[Answer]:
        """Yield everything that was appended."""
        self._file.flush()
        with (self.folder / 'answers').open('rb') as file:
            while head := file.read(_HEAD.size):
                topic, image, stamp, size = _HEAD.unpack(head)
                yield Answer(self._topics[topic], stamp, image, file.read(size))

    def close(self) -> None:
        """Leave everything for the next run."""
        try:
            self._file.close()
        finally:
            os.close(self._lock)

    def remove(self) -> None:
        """The run is finished: its folder goes."""
        shutil.rmtree(self.folder)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _left(self, anew: bool) -> tuple[dict[str, Any] | None, int]:
        """Return the state of the last checkpoint and the bytes that were good then."""
        path = self.folder / 'state.json'
        if not path.exists():
            return None, 0
        left = json.loads(path.read_text())
        # As it comes back from JSON.
        plan = json.loads(json.dumps(self._plan))
        if left['plan'] == plan:
            return left['state'], left['size']
        if anew:
            return None, 0
        names = sorted(name for name in {*plan, *left['plan']}
                       if plan.get(name) != left['plan'].get(name))
        raise UserError(f'output: {self.folder} was left by a run with another '
                         f'{" and ".join(names)}; repeat that command, or begin anew with --force')
