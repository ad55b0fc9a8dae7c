"""
The criterion: one method a term, a weight table, masks by what a sample knows.

Lengths are in crop units (-1..1 spans the crop) unless a name says otherwise. Every term is a mean
over the heads of the batch that know its truth, and over the decoder layers, all of which are
supervised; negatives count in the score alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

import torch
from torch.nn import functional

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import rotation_6d_to_matrix, weak_perspective
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.model import LayerOutputs
from trans3dhead_ros.network.queries import ParameterLayout
from trans3dhead_training.core.head_regions import region_of
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.losses.euler_loss import EULER_FORMS, euler_loss, smooth_norm

LANDMARK_FORMS = ('l1', 'wing')


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term in the total; 0 leaves a term out of it."""

    landmarks: float = 12.0
    jaw_3d: float = 4.0
    likelihood: float = 0.05
    rotation: float = 1.0
    euler: float = 1.0
    placement: float = 4.0
    shape: float = 0.05
    shape_prior: float = 0.05
    expression: float = 1.0
    expression_prior: float = 1.0
    vertices: float = 4.0
    reprojection: float = 4.0
    consistency: float = 1.0
    score: float = 0.5


@dataclass(frozen=True)
class RegionWeights:
    """How much a vertex of each of `regions.REGIONS` counts, compared with the others."""

    face: float = 1.0
    ears: float = 0.5
    skull: float = 0.25


@dataclass(frozen=True)
class _Counts:
    """Over how many each mean is taken: scalars."""

    crops: torch.Tensor
    heads: torch.Tensor
    fitted: torch.Tensor
    unfitted: torch.Tensor
    trusted: torch.Tensor

    @classmethod
    def of(cls, batch: Batch, shared: Callable[[torch.Tensor], torch.Tensor]) -> _Counts:
        heads = (batch.is_head > 0.5).float()
        counts = torch.stack([
            torch.ones_like(heads).sum(), heads.sum(), (heads * batch.has_fit).sum(),
            (heads * (1 - batch.has_fit)).sum(), (heads * (batch.point_weight > 0)).sum()])
        # A count of none belongs to a sum of none; the quotient shall be zero.
        return cls(*shared(counts).clamp(min=1e-6))


class _Truth:
    """The rows of a batch that are heads."""

    def __init__(self, batch: Batch) -> None:
        heads = batch.is_head > 0.5
        for field in fields(Batch):
            if field.name not in ('crops', 'is_head'):
                setattr(self, field.name, getattr(batch, field.name)[heads])


