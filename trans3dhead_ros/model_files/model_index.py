"""
The index of a folder of models: what it holds, and which of it each node has used.

`models.json` lies in the folder. It is replaced in one step, and changed only by who holds the lock
beside it, so that nodes and tools that share the folder do not disturb each other. Each node has a
history of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trans3dhead_ros.atomic_files import write_json
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.gate_verdict import read_verdict, verdict_path
from trans3dhead_ros.model_files.model_pair import CHECKPOINT_SUFFIX, GRAPH_SUFFIX, open_model

INDEX, LOCK = 'models.json', '.models.lock'
FORMAT, VERSION = 'trans3dhead models', 1
MAX_HISTORY = 20
"""Models that a history remembers."""

_MAX_BYTES = 4 * 2 ** 20
_MAX_TEXT = 1000
_LOCK_TIMEOUT = 2.0  # s


@dataclass(frozen=True)
class UsedModel:
    """A model that a node has used."""

    path: str
    """As ~/load_model takes it: 'default', 'open', or a path, relative to the folder."""
    sha256: str
    """Of its weights."""
    forced: bool = False
    """Loaded by force, whatever its gate says."""


class ModelIndex:
    """
    The index of one folder.

    :param folder: of the models.

    Example::

        index = ModelIndex(Path('/srv/models'))
        for name, entry in index.refresh().items():
            print(name, entry['sha256'], entry['gate'])
        index.remember('/head_tracker', [UsedModel('candidate.onnx', entry['sha256'])])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def models(self) -> dict[str, dict[str, Any]]:
        """
        Return the entries by name, as they stand in the index.

        :return: JSON values of each model: `file`, `sha256`, `parent` (the sha256 of the weights
            that it was trained from, or None), `data` (an update's, or all that it was trained on),
            `licence`, `figures` and `gate` (`passed`, `against` and `reasons`, or None where it was
            not judged).
        :raises UserError: the index is damaged.
        """
        return dict(self._read()['models'])

    def refresh(self) -> dict[str, dict[str, Any]]:
        """
        Bring the entries up to date with the files of the folder, and return them.

        :return: as `models`; files that are not models are skipped.
        :raises UserError: the index is damaged or cannot be written.
        """
        with self._changing() as content:
            before = content['models']
            content['models'] = dict(self._scan(before))
            return dict(content['models'])

    def history(self, node: str) -> list[UsedModel]:
        """
        Return the models that a node has used.

        :param node: its full name.
        :return: the model in use last.
        :raises UserError: the index is damaged.
        """
        try:
            return [UsedModel(str(used['path']), str(used['sha256']), used.get('forced') is True)
                    for used in self._read()['history'].get(node, [])]
        except (AttributeError, TypeError, KeyError) as error:
            raise self._damaged(error) from None

    def remember(self, node: str, history: Sequence[UsedModel]) -> None:
        """
        Replace the history of a node.

        :param node: its full name.
        :param history: the models, that in use last; the oldest of many are forgotten.
        :raises UserError: the index is damaged or cannot be written.
        """
        with self._changing() as content:
            content['history'][node] = [asdict(used) for used in history[-MAX_HISTORY:]]

    def _scan(self, before: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and entry of every model; what has not changed is not read again."""
        names = sorted({path.stem for path in self.folder.iterdir()
                        if path.suffix in (GRAPH_SUFFIX, CHECKPOINT_SUFFIX)})
        for name in names:
            files = [self.folder / f'{name}{suffix}' for suffix in (GRAPH_SUFFIX, CHECKPOINT_SUFFIX)
                     if (self.folder / f'{name}{suffix}').is_file()]
            if not files or any(file.resolve().parent != self.folder.resolve() for file in files):
                continue
            stamp = _stamp([*files, verdict_path(files[0])])
            known = before.get(name)
            if isinstance(known, dict) and known.get('stamp') == stamp:
                yield name, known
                continue
            try:
                yield name, {**_entry(files[0]), 'stamp': stamp}
            except (UserError, OSError):
                continue

    def _read(self) -> dict[str, Any]:
        path = self.folder / INDEX
        try:
            if not path.is_file():
                return {'format': FORMAT, 'version': VERSION, 'models': {}, 'history': {}}
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError(f'it has more than {_MAX_BYTES} bytes')
            content = json.loads(path.read_text(encoding='utf-8'))
            if (content['format'], content['version']) != (FORMAT, VERSION):
                raise ValueError(f'its format is {content["format"]!r} {content["version"]!r}')
            if not all(isinstance(content[name], dict) for name in ('models', 'history')):
                raise ValueError('models or history is not an object')
        except (OSError, KeyError, TypeError, RecursionError, ValueError) as error:
            raise self._damaged(error) from None
        return content

    def _damaged(self, error: Exception) -> UserError:
        return UserError(f'{self.folder / INDEX}: not an index of models ({error}); remove it, and '
                         'it is made again without the history')

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """Yield the content while nobody else changes it, and write it at the end."""
        path = self.folder / INDEX
        try:
            with _locked(self.folder / LOCK):
                content = self._read()
                before = json.dumps(content)
                yield content
                if json.dumps(content) == before and path.is_file():
                    return
                write_json(path, content)
        except OSError as error:
            raise UserError(f'{path}: cannot be written ({error.strerror or error})') from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """
    Hold a lock that others on this machine, and on most shared file systems, respect.

    It is not fair: a process that takes it again and again may get it many times before one that
    waits does. So the timeout is for one holder, not for all together: whoever gets the lock sets
    the modification time of its file.
    """
    with path.open('a') as file:
        taken, end = None, 0.0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if taken != (taken := os.fstat(file.fileno()).st_mtime_ns):
                    end = time.monotonic() + _LOCK_TIMEOUT
                elif time.monotonic() > end:
                    raise UserError(f'{path}: held by another process for more than '
                                    f'{_LOCK_TIMEOUT:g} s') from None
                time.sleep(0.01)
        os.utime(file.fileno())
        yield


def _entry(path: Path) -> dict[str, Any]:
    """Describe a model by its files."""
    metadata = open_model(path).metadata
    verdict = read_verdict(path, metadata['sha256'])
    parent = metadata.get('parent')
    figures = metadata['metrics']
    return {
        'file': path.name, 'sha256': metadata['sha256'],
        'parent': parent[:_MAX_TEXT] if isinstance(parent, str) else None,
        'data': str(metadata.get('data') or metadata['training_data'])[:_MAX_TEXT],
        'licence': str(metadata['licence'])[:_MAX_TEXT],
        'figures': figures if len(json.dumps(figures)) <= _MAX_TEXT * 10 else None,
        'gate': None if verdict is None else {
            'passed': verdict.passed, 'against': verdict.current_sha256,
            'reasons': [reason[:_MAX_TEXT] for reason in verdict.reasons]}}


def _stamp(files: Sequence[Path]) -> list[list[Any]]:
    """Return names, sizes and times of change of the files that exist."""
    found = []
    for file in files:
        if file.is_file():
            state = file.stat()
            found.append([file.name, state.st_size, state.st_mtime_ns])
    return found
