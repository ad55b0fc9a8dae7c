"""The training loop: seeded, resumable, with an average of the weights that is what is kept."""

from __future__ import annotations

import copy
import csv
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from trans3dhead_ros.device import resolve_device
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.training.augment import Augmentation
from trans3dhead_ros.training.config import TrainConfig
from trans3dhead_ros.training.data.heads import Heads
from trans3dhead_ros.training.data.manifest import Manifest
from trans3dhead_ros.training.data.mirror import HeadMirror
from trans3dhead_ros.training.data.prefetch import prefetched
from trans3dhead_ros.training.data_root import data_root
from trans3dhead_ros.training.losses import Criterion
from trans3dhead_ros.training.negatives import read_backgrounds
from trans3dhead_ros.training.prepare_head_model import load_head_model
from trans3dhead_ros.training.validate import validate

HEAD_MODEL_SOURCE = 'head basis from ICT-FaceKit (MIT)'
HEADLINE_PARTS = ('photographs', 'portraits', 'synthetic')
"""The validation error of the first of these that may be used chooses the best checkpoint."""


def schedule(progress: float, step: int, warmup_steps: int) -> float:
    """Return the factor on the learning rate: linear warm-up, then a cosine to 1 %."""
    warm = min(1.0, (step + 1) / max(warmup_steps, 1))
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))))


