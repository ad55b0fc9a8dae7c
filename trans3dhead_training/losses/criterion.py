"""
The training loss: one method `loss_*` for each term, and a weight for each.

Lengths are in crop units (-1..1 spans the crop) unless stated otherwise. Every term is a mean over
the heads of the batch whose truth is known and over the decoder layers, all of which are
supervised; crops without a head count only in the term of the score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch.nn import functional

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.network.model import LayerOutputs
from trans3dhead_ros.network.queries import ParameterLayout
from trans3dhead_ros.network.rotations import rotation_6d_to_matrix, weak_perspective
from trans3dhead_training.core.head_regions import region_of
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.losses.euler_loss import EULER_LOSSES, euler_loss, smooth_norm

LANDMARK_LOSSES = ('l1', 'l1_log', 'wing')

_SAMPLED_VERTICES = 300


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term of the loss; 0 leaves a term out."""

    landmarks: float = 12.0
    """L1 or wing distance of the inner landmarks and of the jaw on the visible contour."""
    jaw_3d: float = 4.0
    """L1 or wing distance of the jaw points of the 3D definition."""
    likelihood: float = 0.05
    """Negative log-likelihood of the landmarks under a Laplace distribution with the predicted
    scales."""
    rotation: float = 1.0
    """Frobenius distance of the rotation matrices."""
    euler: float = 1.0
    """Distance of the Euler angles, in the form selected by `euler_loss`."""
    placement: float = 4.0
    """L1 distance of the translation and of the logarithm of the scale."""
    shape: float = 0.05
    """Squared distance of the identity coefficients."""
    shape_prior: float = 0.05
    """Squared identity coefficients, for heads without a fit."""
    expression: float = 1.0
    """L1 distance of the expression coefficients."""
    expression_prior: float = 1.0
    """Absolute expression coefficients, for heads without a fit."""
    vertices: float = 4.0
    """Distance of the unposed vertices, in decimetres."""
    reprojection: float = 4.0
    """Smooth L1 distance between the projected head and the inner landmark labels."""
    consistency: float = 1.0
    """Smooth L1 distance between the projected head and the network's own landmarks."""
    score: float = 0.5
    """Binary cross-entropy of the head score, or its distance from that of a teacher."""


@dataclass(frozen=True)
class RegionWeights:
    """Relative weight of a vertex of each region of the head in the term of the vertices."""

    face: float = 1.0
    """Weight of a vertex of the face."""
    ears: float = 0.5
    """Weight of a vertex of the ears."""
    skull: float = 0.25
    """Weight of a vertex of the skull and neck."""


@dataclass(frozen=True)
class _Estimates:
    """Network outputs for the H heads of a batch of B crops, in each of L layers."""

    points: torch.Tensor
    """(L, H, 85, 2) jaw of the 3D definition, inner points, jaw on the visible contour."""
    point_scale: torch.Tensor
    """(H, 85) of the last layer."""
    rotation: torch.Tensor
    """(L, H, 3, 3)."""
    parameters: dict[str, torch.Tensor]
    """`translation`, `log_scale`, `shape`, `expression`, each (L, H, ...)."""
    projected: torch.Tensor
    """(L, H, 68, 2) projected landmarks of the parametric head, at the label definitions."""
    score: torch.Tensor
    """(B,) logits."""


@dataclass(frozen=True)
class _Truth:
    """The truth of the H heads of a batch, and the numbers that means are divided by."""

    heads: Batch
    """Their labels; it has no crops."""
    points: torch.Tensor
    """(H, 85, 2) as those of the estimates; 0 where unknown."""
    known: torch.Tensor
    """(H, 85) whether a point is known."""
    is_head: torch.Tensor
    """(B,) 1 or 0."""
    teacher_score: torch.Tensor | None
    """(B,) logits that are learnt in place of `is_head`."""
    crop_count: torch.Tensor
    """Number of crops, a scalar, as those below."""
    head_count: torch.Tensor
    """Number of heads."""
    fit_count: torch.Tensor
    """Number of heads with a fit."""
    no_fit_count: torch.Tensor
    """Number of heads without a fit."""
    label_count: torch.Tensor
    """Number of known points of the heads whose labels are trusted, 68 for most heads."""


