"""Initial values of a network: means of the data, and weights of another checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_ros.network.detector_checkpoint import load_detector
from trans3dhead_ros.network.head_detector import HeadDetector
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_training.data.head_dataset import HeadDataset

_INITIAL = 'initial weights: '


def set_means(network: Trans3DHead, heads: HeadDataset, seed: int = 0) -> None:
    """
    Set the references Y_0, from which the network regresses, to the average of training heads.

    :param network: on the CPU.
    :param heads: cropped without augmentation for this.
    :param seed: of the choice of at most 1,000 heads.
    """
    count = min(len(heads), 1000)
    chosen = np.random.default_rng(seed).choice(len(heads), count, replace=False)
    batch = heads.plain_batch([int(row) for row in chosen])
    mean = network.layout.split(network.mean_parameters)
    known = batch.has_fit > 0
    if known.any():
        mean['translation'].copy_(batch.translation[known].mean(0))
        mean['log_scale'].fill_(float(batch.log_scale[known].mean()))
        mean['expression'].copy_(batch.expression[known].mean(0))
    else:
        # As wide as a crop without augmentation shows the mean head that faces the camera.
        width = np.ptp(network.head_model.mean[network.head_model.landmark_indices, 1].numpy())
        mean['log_scale'].fill_(float(np.log(2.0 / (network.config.crop_scale * width))))
    labels = batch.points.nanmean(0)
    network.mean_points.copy_(torch.cat([labels, labels[:JAW_COUNT]]))


def load_weights(network: Trans3DHead, path: Path) -> dict[str, Any]:
    """
    Take the weights of a checkpoint of the same network.

    :param network: on the CPU.
    :param path: the checkpoint.
    :return: metadata of the checkpoint.
    :raises UserError: it holds another network or another head model.
    """
    other, metadata = load_checkpoint(path, torch.device('cpu'))
    if other.config != network.config:
        raise UserError(f'init_checkpoint: {path} has another network configuration; give its keys '
                        'below network: or leave init_checkpoint out')
    own, state = network.state_dict(), other.state_dict()
    differing = [name for name, value in state.items()
                 if name.startswith('head_model.') and not (
                     own[name].shape == value.shape
                     and torch.allclose(own[name].float(), value.float(), atol=1e-4))]
    if differing:
        raise UserError(f'init_checkpoint: {path} has another head model ({differing[0]})')
    # Keep the head model in full precision; a checkpoint rounds it.
    network.load_state_dict({name: own[name] if name.startswith('head_model.') else value
                             for name, value in state.items()})
    return metadata


def load_backbone(network: Trans3DHead, path: Path) -> dict[str, Any]:
    """
    Take only the backbone of a checkpoint, as far as the stages have the same shape.

    A network of stride 32 may take the stages of one of stride 16; what lies behind the last
    common stage stays as it was.

    :param network: on the CPU.
    :param path: the checkpoint.
    :return: metadata of the checkpoint.
    :raises UserError: already the first stage has another shape.
    """
    other, metadata = load_checkpoint(path, torch.device('cpu'))
    own, state = network.state_dict(), {}
    for name, value in other.backbone.state_dict().items():
        name = f'backbone.{name}'
        if name not in own or own[name].shape != value.shape:
            break
        state[name] = value
    if not state:
        raise UserError(f'init_checkpoint: the backbone of {path} has other widths than '
                        'network.widths')
    network.load_state_dict({**own, **state})
    return metadata


def load_detector_weights(network: HeadDetector, path: Path) -> dict[str, Any]:
    """
    Take the weights of a checkpoint of a detector.

    Stages may have more residual blocks than there: these start as the identity.

    :param network: on the CPU.
    :param path: the checkpoint.
    :return: metadata of the checkpoint.
    :raises UserError: it holds a network of other widths, or of more blocks.
    """
    other, metadata = load_detector(path, torch.device('cpu'))
    own, state = network.state_dict(), other.state_dict()
    if any(name not in own or own[name].shape != value.shape for name, value in state.items()):
        raise UserError(f'init_checkpoint: the network of {path} does not fit into that of '
                        f'network: it is {other.config.to_dict()}')
    network.load_state_dict({**own, **state})
    return metadata


def credit_initial_weights(credit: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, str]:
    """
    Return the credits of a training, with those of its initial weights that it does not repeat.

    :param credit: texts of the training by name, such as `training_data` and `licence`: items with
        semicolons between them.
    :param before: metadata of the checkpoint with the initial weights; empty for random ones.
    :return: texts by the same names, in which no item is repeated.
    """
    return {name: _with_earlier(text, str(before.get(name, ''))) for name, text in credit.items()}


def _with_earlier(text: str, before: str) -> str:
    """Add the items of a text that another one lacks, those of its own initial weights included."""
    items = text.split('; ')
    earlier = dict.fromkeys(item.removeprefix(_INITIAL) for item in before.split('; ') if item)
    added = [item for item in earlier if item not in items]
    return f'{text}; {_INITIAL}{"; ".join(added)}' if added else text
