"""The training loop: seeded, resumable bit for bit, in one process or shared by several."""

from __future__ import annotations

import math
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_pair import GRAPH_SUFFIX
from trans3dhead_training.data.prefetch import prefetched
from trans3dhead_training.engine.aligner_task import AlignerTask
from trans3dhead_training.engine.config import DetectorTrainConfig, RunConfig
from trans3dhead_training.engine.csv_log import MeanMeter
from trans3dhead_training.engine.detector_task import DetectorTask
from trans3dhead_training.engine.distributed import World
from trans3dhead_training.engine.run_folder import RunFolder, git_revision
from trans3dhead_training.engine.stop_signals import StopSignals
from trans3dhead_training.engine.task import Task
from trans3dhead_training.engine.training_figures import write_curves
from trans3dhead_training.optimization.optimizers import learning_rate_factor, optimizers_of


def averaged_model(network: nn.Module, decay: float) -> AveragedModel:
    """
    Return the exponential moving average of a network, batch statistics included.

    :param network: whose `update_parameters` follows.
    :param decay: per step; smaller in the first steps, or the initial weights would dominate.
    :return: `module` is the averaged network, in evaluation mode.
    """
    def update(averages: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor,
               ) -> None:
        if averages[0].is_floating_point():
            step = int(count)
            torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + step) / (10 + step)))
        else:
            # Indices and counters; PyTorch's own average would round them down.
            torch._foreach_copy_(averages, values)

    average = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    # The initial weights are part of the average; a count of 0 would overwrite them.
    average.n_averaged.fill_(1)
    average.module.eval()
    return average


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; where it has none, it is emulated."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ('avx512_bf16', 'amx_bf16', 'bf16'))


def prepare_process() -> None:
    """Set what makes a training fast; in a process that only trains."""
    # Batches are made in threads of their own, beside a network that keeps the others busy.
    cv2.setNumThreads(1)

    # Processors compute much more slowly with the tiny numbers below the normal range, which
    # gradients and their averages reach. NumPy looks for these once, and warns where they are gone.
    for kind in (np.float32, np.float64):
        np.finfo(kind)
    torch.set_flush_denormal(True)


