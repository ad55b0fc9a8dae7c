"""The configurations of trainings: frozen dataclasses from YAML and `key=value` overrides."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_pair import read_metadata
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.detector_config import DetectorConfig
from trans3dhead_training.core.augmentation import Augmentation
from trans3dhead_training.data.head_dataset import SamplingConfig
from trans3dhead_training.detection.detection_dataset import DetectionSampling
from trans3dhead_training.losses.criterion import LossWeights, RegionWeights
from trans3dhead_training.losses.detector_criterion import DetectorLossWeights
from trans3dhead_training.optimization.optimizers import OPTIMIZERS

DETECTOR = 'detector'

PRECISIONS = ('auto', 'float32', 'bfloat16_backbone')


@dataclass(frozen=True)
class RunConfig:
    """Configuration that all trainings have in common."""

    output: str = 'runs/train'
    """Folder of the run: checkpoints, tables, curves and the state for `--resume`."""
    seed: int = 0
    """Seed of the initial weights, the batches and their augmentation."""
    device: str = 'auto'
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """Threads of the network; 0: PyTorch's default."""
    minutes: float = 60.0
    """Length of the run. The learning rate is a function of the elapsed share of the run, so the
    schedule is the same on slow and fast machines. 0: no limit."""
    steps: int = 0
    """Length of the run in steps, 0: no limit; the run ends at whichever of minutes and steps comes
    first."""
    batch_size: int = 64
    """Crops in a batch, summed over all processes."""
    learning_rate: float = 1e-3
    """Peak learning rate; a cosine schedule lowers it to 1 % of this."""
    optimizer: str = 'adamw'
    """adamw; or muon, which orthogonalizes the momentum of matrices and of kernels."""
    weight_decay: float = 0.02
    """Weight decay of matrices and convolution kernels; biases and norms are not decayed."""
    warmup_steps: int = 200
    """Steps over which the learning rate rises linearly from 0."""
    max_gradient_norm: float = 5.0
    """Gradients are clipped to this norm."""
    ema_decay: float = 0.998
    """Decay per step of the exponential moving average of the weights, which is validated and
    saved."""
    precision: str = 'auto'
    """float32, or bfloat16_backbone: convolutions in bfloat16, which benefit most from it, while
    weights, losses and the average stay in float32. auto: bfloat16_backbone if the device supports
    bfloat16 natively; elsewhere it would be many times slower."""
    validate_minutes: float = 4.0
    """Minutes between validations, each of which writes a checkpoint."""
    validate_steps: int = 0
    """The same interval in steps, 0: never; whichever comes first."""
    state_minutes: float = 5.0
    """Minutes between saved states from which `--resume` continues; a validation saves one too."""
    state_steps: int = 0
    """The same interval in steps, 0: never; whichever comes first."""
    log_steps: int = 20
    """Steps averaged in each row of losses.csv."""
    loader_threads: int = 1
    """Threads that prepare batches; a fast GPU needs more than one."""
    export: bool = True
    """Write best.onnx, the graph of the best checkpoint, once training is complete."""

    def __post_init__(self) -> None:
        if self.minutes <= 0 and self.steps <= 0:
            raise UserError('minutes, steps: one of them must be more than 0')
        if self.batch_size < 2:
            raise UserError(f'batch_size: expected at least 2, got {self.batch_size}')
        for name in ('log_steps', 'loader_threads'):
            if getattr(self, name) < 1:
                raise UserError(f'{name}: expected at least 1, got {getattr(self, name)}')
        if self.precision not in PRECISIONS:
            raise UserError(f'precision: expected one of {PRECISIONS}, got {self.precision!r}')
        if self.optimizer not in OPTIMIZERS:
            raise UserError(f'optimizer: expected one of {OPTIMIZERS}, got {self.optimizer!r}')

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries of plain values."""
        return asdict(self)


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """
    Configuration of the training of an aligner.

    Example::

        config = load_config(Path('config/train.yaml'), ['minutes=30', 'network.dim=128'])
        Trainer(config).train()
    """

    data: str = 'runs/data'
    """Output folder of `trans3dhead prepare data`."""
    backgrounds: str = ''
    """Folder of panoramas (.hdr) for crops without a head; '' uses appearance/hdri in the data
    folder, or none if that is missing."""
    head_model: str = 'runs/head_model.npz'
    """File of the head model with which the data was prepared."""
    init_checkpoint: str = ''
    """Checkpoint that provides the initial weights; '' starts from random weights."""
    init_backbone_only: bool = False
    """Take only the backbone of init_checkpoint; everything else starts from random weights."""
    keep_score: bool = False
    """Learn the scores that init_checkpoint gives the crops, in place of whether they show a head:
    a fine-tuning on a few heads would make scores more generous, also where there is no head."""
    freeze_batch_norm: bool = False
    """Keep the batch statistics of the backbone fixed, for fine-tuning with small batches."""
    euler_loss: str = 'safe'
    """Loss on Euler angles: none, plain, safe or geodesic (see `euler_loss`)."""
    landmark_loss: str = 'l1'
    """Loss on landmarks: l1; or l1_log, which adds a logarithm, or wing, which both give small
    errors more weight."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Architecture of the network; omitted keys are those of init_checkpoint, unless only its
    backbone is used."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Augmentation of the crops."""
    late_augmentation: Augmentation = field(default_factory=lambda: Augmentation(
        turn_sigma_deg=12.0, wide_turn_share=0.2, shift_sigma=0.045, zoom_sigma=0.08,
        photometric=0.6, automatic_share=0.15))
    """Replaces augmentation towards the end of the run: the last steps, with small learning rates,
    see pictures that are closer to those of real cameras."""
    late_augmentation_from: float = 0.55
    """Share of the run, 0..1, after which late_augmentation applies."""
    loss_weights: LossWeights = field(default_factory=LossWeights)
    """Weight of each term of the loss."""
    region_weights: RegionWeights = field(default_factory=RegionWeights)
    """Weight of each region of the head in the vertex loss."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Composition of the batches."""
    validation_parts: tuple[str, ...] = (
        'photographs', 'profiles', 'turned', 'portraits', 'synthetic')
    """Parts whose held-out heads are validated, if they were prepared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_score and (not self.init_checkpoint or self.init_backbone_only):
            raise UserError('keep_score: there is no score to keep without the whole of '
                            'init_checkpoint')


@dataclass(frozen=True)
class DetectorTrainConfig(RunConfig):
    """
    Configuration of the training of a head detector.

    Example::

        config = read_config(Path('config/train_detector.yaml'))
        Trainer(config).train()
    """

    task: str = DETECTOR
    """What is trained: this key marks a configuration as that of a detector."""
    output: str = 'runs/detector'
    """Folder of the run: checkpoints, tables, curves and the state for `--resume`."""
    batch_size: int = 16
    """Views in a batch, summed over all processes."""
    learning_rate: float = 2e-3
    """Peak learning rate; a cosine schedule lowers it to 1 % of this."""
    data: str = ''
    """Folder with heads/, masks/, rooms/ and faces/, each with its labels; '' uses the data folder.
    heads/ and rooms/ are required unless `open_only`; the others are optional."""
    scenes: str = 'runs/scenes'
    """Output folder of `trans3dhead prepare scenes`; '' trains without synthetic people."""
    open_only: bool = False
    """Use only pictures that are free for any use: the scenes, of which those held out select and
    calibrate the detector, and the portraits of `portrait_fits`."""
    portrait_fits: str = 'runs/portrait_fits.npz'
    """Output of `trans3dhead prepare fits --portraits`, for `open_only`: its faces are pasted into
    scenes without people; '' does without."""
    init_checkpoint: str = ''
    """Detector checkpoint that provides the initial weights; '' starts from random weights."""
    faces_per_source: int = 700
    """Maximum number of faces of each source in faces/ that are kept in memory."""
    validate_every: int = 2
    """Validate only every n-th held-out picture during training."""
    network: DetectorConfig = field(default_factory=DetectorConfig)
    """Architecture of the network."""
    loss_weights: DetectorLossWeights = field(default_factory=DetectorLossWeights)
    """Weight of each term of the loss."""
    sampling: DetectionSampling = field(default_factory=DetectionSampling)
    """Composition of the batches."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task != DETECTOR:
            raise UserError(f'task: expected {DETECTOR!r}, or no such key to train an aligner, '
                            f'got {self.task!r}')
        if self.open_only and not self.scenes:
            raise UserError('open_only: needs scenes')


