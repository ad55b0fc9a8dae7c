"""The configuration of a training: a frozen dataclass from YAML and `key=value` overrides."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_training.core.augmentation import Augmentation
from trans3dhead_training.data.head_batches import HeadsConfig
from trans3dhead_training.engine.precision import check_precision
from trans3dhead_training.losses.criterion import LossWeights, RegionWeights

_RENAMED = {'bfloat16_backbone': 'precision=bfloat16_backbone or precision=none'}


@dataclass(frozen=True)
class TrainConfig:
    """
    All that a run depends on.

    :ivar minutes: the run's length; the learning rate follows the share of it that has passed, so
        a slow machine ends on the same curve as a fast one. :ivar steps: likewise, in steps; the
        earlier of the two ends the run, 0 is "no limit".
    :ivar data: folder that `trans3dhead prepare data` filled.
    :ivar backgrounds: folder of panoramas for crops without a head; '' is that of the data folder,
        or none where there is none.
    :ivar start: checkpoint whose weights the run begins with; '' begins with random ones.
    :ivar start_backbone_only: take only its backbone; the rest begins with random weights.
    :ivar frozen_norms: leave the backbone's batch statistics as they are, as small batches of a
        training that goes on from a trained network may want.
    :ivar precision: one of `precision.PRECISIONS`. :ivar compile: run the network through
        torch.compile, which needs a C++ compiler.
    :ivar late_from: share of the run from which `late_augment` replaces `augment`: the last steps,
        with small learning rates, see pictures more like those that cameras take.
    :ivar validate_minutes: between validations, each of which writes a checkpoint.
        :ivar validate_steps: likewise, in steps, 0 is "never"; whichever comes first.
    :ivar state_minutes: between the states that `--resume` continues from, and which a validation
        writes too. :ivar state_steps: likewise, in steps.
    :ivar log_steps: over how many the losses of losses.csv are averaged.
    :ivar loader_threads: that make batches; a fast GPU eats more than one of them makes.
    """

    data: str = 'runs/data'
    backgrounds: str = ''
    head_model: str = 'runs/head_model.npz'
    start: str = ''
    start_backbone_only: bool = False
    output: str = 'runs/train'
    seed: int = 0
    device: str = 'auto'
    threads: int = 0
    minutes: float = 60.0
    steps: int = 0
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_steps: int = 200
    gradient_norm: float = 5.0
    average_decay: float = 0.998
    frozen_norms: bool = False
    precision: str = 'bfloat16_backbone'
    compile: bool = False
    validate_minutes: float = 4.0
    validate_steps: int = 0
    state_minutes: float = 5.0
    state_steps: int = 0
    log_steps: int = 20
    loader_threads: int = 1
    euler_form: str = 'safe'
    landmark_form: str = 'l1'
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: Augmentation = field(default_factory=Augmentation)
    late_augment: Augmentation = field(default_factory=lambda: Augmentation(
        turn_sigma_deg=12.0, wide_turn_share=0.2, shift_sigma=0.045, zoom_sigma=0.08,
        photometric=0.6, automatic_share=0.15))
    late_from: float = 0.55
    weights: LossWeights = field(default_factory=LossWeights)
    regions: RegionWeights = field(default_factory=RegionWeights)
    heads: HeadsConfig = field(default_factory=HeadsConfig)

    def __post_init__(self) -> None:
        if self.minutes <= 0 and self.steps <= 0:
            raise UserError('minutes, steps: one of them must be more than 0')
        if self.batch < 2:
            raise UserError(f'batch: expected at least 2, got {self.batch}')
        for name in ('log_steps', 'loader_threads'):
            if getattr(self, name) < 1:
                raise UserError(f'{name}: expected at least 1, got {getattr(self, name)}')
        check_precision(self.precision)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values."""
        return asdict(self)


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> TrainConfig:
    """
    Read YAML and apply overrides such as `batch=32` or `network.dim=128`.

    :raises ValueError: for a missing file, an unknown key (the nearest known one is named), a value
        of another type.
    """
    values: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise UserError(f'--config: no file {path}')
        values = yaml.safe_load(path.read_text()) or {}
        if not isinstance(values, dict):
            raise UserError(f'--config: {path} holds no table of keys')
    for override in overrides:
        key, separator, text = override.partition('=')
        if not separator:
            raise UserError(f'{override}: expected key=value')
        *parents, last = key.split('.')
        table = values
        for part in parents:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise UserError(f'{override}: {part} has no keys below it')
        table[last] = yaml.safe_load(text)
    return _updated(TrainConfig(), values, '')


def _updated(config: Any, values: dict[str, Any], prefix: str) -> Any:
    known = {entry.name: getattr(config, entry.name) for entry in fields(config)}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = f'{prefix}{key}'
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f'; did you mean {prefix}{near[0]}?' if near else ''
            if name in _RENAMED:
                hint = f'; it is now {_RENAMED[name]}'
            raise UserError(f'{name}: unknown key{hint}')
        current = known[key]
        if is_dataclass(current):
            if not isinstance(value, dict):
                raise UserError(f'{name}: expected keys below it, got {value!r}')
            changes[key] = _updated(current, value, f'{name}.')
        elif isinstance(current, tuple) and isinstance(value, list):
            changes[key] = tuple(value)
        elif isinstance(current, float) and _stands_for_float(value):
            changes[key] = float(value)
        elif type(value) is type(current):
            changes[key] = value
        else:
            raise UserError(f'{name}: expected {type(current).__name__}, got {value!r}')
    return replace(config, **changes)


def _stands_for_float(value: Any) -> bool:
    """Tell whether this is a whole number, or one such as 5e-4, which YAML takes for a word."""
    if isinstance(value, str):
        return re.fullmatch(r'[+-]?\d+(\.\d*)?e[+-]?\d+', value) is not None
    return isinstance(value, int) and not isinstance(value, bool)
