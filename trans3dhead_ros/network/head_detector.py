"""
A detector of whole heads: plain convolutions, a feature pyramid, no anchors, one pass.

Every location of three grids, of stride 8, 16 and 32 px, says whether a head is there, where it
ends, where the landmarks of its face are, how it is rolled and whether its face is seen. Boxes are
px of the image, x0 y0 x1 y1, pixel centres at integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from trans3dhead_ros.model_files.detector_metadata import LOG_HEIGHT_RANGE, USUAL_HEIGHT
from trans3dhead_ros.network.backbone import ResidualBlock, conv_bn
from trans3dhead_ros.network.detector_config import STRIDES, DetectorConfig

CHANNELS = (1, 1, 2, 4, 4)
"""Of the score, the face, the roll, the box of the head and the box of the landmarks."""

UNCALIBRATED = (0.0, 1.0, 0.0)
"""The calibration that leaves scores as they are, see `HeadDetector`."""

# Root mean square of an image in usual light; darker ones are brightened to it.
_USUAL_LIGHT, _MAX_GAIN = 0.45, 20.0
_LIGHT_STEP = 8
"""Every so many-th pixel along each side tells how light an image is."""
_MIN_UP = 0.05
"""Directions that are shorter are noise: making them longer would only make the noise larger."""
_PRIOR = 0.01
"""Initial score: most locations show no head."""
_LOG_SIDE_RANGE = (-3.0, 5.0)
"""Logarithm of the sides of boxes, in strides."""


@dataclass(frozen=True)
class Detection:
    """What a detector says at its L locations, those of the finest grid first."""

    score: torch.Tensor
    """(B, L) logit of "a head is centred here"."""
    face: torch.Tensor
    """(B, L) logit of "its face is seen"."""
    up: torch.Tensor
    """(B, L, 2) cosine and sine of the head's roll, not normalised; the roll is 0 for an upright
    head and grows as it turns clockwise in the image."""
    head_box: torch.Tensor
    """(B, L, 4) px, the whole head with its hair."""
    landmark_box: torch.Tensor
    """(B, L, 4) px, the 68 landmarks of the face; for a head that looks away, where they would
    appear."""


class FeaturePyramid(nn.Module):
    """
    Features of all strides in the same width, each informed by the coarser ones.

    :param widths: channels of the features from the backbone, finest first.
    :param width: channels of each level.
    """

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in widths)
        self.smooth = nn.ModuleList(conv_bn(width, width) for _ in widths)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        """Map features (B, C, H, W) of each level to (B, width, H, W), finest first."""
        levels: list[torch.Tensor] = []
        for lateral, smooth, feature in zip(
                reversed(self.lateral), reversed(self.smooth), reversed(features), strict=True):
            level = lateral(feature)
            if levels:
                level = level + functional.interpolate(levels[0], scale_factor=2.0)
            levels.insert(0, smooth(level))
        return levels


class HeadDetector(nn.Module):
    """
    The network.

    :param config: its sizes.

    The buffer `calibration` (3,) turns logits of scores into those of probabilities: a constant,
    the factor on the logit, and that on the logarithm of the head's height in `USUAL_HEIGHT`.
    Training fits it; `HeadProposals` applies it.

    Example::

        detector = HeadDetector(DetectorConfig()).eval()
        found = detector(torch.rand(1, 3, 480, 640))
        found.head_box[0, found.score[0].argmax()]
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        # Set by training: it halves the time of convolutions.
        self.bfloat16_backbone = False
        # One large step: at full resolution, a few channels would take most of the time.
        self.stem = nn.Sequential(
            nn.Conv2d(3, config.stem_width, 6, 4, 1, bias=False),
            nn.BatchNorm2d(config.stem_width), nn.ReLU(inplace=True))
        before = (config.stem_width, *config.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(conv_bn(channels, width, stride=2),
                          *(ResidualBlock(width) for _ in range(count)))
            for channels, width, count in zip(before, config.widths, config.blocks, strict=True))
        self.pyramid = FeaturePyramid(config.widths, config.neck_width)
        # The same for all levels, so that each learns from heads of all sizes.
        self.tower = conv_bn(config.neck_width, config.neck_width)
        self.outputs = nn.ModuleList(
            nn.Conv2d(config.neck_width, sum(CHANNELS), 1) for _ in STRIDES)
        for output in self.outputs:
            nn.init.normal_(output.weight, std=0.01)
            nn.init.zeros_(output.bias)
            nn.init.constant_(output.bias[:1], math.log(_PRIOR / (1 - _PRIOR)))
            nn.init.constant_(output.bias[2:3], 1.0)  # upright
        self.calibration: torch.Tensor
        self.register_buffer('calibration', torch.tensor(UNCALIBRATED))

    def forward(self, images: torch.Tensor) -> Detection:
        """
        Search images for heads.

        :param images: (B, 3, H, W) RGB in 0..1; H and W are multiples of 32.
        :return: what each location says.
        """
        levels = self._levels(centred(images))
        parts = [self._at_level(output(level), stride) for output, level, stride
                 in zip(self.outputs, levels, STRIDES, strict=True)]
        score, face, up, head_box, landmark_box = (
            torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        return Detection(score[..., 0], face[..., 0], up, head_box, landmark_box)

    def _levels(self, centred: torch.Tensor) -> list[torch.Tensor]:
        if not self.bfloat16_backbone:
            return self._features(centred)
        with torch.autocast(centred.device.type, torch.bfloat16):
            levels = self._features(centred)
        return [level.float() for level in levels]

    def _features(self, centred: torch.Tensor) -> list[torch.Tensor]:
        features, feature = [], self.stem(centred)
        for stage in self.stages:
            feature = stage(feature)
            features.append(feature)
        return [self.tower(level) for level in self.pyramid(features)]

    @staticmethod
    def _at_level(output: torch.Tensor, stride: int) -> tuple[torch.Tensor, ...]:
        grids = torch.cat([output, cell_centres(output, stride)], dim=1)
        # (B, H W, 14)
        values = grids.flatten(2).transpose(1, 2)
        score, face, up, head, landmarks, cells = values.split((*CHANNELS, 2), dim=2)
        return (score, face, up, decode_boxes(head, cells, stride),
                decode_boxes(landmarks, cells, stride))


class HeadProposals(nn.Module):
    """
    A detector with decoded outputs: what an exported file computes.

    :param detector: in evaluation mode.
    """

    def __init__(self, detector: HeadDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: torch.Tensor) -> Detection:
        """
        Search images for heads.

        :param images: as for `HeadDetector`.
        :return: as there, but `score` and `face` are probabilities and `up` has length 1, or
            less where the network tells no direction.
        """
        found = self.detector(images)
        constant, slope, by_height = self.detector.calibration
        height = found.head_box[..., 3] - found.head_box[..., 1]
        size = (height / USUAL_HEIGHT).log().clamp(*LOG_HEIGHT_RANGE)
        score = constant + slope * found.score + by_height * size
        length = found.up.square().sum(dim=-1, keepdim=True).clamp_min(_MIN_UP ** 2).sqrt()
        return Detection(score.sigmoid(), found.face.sigmoid(), found.up / length,
                         found.head_box, found.landmark_box)


def centred(images: torch.Tensor) -> torch.Tensor:
    """
    Brighten dark images until they are as light as others, and centre them about 0.

    :param images: (B, 3, H, W) in 0..1.
    :return: the same in -1..1.
    """
    sample = images[..., ::_LIGHT_STEP, ::_LIGHT_STEP]
    # In two steps, because OpenCV's runtime is wrong by percents in a mean over three dimensions.
    light = sample.square().mean(dim=(2, 3), keepdim=True).mean(dim=1, keepdim=True).sqrt()
    gain = (_USUAL_LIGHT / light.clamp_min(1e-3)).clamp(1.0, _MAX_GAIN)
    return (images * (2.0 * gain)).clamp_max(2.0) - 1.0


def cell_centres(grid: torch.Tensor, stride: int) -> torch.Tensor:
    """
    Return the centres of the cells of a grid.

    They are counted up rather than computed from the size of the grid: an exported graph then needs
    no operators on sizes, which not every runtime imports.

    :param grid: (B, C, H, W) finite, of which only the size matters.
    :param stride: side of a cell, px.
    :return: (B, 2, H, W) px, x and y.
    """
    ones = grid[:, :1].detach().clamp(1.0, 1.0)
    return (torch.cat([ones.cumsum(dim=3), ones.cumsum(dim=2)], dim=1) - 0.5) * stride - 0.5


def decode_boxes(values: torch.Tensor, cells: torch.Tensor, stride: int) -> torch.Tensor:
    """
    Turn outputs into boxes.

    :param values: (..., L, 4) offset of the centre from that of the cell, and logarithm of the
        sides, in strides.
    :param cells: (..., L, 2) px, centres of the cells.
    :param stride: side of a cell, px.
    :return: (..., L, 4) px, x0 y0 x1 y1.
    """
    centres = cells + stride * values[..., :2]
    halves = 0.5 * stride * values[..., 2:].clamp(*_LOG_SIDE_RANGE).exp()
    return torch.cat([centres - halves, centres + halves], dim=-1)
