"""The training of the network that aligns a head in a crop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trans3dhead_ros.model_files.model_pair import read_metadata
from trans3dhead_ros.network.checkpoint import save_checkpoint
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.engine.config import TrainConfig
from trans3dhead_training.engine.initialization import (
    credit_initial_weights,
    load_backbone,
    load_weights,
    set_means,
)
from trans3dhead_training.engine.task import Task
from trans3dhead_training.engine.training_data import TrainingData
from trans3dhead_training.engine.training_figures import write_samples
from trans3dhead_training.engine.validation import validate
from trans3dhead_training.fitting.head_basis import load_head_model_npz
from trans3dhead_training.losses.criterion import Criterion


class AlignerTask(Task):
    """
    The aligner's network, its crops and its loss.

    :param config: of the training.
    :param device: of the network.
    :param reduce_counts: mean over the processes of a shared training.
    """

    selection_metric = 'inner51_percent'

    def __init__(self, config: TrainConfig, device: torch.device,
                 reduce_counts: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.config, self.device = config, device
        self.panels = {'held-out heads: points, % of the box': '_percent',
                       'held-out heads: rotation, degrees': 'rotation_deg'}
        head_model = load_head_model_npz(Path(config.head_model))
        self.data = TrainingData.read(config, head_model)
        self._credit = dict(self.data.credit)
        self.network = self._initialized(Trans3DHead(config.network, head_model)).to(
            device, memory_format=torch.channels_last)
        self._score_teacher = (
            deepcopy(self.network).eval().requires_grad_(False) if config.keep_score else None)
        offsets = torch.tensor(self.data.manifest.offsets, device=device)
        self.criterion = Criterion(
            self.network.head_model, offsets, config.loss_weights, config.euler_loss,
            config.landmark_loss, config.region_weights, reduce_counts=reduce_counts)

    def _initialized(self, network: Trans3DHead) -> Trans3DHead:
        config = self.config
        if config.init_checkpoint:
            load = load_backbone if config.init_backbone_only else load_weights
            before = load(network, Path(config.init_checkpoint))
            self._credit = {**credit_initial_weights(self._credit, before),
                            'parent': before['sha256']}
        if not config.init_checkpoint or config.init_backbone_only:
            set_means(network, self.data.training)
        return network

    def batch(self, number: int, progress: float, share: tuple[int, int]) -> Batch:
        """Make a batch of crops, see `Task.batch`."""
        config = self.config
        augmentation = (config.augmentation if progress < config.late_augmentation_from
                        else config.late_augmentation)
        return self.data.training.training_batch(
            config.batch_size, np.random.default_rng((config.seed, number)), augmentation, share)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """Run the network, see `Task.loss`."""
        self.network.train()
        if self.config.freeze_batch_norm:
            self.network.backbone.eval()
        crops = batch.crops.contiguous(memory_format=torch.channels_last)
        return self.criterion(self.network.forward_layers(crops), batch, self._kept_score(crops))

    def _kept_score(self, crops: torch.Tensor) -> torch.Tensor | None:
        """Return the logits (B,) of the network that the training started from, if they count."""
        teacher = self._score_teacher
        if teacher is None:
            return None
        # Rounded alike, so that equal weights have equal scores.
        teacher.bfloat16_backbone = self.network.bfloat16_backbone
        with torch.no_grad():
            return teacher.head_score(teacher.pooled(crops))

    def validate(self, network: Trans3DHead) -> dict[str, float]:
        """Measure a network on every part, see `Task.validate`."""
        parts = self.data.validations
        metrics = validate(network, parts[self.data.selection_part], self.device)
        for name, heads in parts.items():
            if name != self.data.selection_part:
                more = validate(network, heads, self.device, by_yaw=True)
                metrics.update({f'{name}_{key}': value for key, value in more.items()})
        return metrics

    def write_samples(self, path: Path, network: Trans3DHead) -> None:
        """Draw some heads of every part, see `Task.write_samples`."""
        write_samples(path, network, self.data.validations, self.device)

    def save_checkpoint(self, path: Path, network: Trans3DHead,
                        metadata: Mapping[str, Any]) -> None:
        """Write a checkpoint, see `Task.save_checkpoint`."""
        save_checkpoint(path, network, {**self._credit, **metadata})

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """Return the metadata of a checkpoint."""
        return read_metadata(path)