def read_config(path: Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """
    Read the configuration of a training of whatever kind its key `task` says.

    :param path: YAML file; None: the defaults.
    :param overrides: as for `load_config`.
    :return: a `DetectorTrainConfig` where there is a key `task`, else a `TrainConfig`.
    :raises UserError: as `load_config` does.
    """
    values = _read_values(path, overrides)
    base = DetectorTrainConfig() if 'task' in values else _aligner_defaults(values)
    return _updated(base, values, '')


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> TrainConfig:
    """
    Read a YAML file and apply overrides such as `batch_size=32` or `network.dim=128`.

    :param path: the file; None: the defaults.
    :param overrides: `key=value`, where the value is YAML.
    :return: the configuration.
    :raises UserError: the file is missing, a key is unknown (the nearest known one is named), or a
        value is of another type.
    """
    values = _read_values(path, overrides)
    return _updated(_aligner_defaults(values), values, '')


def _aligner_defaults(values: dict[str, Any]) -> TrainConfig:
    """Return the defaults; the network is that of the checkpoint that gives the first weights."""
    path = values.get('init_checkpoint')
    if not path or values.get('init_backbone_only'):
        return TrainConfig()
    return TrainConfig(network=NetworkConfig.from_dict(read_metadata(str(path))['network']))


def _read_values(path: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise UserError(f'--config: no such file: {path}')
        values = _yaml(path.read_bytes(), str(path)) or {}
        if not isinstance(values, dict):
            raise UserError(f'--config: {path} is not a table of keys')
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
        # YAML reads nothing as null, which no key takes.
        table[last] = _yaml(text, override) if text else ''
    return values


def _yaml(text: str | bytes, name: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (RecursionError, ValueError, yaml.YAMLError) as error:
        raise UserError(f'{name}: is not YAML ({" ".join(str(error).split())[:200]})') from None


def _updated(config: Any, values: dict[str, Any], prefix: str) -> Any:
    known = {entry.name: getattr(config, entry.name) for entry in fields(config)}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = f'{prefix}{key}'
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f'; did you mean {prefix}{near[0]}?' if near else ''
            raise UserError(f'{name}: unknown key{hint}')
        current = known[key]
        if is_dataclass(current):
            if not isinstance(value, dict):
                raise UserError(f'{name}: expected keys below it, got {value!r}')
            changes[key] = _updated(current, value, f'{name}.')
        elif isinstance(current, tuple) and isinstance(value, list):
            changes[key] = tuple(value)
        elif isinstance(current, float) and _is_number(value):
            changes[key] = float(value)
        elif type(value) is type(current):
            changes[key] = value
        else:
            raise UserError(f'{name}: expected {type(current).__name__}, got {value!r}')
    return replace(config, **changes)


def _is_number(value: Any) -> bool:
    """Accept integers, and numbers such as 5e-4, which YAML reads as text."""
    if isinstance(value, str):
        return re.fullmatch(r'[+-]?\d+(\.\d*)?e[+-]?\d+', value) is not None
    return isinstance(value, int) and not isinstance(value, bool)
