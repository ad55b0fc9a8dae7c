"""The interface of an engine: a loaded graph that runs inference on batches."""

from __future__ import annotations

from abc import ABC, abstractmethod

from trans3dhead_ros.types import Float32Array


class Engine(ABC):
    """A graph on a device, ready to run. Not for use by several threads at once."""

    backend: str
    """Its name in `backends.BACKENDS`."""
    version: str
    """Of the package that runs it."""
    device: str
    """'cpu' or 'cuda:N'."""

    @abstractmethod
    def run(self, batch: Float32Array) -> dict[str, Float32Array]:
        """
        Run inference on a batch.

        :param batch: (B, 3, H, W) RGB in 0..1, B > 0.
        :return: for an aligner at least landmarks, contour, landmark_scale, rotation,
            translation, log_scale, shape, expression and score, as `network.model.Prediction`
            describes them; for a head detector `detector_metadata.DETECTOR_OUTPUTS`.
        """
