"""The interface between the training loop and what it trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Task(ABC):
    """A network with its data, its loss and its validation, on a device."""

    network: nn.Module
    """What is trained; it has a switch `bfloat16_backbone`."""
    selection_metric: str
    """The validation error that is smallest for the best checkpoint."""
    panels: Mapping[str, str]
    """Titles of diagrams of the validation, and what the names of their metrics contain."""

    @abstractmethod
    def batch(self, number: int, progress: float, share: tuple[int, int]) -> Any:
        """
        Make a batch; it depends on its number and on the seed of the configuration.

        :param number: of the batch.
        :param progress: share of the run that has passed by then, 0..1.
        :param share: (rank, size) of a process that makes only its part of the batch.
        :return: a dataclass of tensors with a method `to(device)`.
        """

    @abstractmethod
    def loss(self, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """
        Run the network in training mode.

        :param batch: on the device.
        :return: the loss, and its weighted terms by name.
        """

    @abstractmethod
    def validate(self, network: nn.Module) -> dict[str, float]:
        """
        Measure a network on held-out data.

        :param network: with averaged weights, in evaluation mode.
        :return: metrics by name, `selection_metric` among them.
        """

    @abstractmethod
    def write_samples(self, path: Path, network: nn.Module) -> None:
        """
        Draw some predictions for held-out pictures.

        :param path: PNG to write.
        :param network: as for `validate`.
        """

    @abstractmethod
    def save_checkpoint(self, path: Path, network: nn.Module, metadata: Mapping[str, Any]) -> None:
        """
        Write a checkpoint that says what it was trained on.

        :param path: of the file.
        :param network: as for `validate`.
        :param metadata: JSON values by name.
        """

    @abstractmethod
    def read_metadata(self, path: Path) -> dict[str, Any]:
        """Return the metadata of a checkpoint."""
