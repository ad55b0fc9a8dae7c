"""What is kept of a run: what was asked for, its figures or why it has none."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.training.config import TrainConfig

# A run is the same run wherever its folder lies and whatever else the machine does.
_FREE_KEYS = ('output', 'device', 'threads')
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
        path, asked = self.path / 'config.json', _flat(config.to_dict())
        if path.is_file():
            # Keys that did not exist when the run was made had their defaults.
            before = {**_flat(TrainConfig().to_dict()), **json.loads(path.read_text())}
            for key, value in asked.items():
                if before[key] != value and key not in _FREE_KEYS:
                    raise ValueError(f'{key}: {self.path} holds a run with {before[key]!r}, now '
                                     f'{value!r} is asked for; choose another --output')
        self.path.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asked, indent=2))

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
        """Write down how an attempt ended, and drop what only an unfinished run needs."""
        row = self._last_row() if code == 0 else {}
        if int(row.get('step', 0)) < steps:
            lines = self.log.read_text(errors='replace').strip().splitlines()[-_LINES:]
            failure = Failure(self.variant, self.seed, code, tuple(lines))
            _write(self.path / 'failure.json', asdict(failure))
            return failure
        network, _ = load_checkpoint(self.training / 'last.safetensors', torch.device('cpu'))
        figures = {key[len('val_'):]: float(value) for key, value in row.items()
                   if key.startswith('val_') and value not in ('', None)}
        result = Result(self.variant, self.seed, figures, weights(network),
                        multiply_adds(network), 60 * float(row.get('minutes') or 'nan'))
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


def weights(network: Trans3DHead) -> float:
    """Return millions of trained numbers."""
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


@torch.inference_mode()
def multiply_adds(network: Trans3DHead) -> float:
    """Return millions of multiply-adds of one crop."""
    size = network.config.input_size
    # Attention is counted as the two products that it is, so as not to depend on a fused kernel.
    kernel = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with kernel, FlopCounterMode(display=False) as counter:
        network.eval().requires_grad_(False)(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() / 2e6


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
