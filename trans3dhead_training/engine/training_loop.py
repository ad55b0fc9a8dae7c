"""The training loop: seeded, resumable to the bit, alone or shared by several processes."""

from __future__ import annotations

import math
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import read_metadata, save_checkpoint
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.core.augmentation import Augmentation
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.data.prefetch import prefetched
from trans3dhead_training.engine.config import TrainConfig
from trans3dhead_training.engine.distributed import World
from trans3dhead_training.engine.initialization import backbone_from, set_means, start_from
from trans3dhead_training.engine.precision import Precision
from trans3dhead_training.engine.run_data import RunData
from trans3dhead_training.engine.run_folder import TrainingFolder, revision
from trans3dhead_training.engine.running_mean import Meter
from trans3dhead_training.engine.stop_signals import StopSignals
from trans3dhead_training.engine.training_figures import write_curves, write_samples
from trans3dhead_training.engine.validation import validate
from trans3dhead_training.engine.weight_average import WeightAverage
from trans3dhead_training.fitting.head_basis import load_head_model
from trans3dhead_training.losses.criterion import Criterion

HEADLINE = 'inner51_percent'
"""The validation error of which the best checkpoint has the least."""


def schedule(progress: float, step: int, warmup_steps: int) -> float:
    """Return the factor on the learning rate: linear warm-up, then a cosine to 1 %."""
    warm = min(1.0, (step + 1) / max(warmup_steps, 1))
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0))))


