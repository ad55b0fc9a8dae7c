"""
`trans3dhead train score`: the head score of a trained network, on hard negatives.

A second stage of minutes. The score is read from the pooled features of the backbone by a small
head of its own; everything else is frozen, so landmarks and poses stay what they are. The features
are computed once. Negatives are the training's own and those of `trans3dhead prepare negatives`;
low resolution is drawn for heads and negatives alike, so that it does not tell them apart.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.device import resolve_device
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.core.augmentation import Augmentation, photometric
from trans3dhead_training.core.background_crops import read_backgrounds
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.core.metrics import roc_auc
from trans3dhead_training.data.head_batches import Heads
from trans3dhead_training.engine.config import TrainConfig

PART = 'photographs'
"""The part of the prepared data whose heads teach the score."""

_BATCH = 64
_SMALLEST = 12  # px of a crop side: the head of a person at the far end of a room


@dataclass(frozen=True)
class ScoreConfig:
    """
    How the score is trained.

    :ivar batches: of 64 augmented crops from the faces, a fifth of them easy negatives.
    :ivar hard_copies: how often each hard negative is seen, in another light each time.
    :ivar small_share: of all crops that are reduced to a small head's resolution.
    :ivar smoothing: of the labels; keeps the score from claiming more than the labels are worth.
    """

    batches: int = 60
    hard_copies: int = 2
    small_share: float = 0.4
    epochs: int = 60
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    smoothing: float = 0.01
    seed: int = 0


def reduced(crop: np.ndarray, side: int) -> np.ndarray:
    """Return a crop (S, S, 3) as it looks when only `side` pixels of an image show it."""
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def randomly_reduced(
    crops: Sequence[np.ndarray], share: float, generator: np.random.Generator,
) -> list[np.ndarray]:
    """Reduce a share of the crops to between 12 px and half of their side."""
    half = crops[0].shape[0] // 2
    return [reduced(crop, int(np.exp(generator.uniform(np.log(_SMALLEST), np.log(half)))))
            if generator.random() < share else crop for crop in crops]


@torch.no_grad()
def pooled_features(
    network: Trans3DHead, crops: Sequence[np.ndarray], device: torch.device,
) -> torch.Tensor:
    """Return what the score is read from, (N, C), of crops (S, S, 3) uint8 BGR."""
    parts = []
    for start in tqdm(range(0, len(crops), _BATCH), desc='features', disable=None):
        batch = torch.from_numpy(np.stack(crops[start:start + _BATCH])).to(device)
        parts.append(network.pooled(batch.flip(-1).permute(0, 3, 1, 2).float() / 255.0))
    return torch.cat(parts)


def train_score(
    network: Trans3DHead, heads: torch.Tensor, negatives: torch.Tensor, config: ScoreConfig,
) -> None:
    """Train the score alone, on features (N, C) of heads and of negatives; both sides weigh 1."""
    features = torch.cat([heads, negatives])
    labels = torch.cat([torch.ones_like(heads[:, 0]), torch.zeros_like(negatives[:, 0])])
    weights = torch.where(labels > 0.5, 0.5 / len(heads), 0.5 / len(negatives)) * len(labels)
    parameters = [*network.score_head.parameters(), *network.score_output.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, config.learning_rate, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed)
    targets = labels * (1 - 2 * config.smoothing) + config.smoothing
    bar = tqdm(range(config.epochs), desc='score', disable=None)
    for epoch in bar:
        for group in optimiser.param_groups:
            group['lr'] = config.learning_rate * (1 - epoch / config.epochs)
        order = torch.randperm(len(features), generator=generator).to(features.device)
        for chosen in order.split(2 * _BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(
                network.head_score(features[chosen]), targets[chosen], weights[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        bar.set_postfix(loss=f'{loss.item():.3f}')


@torch.no_grad()
def measure(network: Trans3DHead, heads: torch.Tensor, negatives: torch.Tensor) -> dict[str, float]:
    """Return the AUC, and what passes a score of 0.5: `heads_percent`, `negatives_percent`."""
    score, other = network.head_score(heads), network.head_score(negatives)
    positive = np.arange(len(score) + len(other)) < len(score)
    return {'auc': roc_auc(torch.cat([score, other]).cpu().numpy(), positive),
            'heads_percent': 100 * float((score > 0).float().mean()),
            'negatives_percent': 100 * float((other > 0).float().mean())}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead train score`."""
    parser = ArgumentParser(prog='trans3dhead train score', description=__doc__)
    parser.add_argument('--checkpoint', type=Path, required=True, help='of a finished training')
    parser.add_argument('--output', type=Path, required=True, help='where the new one goes')
    parser.add_argument('--data', type=Path, default=Path('runs/data'),
                        help='folder that `trans3dhead prepare data` filled')
    parser.add_argument('--backgrounds', type=Path,
                        help='folder of panoramas (default: that of the data folder)')
    parser.add_argument('--negatives', type=Path, default=Path('runs/negatives.npz'))
    parser.add_argument('--held-out', type=int, default=0,
                        help='number of the panorama whose views only measure')
    parser.add_argument('--device', default='auto')
    parser.add_argument('--threads', type=int, default=0, help='0: as many as there are')
    arguments = parser.parse_args(argv)
    if arguments.threads > 0:
        torch.set_num_threads(arguments.threads)
        cv2.setNumThreads(arguments.threads)
    if not arguments.negatives.is_file():
        raise UserError(f'negatives: no file {arguments.negatives}; make it with '
                         '`trans3dhead prepare negatives`')
    config, device = ScoreConfig(), resolve_device(arguments.device)
    network, metadata = load_checkpoint(arguments.checkpoint, device)
    figures = _run(network, device, arguments, config)
    metrics = {**metadata['metrics'], 'score': figures}
    save_checkpoint(arguments.output, network, {**metadata, 'metrics': metrics})
    for name, row in figures.items():
        print(f'{name:20s}' + '  '.join(f'{key} {value:.4f}' for key, value in row.items()))
    return 0