def jaw_and_inner(jaw: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return the network's 85 points: jaw of the head, inner points, jaw on the contour."""
    return torch.cat([jaw, points[:, JAW_COUNT:], points[:, :JAW_COUNT]], 1)


def masked_sum(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the sum of values where `known` (broadcast to them) is not 0."""
    # Not by multiplication: what is not known may be infinitely far away.
    return torch.where(known > 0, values, 0.0).sum()


class Criterion:
    """
    The weighted sum of all terms.

    :param head_model: shared with the network. :param offsets: (51, 3) m of the fits: where
        labels of inner points lie, seen from the model's landmarks.
    :param euler_form: see `rotation_loss.euler_loss`. :param landmark_form: 'l1', or 'wing', which
        weighs small errors more. :param vertex_count: how many vertices stand for all of them.
    :param shared_counts: takes the five counts that means are divided by. Processes that share a
        batch return the mean count over all of them: then the mean of their gradients is the
        gradient of the whole batch.
    """

    def __init__(self, head_model: HeadModel, offsets: torch.Tensor,
                 weights: LossWeights = LossWeights(), euler_form: str = 'safe',
                 landmark_form: str = 'l1', regions: RegionWeights = RegionWeights(),
                 vertex_count: int = 300,
                 shared_counts: Callable[[torch.Tensor], torch.Tensor] = lambda counts: counts,
                 ) -> None:
        for name, value, known in (('euler_form', euler_form, EULER_FORMS),
                                   ('landmark_form', landmark_form, LANDMARK_FORMS)):
            if value not in known:
                raise UserError(f'{name}: expected one of {known}, got {value!r}')
        self.head_model = head_model
        self.layout = ParameterLayout(head_model.shape_count, head_model.expression_count)
        self.offsets = offsets
        self.weights = asdict(weights)
        self.euler_form = euler_form
        self.landmark_form = landmark_form
        self.shared_counts = shared_counts
        # Evenly spaced ids sample the whole head; the landmarks are in beside them.
        spread = torch.linspace(0, len(head_model.mean) - 1, vertex_count,
                                device=head_model.mean.device).long()
        chosen = torch.cat([head_model.landmark_indices, spread])
        share = torch.tensor([regions.face, regions.ears, regions.skull], device=chosen.device)
        self.vertex_weight = share[region_of(head_model)[chosen]]
        self.vertex_weight = self.vertex_weight / self.vertex_weight.sum()
        self.vertex_basis = torch.cat([
            head_model.identity[:, chosen].flatten(1), head_model.expression[:, chosen].flatten(1)])

    def __call__(
        self, outputs: LayerOutputs, batch: Batch,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the total (scalar) and the value of each term that has a weight."""
        heads = batch.is_head > 0.5
        truth, count = _Truth(batch), _Counts.of(batch, self.shared_counts)
        points = torch.stack(outputs.points)[:, heads]  # (L, N, 85, 2)
        parameters = torch.stack(outputs.parameters)[:, heads]  # (L, N, P)
        family = self.layout.split(parameters)
        rotation = rotation_6d_to_matrix(family['rotation'])
        projected = self._projected(family, rotation)  # (L, N, 68, 2)
        target = jaw_and_inner(truth.jaw, truth.points)  # (N, 85, 2)

        fitted, trust = truth.has_fit, truth.point_weight
        distance = self.landmarks(points, target)  # (L, N, 85)
        terms = {
            'landmarks': (distance[..., JAW_COUNT:].mean(-1) * trust).sum() / count.heads,
            'jaw_3d': masked_sum(distance[..., :JAW_COUNT].mean(-1), fitted) / count.fitted,
            'rotation': masked_sum(self.rotation(rotation, truth.rotation), fitted) / count.fitted,
            'euler': masked_sum(euler_loss(rotation, truth.rotation, self.euler_form),
                                fitted) / count.fitted,
            'placement': masked_sum(self.placement(family, truth.translation, truth.log_scale),
                                    fitted) / count.fitted,
            'shape': masked_sum((family['shape'] - truth.shape).square().mean(-1),
                                fitted) / count.fitted,
            'expression': masked_sum((family['expression'] - truth.expression).abs().mean(-1),
                                     fitted) / count.fitted,
            'shape_prior': masked_sum(family['shape'].square().mean(-1),
                                      1 - fitted) / count.unfitted,
            'expression_prior': masked_sum(family['expression'].abs().mean(-1),
                                           1 - fitted) / count.unfitted,
            'vertices': masked_sum(self.vertices(family['shape'] - truth.shape,
                                                 family['expression'] - truth.expression),
                                   fitted) / count.fitted,
            'reprojection': (self.reprojection(projected[..., JAW_COUNT:, :],
                                               truth.points[:, JAW_COUNT:])
                             * trust).sum() / count.heads,
            'consistency': self.reprojection(
                projected, points[..., :projected.shape[-2], :].detach()).sum() / count.heads,
        }
        terms = {name: value / len(points) for name, value in terms.items()}
        # The 3D jaw is known where a fit is, the other points wherever labels are trusted.
        known = torch.where(torch.arange(target.shape[1], device=trust.device) < JAW_COUNT,
                            fitted[:, None], trust[:, None])
        likelihood = self.likelihood(points[-1].detach(), target, outputs.point_scale[heads])
        terms['likelihood'] = masked_sum(likelihood, known) / (
            JAW_COUNT * count.fitted + (target.shape[1] - JAW_COUNT) * count.trusted)
        terms['score'] = functional.binary_cross_entropy_with_logits(
            outputs.score, batch.is_head, reduction='sum') / count.crops
        weighted = {name: self.weights[name] * value for name, value in terms.items()
                    if self.weights[name] > 0}
        total = torch.stack(list(weighted.values())).sum()
        values = torch.stack(list(weighted.values())).detach().tolist()
        return total, dict(zip(weighted, values, strict=True))

    def landmarks(self, points: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the distance (..., 85) of points (..., 85, 2), summed over both axes."""
        distance = (points - target).abs()
        if self.landmark_form == 'l1':
            return distance.sum(-1)
        return wing(distance).sum(-1)

    @staticmethod
    def rotation(rotation: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the Frobenius distance (...) of rotations (..., 3, 3)."""
        return smooth_norm((rotation - target).flatten(-2), 1e-3)

    @staticmethod
    def placement(family: dict[str, torch.Tensor], translation: torch.Tensor,
                  log_scale: torch.Tensor) -> torch.Tensor:
        """Return the distance (...) of where and how large a head is in its crop."""
        return ((family['translation'] - translation).abs().sum(-1)
                + (family['log_scale'].squeeze(-1) - log_scale).abs())

    def vertices(self, shape: torch.Tensor, expression: torch.Tensor) -> torch.Tensor:
        """
        Return the mean distance (...), in decimetres, of unposed heads of these differences.

        :param shape: (..., I) difference of coefficients. :param expression: (..., E). Regions
            count by `RegionWeights`.
        """
        offset = torch.cat([shape, expression], -1) @ self.vertex_basis
        return 10.0 * (smooth_norm(offset.unflatten(-1, (-1, 3)), 1e-4) @ self.vertex_weight)

    @staticmethod
    def reprojection(projected: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean smooth L1 distance (...) of points (..., P, 2)."""
        return functional.smooth_l1_loss(
            projected, target.expand_as(projected), reduction='none', beta=0.02).sum(-1).mean(-1)

    @staticmethod
    def likelihood(points: torch.Tensor, target: torch.Tensor,
                   scale: torch.Tensor) -> torch.Tensor:
        """
        Return the negative log likelihood (..., P) of a Laplace law with scale (..., P) per axis.

        Up to a constant; least where the scale is the mean distance of both axes.
        """
        return (points - target).abs().mean(-1) / scale + scale.log()

    def _projected(self, family: dict[str, torch.Tensor], rotation: torch.Tensor) -> torch.Tensor:
        """Return where the head of the parameters has what labels mark, (L, N, 68, 2)."""
        shape, expression, log_scale, translation = (
            family[name].flatten(0, 1)
            for name in ('shape', 'expression', 'log_scale', 'translation'))
        head = self.head_model.points_of(self.head_model.landmark_indices, shape, expression)
        head = torch.cat([head[:, :JAW_COUNT], head[:, JAW_COUNT:] + self.offsets], 1)
        return weak_perspective(head, rotation.flatten(0, 1), log_scale.squeeze(-1),
                                translation).unflatten(0, rotation.shape[:2])


def wing(distance: torch.Tensor, width: float = 0.15, curvature: float = 0.03) -> torch.Tensor:
    """Return the wing loss of distances (Feng et al., CVPR 2018), crop units."""
    beyond = width - width * torch.log(distance.new_tensor(1 + width / curvature))
    return torch.where(distance < width, width * torch.log1p(distance / curvature),
                       distance - beyond)