class Criterion:
    """
    The weighted sum of all terms.

    :param head_model: shared with the network.
    :param offsets: (51, 3) m, offset from model landmarks to labelled points, of the inner points.
    :param weights: of the terms.
    :param euler_form: one of `EULER_LOSSES`.
    :param landmark_form: one of `LANDMARK_LOSSES`.
    :param regions: weights of the vertices.
    :param vertex_count: number of sampled vertices.
    :param reduce_counts: takes the five counts that means are divided by. Processes that share a
        batch return the mean count over all of them: then the mean of their gradients is the
        gradient of the whole batch.
    :raises UserError: an unknown form.

    Example::

        criterion = Criterion(network.head_model, offsets)
        loss, terms = criterion(network.forward_layers(batch.crops), batch)
    """

    def __init__(self, head_model: HeadModule, offsets: torch.Tensor,
                 weights: LossWeights = LossWeights(), euler_form: str = 'safe',
                 landmark_form: str = 'l1', regions: RegionWeights = RegionWeights(),
                 vertex_count: int = _SAMPLED_VERTICES,
                 reduce_counts: Callable[[torch.Tensor], torch.Tensor] = lambda counts: counts,
                 ) -> None:
        for name, value, known in (('euler_loss', euler_form, EULER_LOSSES),
                                   ('landmark_loss', landmark_form, LANDMARK_LOSSES)):
            if value not in known:
                raise UserError(f'{name}: expected one of {known}, got {value!r}')
        self.head_model = head_model
        self.layout = ParameterLayout(head_model.shape_count, head_model.expression_count)
        self.offsets = offsets
        self.weights = asdict(weights)
        self.euler_form = euler_form
        self.landmark_form = landmark_form
        self.reduce_counts = reduce_counts
        # Evenly spaced indices sample the whole head; the landmarks are added to them.
        spread = torch.linspace(0, len(head_model.mean) - 1, vertex_count,
                                device=head_model.mean.device).long()
        chosen = torch.cat([head_model.landmark_indices, spread])
        share = torch.tensor([regions.face, regions.ears, regions.skull], device=chosen.device)
        self.vertex_weight = share[region_of(head_model)[chosen]]
        self.vertex_weight = self.vertex_weight / self.vertex_weight.sum()
        self.vertex_basis = torch.cat([
            head_model.identity[:, chosen].flatten(1), head_model.expression[:, chosen].flatten(1)])

    def __call__(
        self, outputs: LayerOutputs, batch: Batch, teacher_score: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """
        Compute the loss.

        :param outputs: of the network, for B crops.
        :param batch: the truth of the B crops.
        :param teacher_score: (B,) logits that the score is to match; None: what the batch says.
        :return: the total, a scalar, and the weighted value of each term that has a weight.
        """
        estimates = self._estimates(outputs, batch.is_head > 0.5)
        truth = self._truth(batch, teacher_score)
        terms = {name: weight * getattr(self, f'loss_{name}')(estimates, truth)
                 for name, weight in self.weights.items() if weight > 0}
        values = torch.stack(list(terms.values()))
        return values.sum(), dict(zip(terms, values.detach().tolist(), strict=True))

    def loss_landmarks(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare inner points and contour jaw with labels, weighted by label confidence."""
        distance = _mean_over_known(self._point_distance(estimates, truth)[..., JAW_COUNT:],
                                    truth.known[:, JAW_COUNT:])
        total = (distance * truth.heads.point_weight).sum()
        return total / truth.head_count / len(estimates.points)

    def loss_jaw_3d(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare the jaw points of the 3D definition with the fit."""
        distance = self._point_distance(estimates, truth)[..., :JAW_COUNT].mean(-1)
        return _mean_over_fits(distance, truth)

    def loss_likelihood(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Rate the predicted scales by the errors of the last layer, which get no gradient."""
        negative_log = laplace_negative_log_likelihood(
            estimates.points[-1].detach(), truth.points, estimates.point_scale)
        # The 3D jaw is known where there is a fit, the other points where labels are trusted.
        is_jaw = torch.arange(truth.points.shape[1], device=truth.points.device) < JAW_COUNT
        known = truth.known & (torch.where(is_jaw, truth.heads.has_fit[:, None],
                                           truth.heads.point_weight[:, None]) > 0)
        return _masked_sum(negative_log, known) / (
            JAW_COUNT * truth.fit_count + truth.label_count)

    def loss_rotation(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare rotation matrices by the Frobenius norm."""
        difference = (estimates.rotation - truth.heads.rotation).flatten(-2)
        return _mean_over_fits(smooth_norm(difference, 1e-3), truth)

    def loss_euler(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare Euler angles."""
        distance = euler_loss(estimates.rotation, truth.heads.rotation, self.euler_form)
        return _mean_over_fits(distance, truth)

    def loss_placement(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare position and size of the head in its crop."""
        translation, log_scale = (estimates.parameters[name]
                                  for name in ('translation', 'log_scale'))
        distance = ((translation - truth.heads.translation).abs().sum(-1)
                    + (log_scale.squeeze(-1) - truth.heads.log_scale).abs())
        return _mean_over_fits(distance, truth)

    def loss_shape(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare identity coefficients."""
        difference = estimates.parameters['shape'] - truth.heads.shape
        return _mean_over_fits(difference.square().mean(-1), truth)

    def loss_shape_prior(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Keep the identity of heads without a fit near the mean."""
        return _mean_over_heads_without_fit(estimates.parameters['shape'].square().mean(-1), truth)

    def loss_expression(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare expression coefficients."""
        difference = estimates.parameters['expression'] - truth.heads.expression
        return _mean_over_fits(difference.abs().mean(-1), truth)

    def loss_expression_prior(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Keep the expression of heads without a fit near neutral."""
        return _mean_over_heads_without_fit(
            estimates.parameters['expression'].abs().mean(-1), truth)

    def loss_vertices(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare unposed vertices, in decimetres, weighted by their region."""
        difference = torch.cat([
            estimates.parameters['shape'] - truth.heads.shape,
            estimates.parameters['expression'] - truth.heads.expression], -1)
        offset = (difference @ self.vertex_basis).unflatten(-1, (-1, 3))
        return _mean_over_fits(10.0 * (smooth_norm(offset, 1e-4) @ self.vertex_weight), truth)

    def loss_reprojection(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare the projected head with the labels of the inner points."""
        inner = slice(JAW_COUNT, estimates.projected.shape[-2])
        distance = _mean_over_known(
            _smooth_l1(estimates.projected[..., inner, :], truth.points[:, inner]),
            truth.known[:, inner])
        total = (distance * truth.heads.point_weight).sum()
        return total / truth.head_count / len(estimates.points)

    def loss_consistency(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare the projected head with the network's own points, which get no gradient."""
        points = estimates.points[..., :estimates.projected.shape[-2], :].detach()
        total = _smooth_l1(estimates.projected, points).mean(-1).sum()
        return total / truth.head_count / len(estimates.points)

    def loss_score(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Compare the head score with whether the crop shows a head, or with a teacher's logits."""
        if truth.teacher_score is not None:
            # Logits, because most probabilities are so near to 0 or 1 that they hardly differ.
            return functional.smooth_l1_loss(
                estimates.score, truth.teacher_score, reduction='sum') / truth.crop_count
        return functional.binary_cross_entropy_with_logits(
            estimates.score, truth.is_head, reduction='sum') / truth.crop_count

    def _point_distance(self, estimates: _Estimates, truth: _Truth) -> torch.Tensor:
        """Return (L, H, 85) distances, summed over both axes."""
        distance = (estimates.points - truth.points).abs()
        form = {'l1': lambda value: value, 'l1_log': l1_log, 'wing': wing}[self.landmark_form]
        return form(distance).sum(-1)

    def _estimates(self, outputs: LayerOutputs, is_head: torch.Tensor) -> _Estimates:
        parameters = self.layout.split(torch.stack(outputs.parameters)[:, is_head])
        rotation = rotation_6d_to_matrix(parameters['rotation'])
        return _Estimates(
            torch.stack(outputs.points)[:, is_head], outputs.point_scale[is_head], rotation,
            parameters, self._projected(parameters, rotation), outputs.score)

    def _projected(self, parameters: dict[str, torch.Tensor], rotation: torch.Tensor,
                   ) -> torch.Tensor:
        """Return (L, H, 68, 2): the landmarks, the inner ones displaced to where labels lie."""
        shape, expression, log_scale, translation = (
            parameters[name].flatten(0, 1)
            for name in ('shape', 'expression', 'log_scale', 'translation'))
        head = self.head_model.points_of(self.head_model.landmark_indices, shape, expression)
        head = torch.cat([head[:, :JAW_COUNT], head[:, JAW_COUNT:] + self.offsets], 1)
        return weak_perspective(head, rotation.flatten(0, 1), log_scale.squeeze(-1),
                                translation).unflatten(0, rotation.shape[:2])

    def _truth(self, batch: Batch, teacher_score: torch.Tensor | None) -> _Truth:
        is_head = (batch.is_head > 0.5).float()
        labels_known = (batch.points.isfinite().all(-1) & (batch.point_weight > 0)[:, None]).sum(1)
        counts = torch.stack([
            torch.ones_like(is_head).sum(), is_head.sum(), (is_head * batch.has_fit).sum(),
            (is_head * (1 - batch.has_fit)).sum(), (is_head * labels_known).sum()])
        labels = {name: value[is_head > 0] for name, value in vars(batch).items()
                  if name != 'crops'}
        heads = Batch(crops=batch.crops[:0], **labels)
        points = torch.cat([heads.jaw, heads.points[:, JAW_COUNT:], heads.points[:, :JAW_COUNT]], 1)
        known = points.isfinite().all(-1)
        # A mask could not remove nan from gradients. Avoid 0 / 0 where nothing is known.
        return _Truth(heads, points.nan_to_num(), known, batch.is_head, teacher_score,
                      *self.reduce_counts(counts).clamp(min=1e-6))


def wing(distance: torch.Tensor, width: float = 0.15, curvature: float = 0.03) -> torch.Tensor:
    """
    Return the wing loss (Feng et al., CVPR 2018), which gives small errors more weight than L1.

    :param distance: absolute differences, crop units.
    :param width: below which it is logarithmic.
    :param curvature: the smaller, the steeper near zero.
    :return: as many values.
    """
    beyond = width - width * torch.log(distance.new_tensor(1 + width / curvature))
    return torch.where(distance < width, width * torch.log1p(distance / curvature),
                       distance - beyond)


def laplace_negative_log_likelihood(
    points: torch.Tensor, target: torch.Tensor, scale: torch.Tensor,
) -> torch.Tensor:
    """
    Return the negative log-likelihood of points under a Laplace distribution, up to a constant.

    :param points: (..., P, 2).
    :param target: (..., P, 2).
    :param scale: (..., P) of either axis; the mean distance of both axes minimises the result.
    :return: (..., P).
    """
    return (points - target).abs().mean(-1) / scale + scale.log()


def _smooth_l1(points: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the smooth L1 distance (..., P) of points (..., P, 2)."""
    return functional.smooth_l1_loss(
        points, target.expand_as(points), reduction='none', beta=0.02).sum(-1)


def _mean_over_known(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the mean (L, H) of (L, H, P) over the points that are known (H, P), 0 without any."""
    return (values * known).sum(-1) / known.sum(-1).clamp(min=1)


def _masked_sum(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the sum of the values where `known`, which is broadcast to them, is not 0."""
    # Not a product: an unknown value may be infinite.
    return torch.where(known > 0, values, 0.0).sum()


def _mean_over_fits(values: torch.Tensor, truth: _Truth) -> torch.Tensor:
    """Return the mean of (L, H) over layers and heads with a fit."""
    return _masked_sum(values, truth.heads.has_fit) / truth.fit_count / len(values)


def _mean_over_heads_without_fit(values: torch.Tensor, truth: _Truth) -> torch.Tensor:
    """Return the mean of (L, H) over layers and heads without a fit."""
    return _masked_sum(values, 1 - truth.heads.has_fit) / truth.no_fit_count / len(values)


def l1_log(distance: torch.Tensor, weight: float = 0.04, width: float = 0.02) -> torch.Tensor:
    """
    Return L1 plus a logarithm, which keeps a strong gradient near zero.

    :param distance: absolute differences, crop units.
    :param weight: of the logarithm.
    :param width: below which the logarithm is nearly linear.
    :return: as many values.
    """
    return distance + weight * torch.log1p(distance / width)
