"""Closed-form fits of one set of points to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from trans3dhead_ros.geometry import nearest_rotation
from trans3dhead_ros.types import Array

if TYPE_CHECKING:
    import torch

Points = TypeVar('Points', 'Array', 'torch.Tensor')


@dataclass(frozen=True, eq=False)
class Similarity:
    """
    The transform `scale * rotation @ p + translation`.

    Example::

        to_target = fit_similarity(source, target)
        aligned = to_target(source)
    """

    scale: float
    rotation: Array
    """(3, 3)."""
    translation: Array
    """(3,), in the target's unit."""

    def __call__(self, points: Array) -> Array:
        """Transform points (..., 3)."""
        return self.scale * points @ self.rotation.T + self.translation


def fit_similarity(source: Array, target: Array) -> Similarity:
    """
    Fit the similarity that takes points nearest to others in least squares; it never mirrors.

    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 1991.

    :param source: (N, 3).
    :param target: (N, 3), the corresponding points.
    :return: the similarity from source to target.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source, target = source - source_mean, target - target_mean
    covariance = target.T @ source
    rotation = nearest_rotation(covariance)
    scale = float((covariance * rotation).sum() / (source ** 2).sum())
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def fit_weak_perspective(rotated: Points, image: Points) -> tuple[Points, Points]:
    """
    Fit scale and translation of `scale * rotated + translation` to image points in least squares.

    The rotation is known and applied already. Takes NumPy arrays or torch tensors and returns the
    same kind.

    :param rotated: (..., P, 2) x and y of the rotated head points, m.
    :param image: (..., P, 2) where they appear, image units.
    :return: scale (...), image units per metre, and translation (..., 2) image units.
    """
    mean, image_mean = rotated.mean(-2), image.mean(-2)
    centred = rotated - mean[..., None, :]
    scale = ((image - image_mean[..., None, :]) * centred).sum((-2, -1)) / (
        centred ** 2).sum((-2, -1))
    return scale, image_mean - scale[..., None] * mean
