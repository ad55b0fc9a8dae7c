"""
The folder of a training.

    config.yaml, config.json   the configuration; `--config` takes the first
    sessions.json              every start: command, git revision, versions, machine
    metrics.csv                a row for each validation
    losses.csv                 a row every `log_steps`, means over them
    events.out.tfevents.*      both tables for TensorBoard
    curves.png, samples.png    drawn at every validation
    last.safetensors, best.safetensors
    best.onnx                  its graph, once the training is complete
    state.pt                   what `--resume` continues from
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from trans3dhead_training.engine.config import RunConfig
from trans3dhead_training.engine.csv_log import CsvLog


class RunFolder:
    """
    Files of one training; only its first process writes them.

    :param path: the folder.
    """

    metrics: CsvLog
    """Table of the validations."""
    losses: CsvLog
    """Table of the training losses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = CsvLog(path / 'metrics.csv')
        self.losses = CsvLog(path / 'losses.csv')
        self._events: Any = None

    @property
    def state(self) -> Path:
        """The file that `--resume` continues from."""
        return self.path / 'state.pt'

    def start(self, config: RunConfig, step: int, facts: Mapping[str, Any]) -> None:
        """
        Start the folder, or continue it behind a step and drop the rows beyond that step.

        :param config: of the training.
        :param step: from which the training continues; 0 starts from the beginning.
        :param facts: to record about this session, beside those known here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        values = json.loads(json.dumps(config.to_dict()))
        path = self.path / 'sessions.json'
        before = json.loads(path.read_text()) if step and path.is_file() else []
        sessions = [*before, {'step': step, **_session(), **facts}]
        for name, text in (('config.json', json.dumps(values, indent=2)),
                           ('config.yaml', yaml.safe_dump(values, sort_keys=False)),
                           (path.name, json.dumps(sessions, indent=1))):
            partial = self.path / f'.{name}.partial'
            partial.write_text(text)
            partial.replace(self.path / name)
        for log in (self.metrics, self.losses):
            log.start(step)
        if not step:
            for name in ('best.safetensors', 'best.onnx', 'last.onnx'):
                (self.path / name).unlink(missing_ok=True)
        self._events = _events(self.path, step)

    def log(self, table: CsvLog, row: Mapping[str, Any]) -> None:
        """
        Add a row to a table and to the events of TensorBoard.

        :param table: `metrics` or `losses`.
        :param row: values by column.
        """
        table.append(row)
        if self._events is not None:
            for name, value in row.items():
                if name != 'step':
                    group, key = (('validation', name[4:]) if name.startswith('val_')
                                  else (table.path.stem, name))
                    self._events.add_scalar(f'{group}/{key}', value, row['step'])
            self._events.flush()

    def close(self) -> None:
        """Close the files."""
        if self._events is not None:
            self._events.close()


def _session() -> dict[str, Any]:
    """Return what reproduces the results of this process: command, code, versions, time."""
    return {'started': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'command': sys.argv, 'revision': git_revision(), 'python': platform.python_version(),
            'torch': torch.__version__, 'numpy': np.__version__, 'platform': platform.platform()}


def git_revision(file: Path = Path(__file__)) -> str:
    """
    Return the git revision of this code.

    :param file: a file of the code.
    :return: the hash, followed by '+' where files have changed since; 'unknown' outside a
        repository.
    """
    here = file.resolve()

    def git(*words: str) -> str:
        return subprocess.run(['git', '-C', str(here.parent), *words], check=True, text=True,
                              capture_output=True).stdout.strip()

    try:
        # An installed copy may lie inside another repository.
        git('ls-files', '--error-unmatch', here.name)
        return git('rev-parse', 'HEAD') + (
            '+' if git('status', '--porcelain', '--untracked-files=no') else '')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def _events(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print('train: the Python package tensorboard is missing; writing no TensorBoard events',
              file=sys.stderr)
        return None
    if not step:
        for path in folder.glob('events.out.tfevents.*'):
            path.unlink()
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
