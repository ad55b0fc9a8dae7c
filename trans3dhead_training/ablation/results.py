"""What is kept of a run: what was asked for, its figures or why it has none."""

from __future__ import annotations

import csv
import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.cost import multiply_adds, weight_count
from trans3dhead_training.data.manifest import NAME as MANIFEST
from trans3dhead_training.engine.config import TrainConfig

# A run is the same run wherever its files lie, whatever else the machine does and how much of it
# is written down.
_FREE_KEYS = ('output', 'device', 'threads', 'loader_threads', 'log_steps', 'state_minutes',
              'state_steps')
# Paths that stand for what lies there: key -> the file of it to compare.
_BY_CONTENT = {'init_checkpoint': '', 'head_model': '', 'data': MANIFEST}
_LINES = 6


@dataclass(frozen=True)
class Result:
    """
    A finished run.

    :ivar figures: the last validation, by the names of `validate`. :ivar weights: millions, the
        head model left out. :ivar multiply_adds: millions, of one crop. :ivar seconds: of training
        steps, without start and validation.
    """

    variant: str
    seed: int
    figures: dict[str, float]
    weights: float
    multiply_adds: float
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A run that ended without figures, and the last lines that it wrote."""

    variant: str
    seed: int
    code: int
    lines: tuple[str, ...]

    @property
    def reason(self) -> str:
        """What can be said in one line."""
        return self.lines[-1] if self.lines else f'exit code {self.code}'


@dataclass(frozen=True)
class RunFolder:
    """Where one run lies: `config.json`, `log.txt`, the training's own folder, the outcome."""

    path: Path
    variant: str
    seed: int

    @classmethod
    def of(cls, root: Path, variant: str, seed: int) -> RunFolder:
        """Return the place of a run below the study's folder."""
        return cls(root / variant / f'seed{seed}', variant, seed)

    @property
    def training(self) -> Path:
        """The folder that `trans3dhead train` fills."""
        return self.path / 'train'

    @property
    def log(self) -> Path:
        """What the run wrote."""
        return self.path / 'log.txt'

    def claim(self, config: TrainConfig) -> None:
        """
        Write down what is asked for.

        :raises ValueError: the folder holds a run of another configuration; the key is named.
        """
        keys = _flat(config.to_dict())
        asked = {**keys, **{_hashed(key): _sha256(key, keys[key]) for key in _BY_CONTENT}}
        before = self.asked()
        if before:
            # Keys that did not exist when the run was made had their defaults.
            before = {**_flat(TrainConfig().to_dict()), **before}
            for key, value in keys.items():
                if key not in _FREE_KEYS and _differs(key, before, asked):
                    moved = f'{value!r} of other content' if before[key] == value else repr(value)
                    raise UserError(f'{key}: {self.path} holds a run with {before[key]!r}, now '
                                     f'{moved} is asked for; choose another --output')
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.path / 'config.json', asked)

    def asked(self) -> dict[str, Any]:
        """Return the keys that the run was claimed for; none if it never was."""
        path = self.path / 'config.json'
        return json.loads(path.read_text()) if path.is_file() else {}

    def result(self) -> Result | None:
        """Return the outcome of a finished run."""
        path = self.path / 'result.json'
        return Result(**json.loads(path.read_text())) if path.is_file() else None

    def failure(self) -> Failure | None:
        """Return why the last attempt failed."""
        path = self.path / 'failure.json'
        if not path.is_file():
            return None
        values = json.loads(path.read_text())
        return Failure(**{**values, 'lines': tuple(values['lines'])})

    def unfinished(self) -> bool:
        """Tell whether there is a state to continue from."""
        return (self.training / 'state.pt').is_file()

    def keep(self, code: int, steps: int) -> Result | Failure:
        """
        Write down how an attempt ended, and drop what only an unfinished run needs.

        Whatever is wrong with the run's files is a failure of this run and raises nothing.
        """
        try:
            row = self._last_row() if code == 0 else {}
            if int(row.get('step', 0)) < steps:
                lines = self.log.read_text(errors='replace').strip().splitlines()[-_LINES:]
                return self.fail(code, lines)
            return self._finish(row)
        except Exception as error:
            return self.fail(code, [f'{type(error).__name__}: {error}'])

    def fail(self, code: int, lines: list[str]) -> Failure:
        """Write down that an attempt failed, where that can still be written."""
        failure = Failure(self.variant, self.seed, code, tuple(lines))
        with suppress(OSError):
            _write(self.path / 'failure.json', asdict(failure))
        return failure

    def _finish(self, row: dict[str, str]) -> Result:
        network, _ = load_checkpoint(self.training / 'last.safetensors', torch.device('cpu'))
        size = network.config.input_size
        figures = {key[len('val_'):]: float(value) for key, value in row.items()
                   if key.startswith('val_') and value not in ('', None)}
        result = Result(self.variant, self.seed, figures, weight_count(network) / 1e6,
                        multiply_adds(network, torch.zeros(1, 3, size, size)) / 1e6,
                        60 * float(row.get('minutes') or 'nan'))
        _write(self.path / 'result.json', asdict(result))
        for name in ('failure.json', 'train/state.pt', 'train/best.safetensors'):
            (self.path / name).unlink(missing_ok=True)
        return result

    def _last_row(self) -> dict[str, str]:
        path = self.training / 'metrics.csv'
        if not path.is_file():
            return {}
        with path.open(newline='') as file:
            rows = list(csv.DictReader(file))
        return rows[-1] if rows else {}


def _write(path: Path, values: dict[str, Any]) -> None:
    partial = path.with_suffix('.partial')
    partial.write_text(json.dumps(values, indent=2))
    partial.replace(path)


def _flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return `{'network.dim': 96, …}`, with lists for tuples as JSON has them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = list(value) if isinstance(value, tuple) else value
    return flat


def _differs(key: str, before: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Tell whether a key asks for something else; what paths lead to counts where it is known."""
    if key in _BY_CONTENT:
        old, new = before.get(_hashed(key)), asked[_hashed(key)]
        if not old and before[key] != asked[key]:
            # A run that was claimed before contents were written down.
            old = _sha256(key, before[key])
        if old and new:
            return old != new
    return before[key] != asked[key]


def _hashed(key: str) -> str:
    return f'{key}.sha256'


def _sha256(key: str, path: str) -> str | None:
    """Return the hash of what a path key leads to; None where there is nothing."""
    file = Path(path) / _BY_CONTENT[key]
    return hashlib.sha256(file.read_bytes()).hexdigest() if path and file.is_file() else None
