"""The training loop: seeded, resumable, with an average of the weights that is what is kept."""

from __future__ import annotations

import copy
import csv
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from trans3dhead_ros.device import resolve_device
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.training.augment import Augmentation
from trans3dhead_ros.training.config import TrainConfig
from trans3dhead_ros.training.data_root import data_root
from trans3dhead_ros.training.dataset import Faces, prefetched
from trans3dhead_ros.training.losses import Criterion
from trans3dhead_ros.training.negatives import read_backgrounds
from trans3dhead_ros.training.prepare_head_model import load_head_model
from trans3dhead_ros.training.validate import validate

TRAINING_DATA = ('HELEN, LFPW, AFW and YouTube Faces photographs with 68 points (research use); '
                 'HDR environments (CC0); head basis from ICT-FaceKit (MIT)')
LICENCE = ('Apache-2.0 for the tensors; the photographs that they were trained on are for research '
           'use, see NOTICE')


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
        data = Path(config.data) if config.data else data_root() / 'faces'
        backgrounds = read_backgrounds(data.parent / 'appearance' / 'hdri')
        size, scale = config.network.input_size, config.network.crop_scale
        self.training, self.validation = (
            Faces(data, Path(config.fits), size, scale, held_out, config.faces, backgrounds)
            for held_out in (False, True))
        network = Trans3DHead(config.network, head_model)
        set_means(network, self.training)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        offsets = torch.from_numpy(self.training.offsets).float().to(self.device)
        self.criterion = Criterion(self.network.head_model, offsets, config.weights,
                                   config.euler_form)
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
        figures = validate(self.average.network, self.validation, self.device)
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
        metadata = {'training_data': TRAINING_DATA, 'licence': LICENCE,
                    'metrics': {'validation': figures, 'step': self.step}}
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


def set_means(network: Trans3DHead, faces: Faces, seed: int = 0) -> None:
    """Set the network's references Y_0 to the average over plainly cropped training faces."""
    count = min(len(faces), 1000)
    chosen = np.random.default_rng(seed).choice(len(faces), count, replace=False)
    batch = faces.plain_batch([int(row) for row in chosen])
    layout = network.layout
    mean = layout.split(network.mean_parameters)
    mean['translation'].copy_(batch.translation.mean(0))
    mean['log_scale'].fill_(float(batch.log_scale.mean()))
    mean['expression'].copy_(batch.expression.mean(0))
    labels = batch.points.mean(0)
    network.mean_points.copy_(torch.cat([labels, labels[:JAW_COUNT]]))
