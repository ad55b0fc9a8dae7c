"""
What a training leaves behind.

    config.yaml, config.json   what it was asked for; `--config` takes the first
    sittings.json              every start: command, git revision, versions, machine
    metrics.csv                a row per validation
    losses.csv                 a row every `log_steps`, means over them
    events.out.tfevents.*      both again, for TensorBoard
    curves.png, samples.png    drawn at every validation
    last.safetensors, best.safetensors
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

from trans3dhead_training.engine.config import TrainConfig
from trans3dhead_training.engine.csv_log import CsvLog


class TrainingFolder:
    """
    Files of one training; written by its first process alone.

    :ivar metrics, losses: the tables.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = CsvLog(path / 'metrics.csv')
        self.losses = CsvLog(path / 'losses.csv')
        self._events: Any = None

    @property
    def state(self) -> Path:
        """What `--resume` continues from."""
        return self.path / 'state.pt'

    def start(self, config: TrainConfig, step: int, facts: Mapping[str, Any]) -> None:
        """
        Begin the folder, or continue it behind a step; forget what lies beyond that step.

        :param facts: of this sitting, beside those known here.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        values = json.loads(json.dumps(config.to_dict()))
        path = self.path / 'sittings.json'
        before = json.loads(path.read_text()) if step and path.is_file() else []
        sittings = [*before, {'step': step, **sitting(), **facts}]
        for name, text in (('config.json', json.dumps(values, indent=2)),
                           ('config.yaml', yaml.safe_dump(values, sort_keys=False)),
                           (path.name, json.dumps(sittings, indent=1))):
            partial = self.path / f'.{name}.partial'
            partial.write_text(text)
            partial.replace(self.path / name)
        for log in (self.metrics, self.losses):
            log.start(step)
        if not step:
            (self.path / 'best.safetensors').unlink(missing_ok=True)
        self._events = _events(self.path, step)

    def log(self, table: CsvLog, row: Mapping[str, Any]) -> None:
        """Add a row to one of the tables, and to TensorBoard's."""
        table.append(row)
        if self._events is not None:
            for name, value in row.items():
                if name != 'step':
                    group, key = (('validation', name[4:]) if name.startswith('val_')
                                  else (table.path.stem, name))
                    self._events.add_scalar(f'{group}/{key}', value, row['step'])
            self._events.flush()

    def close(self) -> None:
        """Let go of the files."""
        if self._events is not None:
            self._events.close()


def sitting() -> dict[str, Any]:
    """Return what made the results of this process: command, code, versions, time."""
    return {'started': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'command': sys.argv, 'revision': revision(), 'python': platform.python_version(),
            'torch': torch.__version__, 'numpy': np.__version__, 'platform': platform.platform()}


def revision(file: Path = Path(__file__)) -> str:
    """Return the git revision of this code, '+' behind it if changed since; else 'unknown'."""
    here = file.resolve()

    def git(*words: str) -> str:
        return subprocess.run(['git', '-C', str(here.parent), *words], check=True, text=True,
                              capture_output=True).stdout.strip()

    try:
        # An installed copy may lie in somebody else's repository.
        git('ls-files', '--error-unmatch', here.name)
        return git('rev-parse', 'HEAD') + (
            '+' if git('status', '--porcelain', '--untracked-files=no') else '')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def _events(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print('train: no TensorBoard events, for the Python package tensorboard is missing',
              file=sys.stderr)
        return None
    if not step:
        for path in folder.glob('events.out.tfevents.*'):
            path.unlink()
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