class Trainer:
    """
    One training in one folder.

    :param config: what to train.
    :param world: the processes that share it; None: those that `torchrun` started, else this one.

    Example::

        trainer = Trainer(load_config(Path('config/train.yaml')))
        metrics = trainer.train()
    """

    stopped_by: int
    """Number of the signal that stopped the run early, or 0."""

    def __init__(self, config: RunConfig, world: World | None = None) -> None:
        self.config = config
        self.world = world or World.connect(config.device)
        self.device = self.world.device
        if config.batch_size % self.world.size:
            raise UserError(f'batch_size: {config.batch_size} is not a multiple of the '
                            f'{self.world.size} processes')
        self.folder = RunFolder(Path(config.output))
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        kind = DetectorTask if isinstance(config, DetectorTrainConfig) else AlignerTask
        self.task: Task = kind(config, self.device, self.world.mean)
        self.network = self.task.network
        self.world.broadcast_weights(self.network)
        self.optimizers = optimizers_of(
            self.network, config.optimizer, config.learning_rate, config.weight_decay)
        self.average = averaged_model(self.network, config.ema_decay)
        # Only the trained (not the averaged) network: the average is validated in float32, as used.
        self.network.bfloat16_backbone = config.precision == 'bfloat16_backbone' or (
            config.precision == 'auto' and computes_in_bfloat16(self.device))
        self.step, self.minutes = 0, 0.0
        self.stopped_by = 0
        # A signal may arrive when a validation is due; the resumed run then validates first.
        self._validation_due = False
        self._meters = {'losses': MeanMeter(), 'metrics': MeanMeter()}

    def progress(self) -> float:
        """Return the share of the run that has passed, 0..1."""
        config = self.config
        by_time = self.minutes / config.minutes if config.minutes > 0 else 0.0
        by_steps = self.step / config.steps if config.steps > 0 else 0.0
        return max(by_time, by_steps)

    def batch(self, number: int) -> Any:
        """Return this process's share of the batch of a step."""
        config = self.config
        progress = number / config.steps if config.steps > 0 else self.progress()
        return self.task.batch(number, progress, (self.world.rank, self.world.size))

    def train(self, session_minutes: float = math.inf) -> dict[str, Any]:
        """
        Train to the end of the run, to a signal or for so many minutes; then it can be resumed.

        :param session_minutes: after which to validate, save and stop.
        :return: metrics of the last validation; empty before the first.
        """
        config, world = self.config, self.world
        if world.is_first:
            self.folder.start(config, self.step, {
                'device': str(self.device), 'threads': torch.get_num_threads(),
                'processes': world.size})
        batches = prefetched(self.batch, self.step, config.loader_threads)
        bar = tqdm(total=100.0, initial=100 * self.progress(), desc='train',
                   postfix={'step': self.step}, disable=None if world.is_first else True,
                   bar_format='{l_bar}{bar}| {elapsed}<{remaining}{postfix}')
        session_start, metrics, done = time.monotonic(), {}, self.progress() >= 1.0
        validated_at = saved_at = self.minutes
        with closing(self.folder), closing(batches), bar, StopSignals() as signals:
            if self._validation_due and world.is_first:
                metrics = self._validate()
            while not done:
                step_start = time.monotonic()
                losses = self.train_step(next(batches))
                now = time.monotonic()
                losses['seconds'] = now - step_start
                # The clock of the first rank and the signals of all: every rank decides alike.
                self.minutes, self.stopped_by, session_over = world.maximum((
                    self.minutes + (now - step_start) / 60 if world.is_first else 0.0,
                    signals.received, now - session_start >= 60 * session_minutes))
                done = bool(self.stopped_by or session_over or self.progress() >= 1.0)
                if not world.is_first:
                    continue
                for meter in self._meters.values():
                    meter.add(losses)
                bar.update(100 * min(self.progress(), 1.0) - bar.n)
                if self.step % config.log_steps == 0:
                    self._log_losses(bar)
                self._validation_due = self.progress() >= 1.0 or self._is_due(
                    validated_at, config.validate_minutes, config.validate_steps)
                if self.stopped_by:
                    self._save_checkpoint('last', {})
                    self.save_state()
                elif done or self._validation_due:
                    metrics = self._validate()
                    validated_at = saved_at = self.minutes
                elif self._is_due(saved_at, config.state_minutes, config.state_steps):
                    self.save_state()
                    saved_at = self.minutes
        return metrics

    def _is_due(self, last: float, minutes: float, steps: int) -> bool:
        return self.minutes - last >= minutes or (steps > 0 and self.step % steps == 0)

    def train_step(self, batch: Any) -> dict[str, float]:
        """
        Take one optimizer step.

        :param batch: this process's share of the batch.
        :return: the loss, its weighted terms, the gradient's norm and the learning rate.
        :raises UserError: the loss or the gradient is not finite; the weights are unchanged then.
        """
        config = self.config
        # Not a LambdaLR: the schedule follows minutes as well as steps, and its saved state would
        # override a learning rate that is given on resuming.
        rate = config.learning_rate * learning_rate_factor(
            self.progress(), self.step, config.warmup_steps)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = rate
        losses = self.backward(batch)
        if not math.isfinite(losses['loss']):
            self._fail(batch, 'loss')
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), config.max_gradient_norm))
        if not math.isfinite(norm):
            self._fail(batch, 'gradient')
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        if self.world.is_first:
            self.average.update_parameters(self.network)
        return {'learning_rate': rate, 'gradient_norm': norm, **losses}

    def backward(self, batch: Any) -> dict[str, float]:
        """
        Leave the gradient of the whole batch in the `grad` of the weights.

        :param batch: this process's share of the batch.
        :return: the loss of the whole batch and its weighted terms.
        """
        loss, terms = self.task.loss(batch.to(self.device))
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        losses = self.world.average_gradients(
            self.network, torch.tensor([float(loss.detach()), *terms.values()],
                                       device=self.device))
        return dict(zip(('loss', *terms), losses.tolist(), strict=True))

    def _fail(self, batch: Any, what: str) -> None:
        """Save the batch and the state before it, for debugging, and raise."""
        rank = f'_rank{self.world.rank}' if self.world.size > 1 else ''
        path = self.folder.path / f'bad_batch{rank}.safetensors'
        self.folder.path.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in vars(batch).items()}, path)
        if self.world.is_first:
            self.save_state('bad_state.pt')
        raise UserError(f'{what}: not finite at step {self.step}; the batch is saved as {path}, '
                        f'the weights before it as {path.with_name("bad_state.pt")}')

    def _row(self, meter: str) -> dict[str, float]:
        """Return the beginning of a row: step, time, speed, and means since the row before."""
        means = self._meters[meter].take()
        rate = self.config.batch_size / max(means.pop('seconds'), 1e-9)
        return {'step': self.step, 'minutes': round(self.minutes, 3),
                'images_per_s': float(f'{rate:.4g}'),
                **{name: float(f'{value:.5g}') for name, value in means.items()}}

    def _log_losses(self, bar: tqdm) -> None:
        row = self._row('losses')
        self.folder.log(self.folder.losses, row)
        bar.set_postfix_str(f'step {self.step} loss {row["loss"]:.3f} '
                            f'{row["images_per_s"]:.0f} images/s', refresh=False)

    def _validate(self) -> dict[str, Any]:
        """Measure the averaged network on every part; save checkpoints, state and figures."""
        network = self.average.module
        metrics = self.task.validate(network)
        row = {**self._row('metrics'), **{f'val_{k}': round(v, 4) for k, v in metrics.items()}}
        self.folder.log(self.folder.metrics, row)
        tqdm.write(' '.join(f'{k}={v}' for k, v in row.items()))
        if metrics[self.task.selection_metric] < self._best_error():
            self._save_checkpoint('best', metrics)
        self._save_checkpoint('last', metrics)
        self._validation_due = False
        self.save_state()
        write_curves(self.folder.path / 'curves.png', self.folder.losses.rows(),
                     self.folder.metrics.rows(), self.task.panels)
        self.task.write_samples(self.folder.path / 'samples.png', network)
        return metrics

    def _save_checkpoint(self, name: str, metrics: dict[str, Any]) -> None:
        stated = {'step': self.step, **({'validation': metrics} if metrics else {})}
        path = self.folder.path / f'{name}.safetensors'
        # That of other weights would make the new ones no model.
        path.with_suffix(GRAPH_SUFFIX).unlink(missing_ok=True)
        self.task.save_checkpoint(path, self.average.module,
                                  {'revision': git_revision(), 'metrics': stated})

    def _best_error(self) -> float:
        """Return the error of the best checkpoint so far, infinity before there is one."""
        path = self.folder.path / 'best.safetensors'
        if not path.is_file():
            return math.inf
        metrics = self.task.read_metadata(path)['metrics']
        return float(metrics['validation'][self.task.selection_metric])

    def save_state(self, name: str = 'state.pt') -> None:
        """Write all that `resume` needs, in one step, to a file of the folder."""
        path = self.folder.path / name
        partial = path.with_name(f'.{name}.partial')
        torch.save({
            'network': self.network.state_dict(), 'average': self.average.state_dict(),
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'step': self.step, 'minutes': self.minutes,
            'random': torch.get_rng_state(), 'validation_due': self._validation_due,
            'meters': {key: (meter.sums, meter.count) for key, meter in self._meters.items()},
        }, partial)
        partial.replace(path)

    def resume(self) -> None:
        """
        Continue from the state in the folder.

        :raises UserError: there is none, or it belongs to another network.
        """
        path = self.folder.state
        if not path.is_file():
            raise UserError(f'--resume: no state in {path.parent}; start without --resume')
        state = torch.load(path, map_location=self.device, weights_only=True)
        try:
            self.network.load_state_dict(state['network'])
        except RuntimeError as error:
            raise UserError(f'--resume: {path} belongs to another network: {error}') from None
        states = state.get('optimizers', [])  # none in a state of an earlier version
        if len(states) != len(self.optimizers):
            raise UserError(f'--resume: {path} belongs to another optimizer; start without '
                            '--resume, or with the optimizer of the run')
        self.average.load_state_dict(state['average'])
        for optimizer, own in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(own)
        self.step, self.minutes = state['step'], state['minutes']
        self._validation_due = state['validation_due']
        self._meters = {key: MeanMeter(*value) for key, value in state['meters'].items()}
        torch.set_rng_state(state['random'].cpu())