class WeightAverage:
    """An exponential average of a network's weights; batch statistics too."""

    def __init__(self, network: Trans3DHead, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, network: Trans3DHead, step: int) -> None:
        """Take in the weights after a step; early averages forget faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own = self.network.state_dict()
        for name, value in network.state_dict().items():
            if name.startswith('head_model.'):
                continue
            if value.is_floating_point():
                own[name].lerp_(value, 1 - decay)
            else:
                own[name].copy_(value)


class Run:
    """One training run in one folder."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.folder = Path(config.output)
        self.device = resolve_device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        head_model = load_head_model(Path(config.head_model))
        self.manifest = Manifest.load(Path(config.data))
        self._mirror, self._panoramas = HeadMirror.of(head_model), _backgrounds(config.backgrounds)
        self.training = self._heads(head_model, config.heads.shares.parts, False)
        self.validations = {
            part.name: self._heads(head_model, (part.name,), True)
            for part in self.manifest.parts if part.validation}
        usable = {part.name for part in self.manifest.chosen(config.heads.open_only)}
        chosen = [name for name in HEADLINE_PARTS if name in usable & {*self.validations}]
        if not chosen:
            raise ValueError(f'data: {config.data} holds no validation heads that may be used')
        self.headline = chosen[0]
        network = Trans3DHead(config.network, head_model)
        self._origin = _origin(*self.manifest.credit(config.heads.open_only,
                                                     self.training.table.part_names))
        if config.start:
            take = backbone_from if config.start_backbone_only else start_from
            before = take(network, Path(config.start))
            self._origin = {name: f'{value}; the weights it began with: {before[name]}'
                            for name, value in self._origin.items()}
        if not config.start or config.start_backbone_only:
            set_means(network, self.training)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        offsets = torch.tensor(self.manifest.offsets, device=self.device)
        self.criterion = Criterion(self.network.head_model, offsets, config.weights,
                                   config.euler_form, config.landmark_form, config.regions)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{'params': decayed, 'weight_decay': config.weight_decay},
             {'params': others, 'weight_decay': 0.0}], lr=config.learning_rate)
        self.average = WeightAverage(self.network, config.average_decay)
        self.network.bfloat16_backbone = config.bfloat16_backbone
        self.step = 0
        self.minutes = 0.0
        self.best = math.inf

    def _heads(self, model: HeadModel, parts: Sequence[str], validation: bool) -> Heads:
        config = self.config
        # Validation measures against all that is known, whatever the training may use.
        heads = (replace(config.heads, use_fits=True, open_only=False) if validation
                 else config.heads)
        return Heads.read(Path(config.data), model, parts, validation, config.network.input_size,
                          config.network.crop_scale, heads, self._panoramas, self._mirror)

    def progress(self) -> float:
        """Return the share of the run that has passed, 0..1."""
        config = self.config
        by_time = self.minutes / config.minutes if config.minutes > 0 else 0.0
        by_steps = self.step / config.steps if config.steps > 0 else 0.0
        return max(by_time, by_steps)

    def augmentation(self, step: int) -> Augmentation:
        """Return what applies to the batch of a step."""
        config = self.config
        progress = step / config.steps if config.steps > 0 else self.progress()
        return config.augment if progress < config.late_from else config.late_augment

    def train(self) -> dict[str, Any]:
        """Train to the end; return the last validation's figures."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / 'config.json').write_text(json.dumps(self.config.to_dict(), indent=2))
        batches = prefetched(self.training, self.config.batch, self.config.seed, self.step,
                             self.augmentation)
        bar = tqdm(total=100.0, initial=100 * self.progress(), desc='train', disable=None,
                   bar_format='{l_bar}{bar}| {elapsed} {postfix}')
        since_validation, samples = self.minutes, 0
        figures: dict[str, Any] = {}
        try:
            while self.progress() < 1.0:
                started = time.monotonic()
                loss, terms = self._step(next(batches))
                self.minutes += (time.monotonic() - started) / 60
                samples += self.config.batch
                bar.update(100 * min(self.progress(), 1.0) - bar.n)
                bar.set_postfix_str(f'step {self.step} loss {loss:.3f}', refresh=False)
                if (self.minutes - since_validation >= self.config.validate_minutes
                        or self.progress() >= 1.0):
                    rate = samples / max(self.minutes - since_validation, 1e-9) / 60
                    figures = self._checkpoint(loss, terms, rate)
                    since_validation, samples = self.minutes, 0
        except KeyboardInterrupt:
            self.save_state()
            raise
        finally:
            batches.close()
            bar.close()
        return figures

    def _step(self, batch: Any) -> tuple[float, dict[str, float]]:
        config = self.config
        for group in self.optimizer.param_groups:
            group['lr'] = config.learning_rate * schedule(self.progress(), self.step,
                                                          config.warmup_steps)
        self.network.train()
        batch = batch.to(self.device)
        crops = batch.crops.contiguous(memory_format=torch.channels_last)
        loss, terms = self.criterion(self.network.forward_layers(crops), batch)
        if not math.isfinite(float(loss.detach())):
            torch.save(batch, self.folder / 'bad_batch.pt')
            raise ValueError(f'loss: not finite at step {self.step}; the batch is kept as '
                             f'{self.folder / "bad_batch.pt"}')
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_(self.network.parameters(), config.gradient_norm)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.network, self.step)
        return float(loss.detach()), terms

    def _checkpoint(self, loss: float, terms: dict[str, float], rate: float) -> dict[str, Any]:
        figures = validate(self.average.network, self.validations[self.headline], self.device)
        for name, heads in self.validations.items():
            if name != self.headline:
                more = validate(self.average.network, heads, self.device, by_yaw=True)
                figures.update({f'{name}_{key}': value for key, value in more.items()})
        row = {'step': self.step, 'minutes': round(self.minutes, 2), 'images_per_s': round(rate, 1),
               'loss': round(loss, 4), **{k: round(v, 4) for k, v in terms.items()},
               **{f'val_{k}': round(v, 4) for k, v in figures.items()}}
        path = self.folder / 'metrics.csv'
        fresh = not path.exists()
        with path.open('a', newline='') as file:
            writer = csv.DictWriter(file, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        tqdm.write(' '.join(f'{k}={v}' for k, v in row.items()))
        metadata = {**self._origin, 'metrics': {'validation': figures, 'step': self.step}}
        save_checkpoint(self.folder / 'last.safetensors', self.average.network, metadata)
        if figures['inner51_percent'] < self.best:
            self.best = figures['inner51_percent']
            save_checkpoint(self.folder / 'best.safetensors', self.average.network, metadata)
        self.save_state()
        return figures

    def save_state(self) -> None:
        """Write all that `resume` needs, in one step."""
        partial = self.folder / '.state.partial'
        torch.save({
            'network': self.network.state_dict(), 'average': self.average.network.state_dict(),
            'optimizer': self.optimizer.state_dict(), 'step': self.step, 'minutes': self.minutes,
            'best': self.best, 'random': torch.get_rng_state(),
        }, partial)
        partial.replace(self.folder / 'state.pt')

    def resume(self) -> None:
        """
        Continue from the folder's state.

        :raises ValueError: when there is none or it belongs to another network.
        """
        path = self.folder / 'state.pt'
        if not path.is_file():
            raise ValueError(f'--resume: no state in {self.folder}; start without --resume')
        state = torch.load(path, map_location=self.device, weights_only=True)
        try:
            self.network.load_state_dict(state['network'])
        except RuntimeError as error:
            raise ValueError(f'--resume: {path} is of another network: {error}') from None
        self.average.network.load_state_dict(state['average'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.step, self.minutes, self.best = state['step'], state['minutes'], state['best']
        torch.set_rng_state(state['random'].cpu())


def set_means(network: Trans3DHead, heads: Heads, seed: int = 0) -> None:
    """Set the network's references Y_0 to the average over plainly cropped training heads."""
    count = min(len(heads), 1000)
    chosen = np.random.default_rng(seed).choice(len(heads), count, replace=False)
    batch = heads.plain_batch([int(row) for row in chosen])
    mean = network.layout.split(network.mean_parameters)
    known = batch.has_fit > 0
    if known.any():
        mean['translation'].copy_(batch.translation[known].mean(0))
        mean['log_scale'].fill_(float(batch.log_scale[known].mean()))
        mean['expression'].copy_(batch.expression[known].mean(0))
    else:
        # The landmark box of a facing mean head, as wide as a plain crop shows it.
        width = np.ptp(network.head_model.mean[network.head_model.landmark_indices, 1].numpy())
        mean['log_scale'].fill_(float(np.log(2.0 / (network.config.crop_scale * width))))
    labels = batch.points.mean(0)
    network.mean_points.copy_(torch.cat([labels, labels[:JAW_COUNT]]))


