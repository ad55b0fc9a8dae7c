"""
3DDFA_V2 (mb05): a MobileNet-v1 of half width that regresses pose, shape and expression.

Guo et al., "Towards Fast, Accurate and Stable 3D Dense Face Alignment", ECCV 2020. Only the weights
are read; the network is rebuilt here from their names and shapes.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import nearest_rotation
from trans3dhead_ros.perception.crop import crop_square, crop_window, to_pixels
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.predictors.predictor import Alignment, Predictor

INPUT_SIZE = 120
CROP_SCALE = 2 ** 0.5
# What torch, NumPy and the network raise for a missing or damaged file.
_UNREADABLE = (AttributeError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError,
               pickle.UnpicklingError)
_SHAPE_COUNT, _EXPRESSION_COUNT = 40, 10

# Blocks by name: channels out at full width, stride.
_BLOCKS = {
    'dw2_1': (64, 1), 'dw2_2': (128, 2), 'dw3_1': (128, 1), 'dw3_2': (256, 2), 'dw4_1': (256, 1),
    'dw4_2': (512, 2), 'dw5_1': (512, 1), 'dw5_2': (512, 1), 'dw5_3': (512, 1), 'dw5_4': (512, 1),
    'dw5_5': (512, 1), 'dw5_6': (1024, 2), 'dw6': (1024, 1),
}


def _convolution(
    inside: int, outside: int, stride: int, groups: int = 1, size: int = 3,
) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, stride, size // 2, groups=groups, bias=False)


def _separable(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(
        conv_dw=_convolution(inside, inside, stride, groups=inside), bn_dw=nn.BatchNorm2d(inside),
        relu_dw=nn.ReLU(),
        conv_sep=_convolution(inside, outside, 1, size=1), bn_sep=nn.BatchNorm2d(outside),
        relu_sep=nn.ReLU()))


def build_mobilenet(width: float = 0.5) -> nn.Sequential:
    """
    Build the network.

    :param width: multiplier of all channel counts.
    :return: maps (B, 3, 120, 120) BGR, (x − 127.5) / 128, to (B, 62) whitened parameters.
    """
    channels = int(32 * width)
    layers = OrderedDict(conv1=_convolution(3, channels, 2), bn1=nn.BatchNorm2d(channels),
                         relu=nn.ReLU())
    for name, (full, stride) in _BLOCKS.items():
        layers[name] = _separable(channels, int(full * width), stride)
        channels = int(full * width)
    layers['pool'] = nn.AdaptiveAvgPool2d(1)
    layers['flat'] = nn.Flatten()
    layers['fc_param'] = nn.Linear(channels, 12 + _SHAPE_COUNT + _EXPRESSION_COUNT)
    return nn.Sequential(layers)


class ThreeDdfaPredictor(Predictor):
    """
    Runs MobileNet-v1 ×0.5 and decodes its parameters with the 68-point basis.

    :param folder: with `mb05_120x120.pth`, the whitening and the basis.
    :raises UserError: a file is missing or damaged.
    """

    name = '3ddfa_v2'

    def __init__(self, folder: Path) -> None:
        try:
            # weights_only because unpickling an untrusted file can run code; map_location because
            # the tensors were saved from a GPU.
            weights = torch.load(folder / 'mb05_120x120.pth', weights_only=True,
                                 map_location=lambda storage, _: storage)['state_dict']
            whitening = np.load(folder / 'param_mean_std_62d_120x120.npz')
            self._mean = whitening['mean'].astype(float)
            self._std = whitening['std'].astype(float)
            self._base, self._shape, self._expression = (
                np.loadtxt(folder / f'{name}.txt')
                for name in ('u_base', 'w_shp_base', 'w_exp_base'))
            self._network = build_mobilenet()
            self._network.load_state_dict({
                name.removeprefix('module.'): tensor for name, tensor in weights.items()
                if not name.startswith('module.fc_lm')})
        except _UNREADABLE as error:
            reason = str(error).partition('\n')[0]
            raise UserError(f'baselines: {folder} does not hold 3DDFA_V2 ({reason})') from error
        self._network.eval()

    def predict(self, image: Image, boxes: Array) -> list[Alignment]:
        """Align the head of every box; see `Predictor`."""
        windows = [crop_window(box, CROP_SCALE) for box in boxes]
        crops = np.stack([crop_square(image, centre, side, INPUT_SIZE)
                          for centre, side in windows])
        batch = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            whitened = self._network((batch - 127.5) / 128).double().numpy()
        parameters = whitened * self._std + self._mean
        return [self._decode(row, *window) for row, window in zip(parameters, windows, strict=True)]

    def _decode(self, parameters: Array, centre: Array, side: float) -> Alignment:
        pose = parameters[:12].reshape(3, 4)
        shape, expression = np.split(parameters[12:], [_SHAPE_COUNT])
        # x0 y0 z0 x1 …: x to the head's left, y up, z out of the face.
        head = self._base + self._shape @ shape + self._expression @ expression
        points = pose[:, :3] @ head.reshape(3, -1, order='F') + pose[:, 3:]
        # Their pixel coordinates start at 1, y upwards.
        crop = np.stack([points[0] - 1, INPUT_SIZE - points[1]], axis=-1)
        units = (2 * crop + 1) / INPUT_SIZE - 1
        return Alignment(to_pixels(units, centre, side), rotation=_to_our_rotation(pose[:, :3]))


def _to_our_rotation(scaled: Array) -> Array:
    """Convert their scaled head → image rotation to our head → camera optical frame."""
    to_their_head = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    return np.diag([1.0, -1.0, -1.0]) @ nearest_rotation(scaled) @ to_their_head.T