def _run(
    network: Trans3DHead, device: torch.device, arguments: argparse.Namespace, config: ScoreConfig,
) -> dict[str, dict[str, float]]:
    size, scale = network.config.input_size, network.config.crop_scale
    backgrounds = read_backgrounds(arguments.backgrounds or data_root() / 'appearance' / 'hdri')
    with np.load(arguments.negatives) as archive:
        hard, groups = archive['crops'], archive['groups']
    if hard.shape[1:] != (size, size, 3):
        raise UserError(f'negatives: crops of {hard.shape[1]} px, the network takes {size} px')
    generator = np.random.default_rng(config.seed)
    training, validation = (
        Heads.read(arguments.data, copy.deepcopy(network.head_model).cpu(), (PART,), held_out,
                   size, scale, backgrounds=backgrounds) for held_out in (False, True))
    crops, is_head = _face_crops(training, config)
    measured = groups == arguments.held_out
    seen = [photometric(crop, generator, 0.7 if copy else 0.0)
            for copy in range(config.hard_copies) for crop in hard[~measured]]
    plain = [_bgr(crop) for crop in validation.plain_batch(range(len(validation))).crops]

    def features(of: Sequence[np.ndarray], share: float) -> torch.Tensor:
        return pooled_features(network, randomly_reduced(of, share, generator), device)

    from_faces = features(crops, config.small_share)
    chosen = torch.from_numpy(is_head).to(device)
    heads = from_faces[chosen]
    negatives = torch.cat([from_faces[~chosen], features(seen, config.small_share)])
    held_out = features(list(hard[measured]), 0.0)
    sets = {'validation': features(plain, 0.0), 'validation, small': features(plain, 1.0)}
    figures = {f'{name}, before': measure(network, of, held_out) for name, of in sets.items()}
    train_score(network, heads, negatives, config)
    network.eval()
    return {**figures, **{name: measure(network, of, held_out) for name, of in sets.items()}}


def _face_crops(heads: Heads, config: ScoreConfig) -> tuple[list[np.ndarray], np.ndarray]:
    """Return augmented crops as the training draws them, and which of them are heads."""
    late = TrainConfig().late_augment
    crops: list[np.ndarray] = []
    is_head: list[np.ndarray] = []
    for number in range(config.batches):
        batch = heads.training_batch(_BATCH, np.random.default_rng((config.seed, number)),
                                     late if number % 2 else Augmentation())
        crops += [_bgr(crop) for crop in batch.crops]
        is_head.append(batch.is_head.numpy() > 0.5)
    return crops, np.concatenate(is_head)


def _bgr(crop: torch.Tensor) -> np.ndarray:
    """Return a crop (3, S, S) in 0..1 RGB as (S, S, 3) uint8 BGR."""
    return (crop.permute(1, 2, 0).flip(-1) * 255).round().byte().numpy().copy()