def _origin(sources: str, licences: str) -> dict[str, str]:
    """Return what a checkpoint's metadata says of what its tensors were made from."""
    return {'training_data': f'{sources}; {HEAD_MODEL_SOURCE}',
            'licence': f'Apache-2.0 for the tensors; what they were trained on: {licences}'}


def start_from(network: Trans3DHead, path: Path) -> dict[str, Any]:
    """
    Take the weights of a checkpoint of the same network; return its metadata.

    :raises ValueError: it is of another network or another head model.
    """
    other, metadata = load_checkpoint(path, torch.device('cpu'))
    if other.config != network.config:
        raise ValueError(f'start: {path} has another network configuration; give its keys below '
                         'network: or leave start out')
    own, state = network.state_dict(), other.state_dict()
    differing = [name for name, value in state.items()
                 if name.startswith('head_model.') and not (
                     own[name].shape == value.shape
                     and torch.allclose(own[name].float(), value.float(), atol=1e-4))]
    if differing:
        raise ValueError(f'start: the head model of {path} is another one ({differing[0]})')
    # The tensors of the working head model are full precision; a checkpoint rounds them.
    network.load_state_dict({name: own[name] if name.startswith('head_model.') else value
                             for name, value in state.items()})
    return metadata


def backbone_from(network: Trans3DHead, path: Path) -> dict[str, Any]:
    """
    Take only the backbone of a checkpoint, as far as its stages are alike; return its metadata.

    A network of stride 32 may begin with the stages of one of stride 16; what lies behind the
    last common stage stays as it was.

    :raises ValueError: the first stage is already another one.
    """
    other, metadata = load_checkpoint(path, torch.device('cpu'))
    own, state = network.state_dict(), {}
    for name, value in other.backbone.state_dict().items():
        name = f'backbone.{name}'
        if name not in own or own[name].shape != value.shape:
            break
        state[name] = value
    if not state:
        raise ValueError(f'start: the backbone of {path} has other widths than network.widths')
    network.load_state_dict({**own, **state})
    return metadata


def _backgrounds(folder: str) -> list[np.ndarray]:
    """Return the panoramas of a folder; '' is the data folder's, none where there is none."""
    if folder:
        return read_backgrounds(Path(folder))
    try:
        return read_backgrounds(data_root() / 'appearance' / 'hdri')
    except ValueError:
        return []