class Run:
    """
    One training run in one folder.

    :param world: the processes that share it; None: those that `torchrun` started, else this one.
    :ivar stopped_by: number of the signal that ended the run before its time, or 0.
    """

    def __init__(self, config: TrainConfig, world: World | None = None) -> None:
        self.config = config
        self.world = world or World.join(config.device)
        self.device = self.world.device
        if config.batch % self.world.size:
            raise UserError(f'batch: {config.batch} cannot be shared evenly by '
                             f'{self.world.size} processes')
        self.folder = TrainingFolder(Path(config.output))
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        head_model = load_head_model(Path(config.head_model))
        self.data = RunData.read(config, head_model)
        self._origin = dict(self.data.credit)
        self.network = self._begin(Trans3DHead(config.network, head_model)).to(
            self.device, memory_format=torch.channels_last)
        self.world.share_weights(self.network)
        offsets = torch.tensor(self.data.manifest.offsets, device=self.device)
        self.criterion = Criterion(
            self.network.head_model, offsets, config.weights, config.euler_form,
            config.landmark_form, config.regions, shared_counts=self.world.mean)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{'params': decayed, 'weight_decay': config.weight_decay},
             {'params': others, 'weight_decay': 0.0}], lr=config.learning_rate, fused=True)
        self.average = WeightAverage(self.network, config.average_decay)
        self.precision = Precision(config.precision, self.network, self.device, config.compile)
        self.step, self.minutes = 0, 0.0
        self.stopped_by = 0
        # A signal may come when a validation is due; whoever resumes makes it first.
        self._owes_validation = False
        self._meters = {'losses': Meter(), 'metrics': Meter()}

    def _begin(self, network: Trans3DHead) -> Trans3DHead:
        config = self.config
        if config.start:
            take = backbone_from if config.start_backbone_only else start_from
            before = take(network, Path(config.start))
            self._origin = {name: f'{value}; the weights it began with: {before[name]}'
                            for name, value in self._origin.items()}
        if not config.start or config.start_backbone_only:
            set_means(network, self.data.training)
        return network

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

    def train(self, sitting_minutes: float = math.inf) -> dict[str, Any]:
        """
        Train to the end, to a signal or for so many minutes; the rest can be resumed.

        :return: the last validation's figures; none before the first.
        """
        config, world = self.config, self.world
        if world.is_first:
            self.folder.start(config, self.step, {
                'device': str(self.device), 'threads': torch.get_num_threads(),
                'processes': world.size})
        batches = prefetched(self.data.training, config.batch, config.seed, self.step,
                             self.augmentation, (world.rank, world.size), config.loader_threads)
        bar = tqdm(total=100.0, initial=100 * self.progress(), desc='train',
                   postfix={'step': self.step}, disable=None if world.is_first else True,
                   bar_format='{l_bar}{bar}| {elapsed}<{remaining}{postfix}')
        begun, figures, ended = time.monotonic(), {}, self.progress() >= 1.0
        validated = saved = self.minutes
        with closing(self.folder), closing(batches), bar, StopSignals() as signals:
            if self._owes_validation and world.is_first:
                figures = self._validate()
            while not ended:
                started = time.monotonic()
                values = self.learn(next(batches))
                now = time.monotonic()
                values['seconds'] = now - started
                # The first process's clock and everybody's signals, so that all do the same.
                self.minutes, self.stopped_by, late = world.largest((
                    self.minutes + (now - started) / 60 if world.is_first else 0.0,
                    signals.received, now - begun >= 60 * sitting_minutes))
                ended = bool(self.stopped_by or late or self.progress() >= 1.0)
                if not world.is_first:
                    continue
                for meter in self._meters.values():
                    meter.add(values)
                bar.update(100 * min(self.progress(), 1.0) - bar.n)
                if self.step % config.log_steps == 0:
                    self._log_losses(bar)
                self._owes_validation = self.progress() >= 1.0 or self._due(
                    validated, config.validate_minutes, config.validate_steps)
                if self.stopped_by:
                    self._save_checkpoint('last', {})
                    self.save_state()
                elif ended or self._owes_validation:
                    figures = self._validate()
                    validated = saved = self.minutes
                elif self._due(saved, config.state_minutes, config.state_steps):
                    self.save_state()
                    saved = self.minutes
        return figures

    def _due(self, last: float, minutes: float, steps: int) -> bool:
        return self.minutes - last >= minutes or (steps > 0 and self.step % steps == 0)

    def gradients(self, batch: Batch) -> dict[str, float]:
        """
        Leave in the weights' `grad` the gradient of the whole batch; return the loss, its terms.

        :param batch: this process's share of it. With float16 gradients are scaled.
        """
        self.network.train()
        if self.config.frozen_norms:
            self.network.backbone.eval()
        batch = batch.to(self.device)
        crops = batch.crops.contiguous(memory_format=torch.channels_last)
        loss, terms = self.criterion(self.precision.forward(crops), batch)
        self.optimizer.zero_grad(set_to_none=True)
        self.precision.scaler.scale(loss).backward()
        figures = self.world.average_gradients(
            self.network, torch.tensor([float(loss.detach()), *terms.values()],
                                       device=self.device))
        return dict(zip(('loss', *terms), figures.tolist(), strict=True))

    def learn(self, batch: Batch) -> dict[str, float]:
        """
        Take one step; return the loss, its weighted terms and the gradient's norm.

        :raises ValueError: the loss or the gradient is not finite; weights are as before the step.
        """
        config = self.config
        rate = config.learning_rate * schedule(self.progress(), self.step, config.warmup_steps)
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        values = self.gradients(batch)
        if not math.isfinite(values['loss']):
            self._keep_bad(batch, 'loss')
        norm = self.precision.step(self.optimizer, self.network, config.gradient_norm)
        # The scaler of float16 finds its scale by going too far.
        if not math.isfinite(norm) and not self.precision.scaler.is_enabled():
            self._keep_bad(batch, 'gradient')
        self.step += 1
        if self.world.is_first:
            self.average.update(self.step)
        return {'learning_rate': rate, 'gradient_norm': norm, **values}

    def _keep_bad(self, batch: Batch, what: str) -> None:
        rank = f'_rank{self.world.rank}' if self.world.size > 1 else ''
        path = self.folder.path / f'bad_batch{rank}.safetensors'
        self.folder.path.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in vars(batch).items()}, path)
        if self.world.is_first:
            self.save_state('bad_state.pt')
        raise UserError(f'{what}: not finite at step {self.step}; the batch is kept as {path}, '
                         f'the weights before it as {path.with_name("bad_state.pt")}')

    def _take(self, name: str) -> dict[str, float]:
        """Return a row's beginning: when, how fast, the means since the row before."""
        means = self._meters[name].take()
        rate = self.config.batch / max(means.pop('seconds'), 1e-9)
        return {'step': self.step, 'minutes': round(self.minutes, 3),
                'images_per_s': float(f'{rate:.4g}'),
                **{name: float(f'{value:.5g}') for name, value in means.items()}}

    def _log_losses(self, bar: tqdm) -> None:
        row = self._take('losses')
        self.folder.log(self.folder.losses, row)
        bar.set_postfix_str(f'step {self.step} loss {row["loss"]:.3f} '
                            f'{row["images_per_s"]:.0f} images/s', refresh=False)

    def _validate(self) -> dict[str, Any]:
        network, parts = self.average.network, self.data.validations
        figures = validate(network, parts[self.data.headline], self.device)
        for name, heads in parts.items():
            if name != self.data.headline:
                more = validate(network, heads, self.device, by_yaw=True)
                figures.update({f'{name}_{key}': value for key, value in more.items()})
        row = {**self._take('metrics'), **{f'val_{k}': round(v, 4) for k, v in figures.items()}}
        self.folder.log(self.folder.metrics, row)
        tqdm.write(' '.join(f'{k}={v}' for k, v in row.items()))
        if figures[HEADLINE] < self._best():
            self._save_checkpoint('best', figures)
        self._save_checkpoint('last', figures)
        self._owes_validation = False
        self.save_state()
        write_curves(self.folder.path / 'curves.png', self.folder.losses.rows(),
                     self.folder.metrics.rows())
        write_samples(self.folder.path / 'samples.png', network, parts, self.device)
        return figures

    def _save_checkpoint(self, name: str, figures: dict[str, Any]) -> None:
        metrics = {'step': self.step, **({'validation': figures} if figures else {})}
        save_checkpoint(self.folder.path / f'{name}.safetensors', self.average.network,
                        {**self._origin, 'revision': revision(), 'metrics': metrics})

    def _best(self) -> float:
        """Return the error of the best checkpoint of this run, infinity before there is one."""
        path = self.folder.path / 'best.safetensors'
        if not path.is_file():
            return math.inf
        return float(read_metadata(path)['metrics'].get('validation', {}).get(HEADLINE, math.inf))

    def save_state(self, name: str = 'state.pt') -> None:
        """Write all that `resume` needs, in one step."""
        path = self.folder.path / name
        partial = path.with_name(f'.{name}.partial')
        torch.save({
            'network': self.network.state_dict(), 'average': self.average.network.state_dict(),
            'optimizer': self.optimizer.state_dict(), 'step': self.step, 'minutes': self.minutes,
            'scaler': self.precision.scaler.state_dict(), 'random': torch.get_rng_state(),
            'owes_validation': self._owes_validation,
            'meters': {key: (meter.sums, meter.count) for key, meter in self._meters.items()},
        }, partial)
        partial.replace(path)

    def resume(self) -> None:
        """
        Continue from the folder's state.

        :raises ValueError: when there is none or it belongs to another network.
        """
        path = self.folder.state
        if not path.is_file():
            raise UserError(f'--resume: no state in {path.parent}; start without --resume')
        state = torch.load(path, map_location=self.device, weights_only=True)
        try:
            self.network.load_state_dict(state['network'])
        except RuntimeError as error:
            raise UserError(f'--resume: {path} is of another network: {error}') from None
        self.average.network.load_state_dict(state['average'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.precision.scaler.load_state_dict(state.get('scaler', {}))
        self.step, self.minutes = state['step'], state['minutes']
        self._owes_validation = state.get('owes_validation', False)
        self._meters.update({key: Meter(*value)
                             for key, value in state.get('meters', {}).items()})
        torch.set_rng_state(state['random'].cpu())
