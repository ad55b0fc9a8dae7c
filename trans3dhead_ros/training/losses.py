"""
The criterion: one method a term, a weight table, masks by what a sample knows.

Lengths are in crop units (-1..1 spans the crop) unless a name says otherwise. Every term is a mean
over the heads of the batch that know its truth; negatives count in the score alone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch.nn import functional

from trans3dhead_ros.geometry import euler_from_rotation, rotation_6d_to_matrix, weak_perspective
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.model import LayerOutputs
from trans3dhead_ros.network.queries import ParameterLayout
from trans3dhead_ros.training.data.batch import Batch

EULER_FORMS = ('none', 'plain', 'safe', 'geodesic')


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term in the total."""

    landmarks: float = 12.0
    jaw_3d: float = 4.0
    likelihood: float = 0.05
    rotation: float = 1.0
    euler: float = 1.0
    placement: float = 4.0
    shape: float = 0.05
    expression: float = 1.0
    vertices: float = 4.0
    reprojection: float = 4.0
    score: float = 0.5


def euler_loss(rotation: torch.Tensor, target: torch.Tensor, form: str = 'safe') -> torch.Tensor:
    """
    Compare the Euler angles of rotations (B, 3, 3); return (B,).

    'plain' is the difference of the angles in radians: near +-90 degrees of yaw its gradient has no
    bound. 'safe' compares sin(yaw) and the vectors (sin, cos) of pitch and of roll, each scaled by
    cos(yaw), which are entries of the matrix: bounded everywhere, and as heavy as the angle where
    the angle means something. 'geodesic' is the angle of the relative rotation, by its sine and
    cosine. 'none' is zero.
    """
    if form == 'none':
        return rotation.new_zeros(len(rotation))
    if form == 'plain':
        angles = [torch.deg2rad(euler_from_rotation(r)) for r in (rotation, target)]
        return (angles[0] - angles[1]).abs().sum(-1)
    if form == 'safe':
        difference = rotation - target
        vectors = torch.stack([
            functional.pad(difference[:, :1, 0], (0, 1)),
            difference[:, 1:, 0], difference[:, 0, 1:]], dim=1)
        return (vectors.square().sum(-1) + 1e-6).sqrt().sum(-1) - 3e-3
    if form == 'geodesic':
        relative = rotation @ target.mT
        sine = 0.5 * torch.stack([relative[:, 2, 1] - relative[:, 1, 2],
                                  relative[:, 0, 2] - relative[:, 2, 0],
                                  relative[:, 1, 0] - relative[:, 0, 1]], -1)
        cosine = 0.5 * (relative.diagonal(dim1=1, dim2=2).sum(-1) - 1)
        return torch.atan2((sine.square().sum(-1) + 1e-8).sqrt(), cosine) - 1e-4
    raise ValueError(f'euler loss: expected one of {EULER_FORMS}, got {form!r}')


def masked_mean(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the mean of values where `known` (same shape) is 1; zero where it is nowhere."""
    # Not by multiplication: what is not known may be infinitely far away.
    return torch.where(known > 0, values, 0.0).sum() / known.sum().clamp(min=1.0)


def jaw_and_inner(jaw: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return the network's 85 points: jaw of the head, inner points, jaw on the contour."""
    return torch.cat([jaw, points[:, JAW_COUNT:], points[:, :JAW_COUNT]], 1)


class Criterion:
    """
    The weighted sum of all terms.

    :param head_model: shared with the network. :param offsets: (51, 3) m of the fits: where
        labels of inner points lie, seen from the model's landmarks.
    """

    def __init__(self, head_model: HeadModel, offsets: torch.Tensor,
                 weights: LossWeights = LossWeights(), euler_form: str = 'safe',
                 vertex_count: int = 300) -> None:
        if euler_form not in EULER_FORMS:
            raise ValueError(f'euler_form: expected one of {EULER_FORMS}, got {euler_form!r}')
        self.head_model = head_model
        self.layout = ParameterLayout(head_model.shape_count, head_model.expression_count)
        self.offsets = offsets
        self.weights = asdict(weights)
        self.euler_form = euler_form
        # Evenly spaced ids sample the whole head; most of them lie on the face, which counts most.
        spread = torch.linspace(0, len(head_model.mean) - 1, vertex_count,
                                device=head_model.mean.device).long()
        self.vertex_indices = torch.cat([head_model.landmark_indices, spread])

    def __call__(
        self, outputs: LayerOutputs, batch: Batch,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the total (scalar) and each weighted term's value."""
        heads = batch.is_head > 0.5
        labels, trust, fitted = (
            batch.points[heads], batch.point_weight[heads], batch.has_fit[heads])
        target_points = jaw_and_inner(batch.jaw[heads], labels)  # (N, 85, 2)
        # The 3D jaw is known where a fit is, the other points everywhere.
        certainty = torch.where(
            torch.arange(target_points.shape[1], device=trust.device) < JAW_COUNT,
            fitted[:, None], trust[:, None])

        terms: dict[str, torch.Tensor] = {}
        layers = len(outputs.points)
        for points in outputs.points:
            distance = (points[heads] - target_points).abs().sum(-1)  # (N, 85)
            labelled = (distance[:, JAW_COUNT:] * trust[:, None]).mean()
            self._add(terms, 'landmarks', labelled / layers)
            self._add(terms, 'jaw_3d', masked_mean(distance[:, :JAW_COUNT].mean(1), fitted)
                      / layers)
        terms['likelihood'] = self.likelihood(outputs.points[-1][heads].detach(), target_points,
                                              outputs.point_scale[heads], (certainty > 0).float())
        for parameters in outputs.parameters:
            for name, value in self.parameter_terms(parameters[heads], batch, heads).items():
                self._add(terms, name, value / layers)
        terms['score'] = functional.binary_cross_entropy_with_logits(outputs.score, batch.is_head)
        weighted = {name: self.weights[name] * value for name, value in terms.items()}
        total = torch.stack(list(weighted.values())).sum()
        return total, {name: float(value.detach()) for name, value in weighted.items()}

    def parameter_terms(
        self, parameters: torch.Tensor, batch: Batch, heads: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """
        Return the terms of one layer's parameters (N, P) of the N heads.

        Where only points are known the reprojection leads, and the coefficients are drawn to zero.
        """
        family = self.layout.split(parameters)
        rotation = rotation_6d_to_matrix(family['rotation'])
        log_scale = family['log_scale'].squeeze(-1)
        target, fitted = batch.rotation[heads], batch.has_fit[heads]
        shape_target, expression_target = batch.shape[heads], batch.expression[heads]
        labels, trust = batch.points[heads], batch.point_weight[heads]
        head = self._landmarks(family['shape'], family['expression'])
        inner = head[:, JAW_COUNT:] + self.offsets
        projected = weak_perspective(inner, rotation, log_scale, family['translation'])
        reprojection = functional.smooth_l1_loss(
            projected, labels[:, JAW_COUNT:], reduction='none', beta=0.02).sum(-1)
        placement = ((family['translation'] - batch.translation[heads]).abs().sum(-1)
                     + (log_scale - batch.log_scale[heads]).abs())
        per_head = {
            'rotation': (rotation - target).square().sum((1, 2)).add(1e-6).sqrt(),
            'euler': euler_loss(rotation, target, self.euler_form),
            'placement': placement,
            'vertices': self.vertices(family['shape'] - shape_target,
                                      family['expression'] - expression_target),
        }
        return {
            **{name: masked_mean(value, fitted) for name, value in per_head.items()},
            'shape': (family['shape'] - shape_target).square().mean(),
            'expression': (family['expression'] - expression_target).abs().mean(),
            'reprojection': (reprojection * trust[:, None]).mean(),
        }

    def vertices(self, shape: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        """Return the mean distance (B,), in decimetres, of unposed heads of these differences."""
        head = self.head_model
        index = self.vertex_indices
        offset = (shape @ head.identity[:, index].flatten(1)
                  + expression @ head.expression[:, index].flatten(1)).unflatten(1, (-1, 3))
        return 10.0 * (offset.square().sum(-1) + 1e-8).sqrt().mean(-1)

    @staticmethod
    def likelihood(points: torch.Tensor, target: torch.Tensor, scale: torch.Tensor,
                   known: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return the mean negative log likelihood of a Laplace law with scale (B, P) per axis.

        :param known: (B, P) 1 where the target counts; all of them by default.
        """
        distance = (points - target).abs().sum(-1) / 2
        value = distance / scale + scale.log()
        return value.mean() if known is None else masked_mean(value, known)

    def _landmarks(self, shape: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        return self.head_model.points_of(self.head_model.landmark_indices, shape, expression)

    @staticmethod
    def _add(terms: dict[str, torch.Tensor], name: str, value: torch.Tensor) -> None:
        terms[name] = terms[name] + value if name in terms else value
