"""The stage `train`: fine-tune the current model with replay, and write the candidate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.special import expit

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_pair import ModelFiles, read_metadata
from trans3dhead_ros.network.checkpoint import load_checkpoint, save_checkpoint
from trans3dhead_ros.network.config import NetworkConfig
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.types import Array
from trans3dhead_training.core.background_crops import backgrounds_of
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.data.head_dataset import HeadDataset, PartShares, SamplingConfig
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.engine.config import TrainConfig
from trans3dhead_training.engine.trainer import Trainer, prepare_process
from trans3dhead_training.engine.weight_average import average
from trans3dhead_training.export.export_checkpoint import export_beside
from trans3dhead_training.fitting.head_basis import save_head_model_npz
from trans3dhead_training.losses.criterion import LossWeights
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.recording_maker import ADAPTED, RECORDINGS
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_run import UpdateRun
from trans3dhead_training.update.whole_files import read_json

_BATCH, _WARMUP_STEPS, _EMA_DECAY = 64, 50, 0.995
# Scores are to stay as they are, where points and poses are to change.
_SCORE_WEIGHT = 2.0
_CPU = torch.device('cpu')


def train(run: UpdateRun, model: ModelFiles, config: UpdateConfig) -> int:
    """
    Train from the current model, or go on with a training, and write the candidate.

    :param run: with prepared data.
    :param model: the current model.
    :param config: the settings.
    :return: the number of the signal that stopped it, to be resumed, or 0.
    :raises UserError: the model has no checkpoint, or the training fails.
    """
    if model.checkpoint is None:
        raise UserError(f'model: {model.path} has no checkpoint ({model.path.stem}.safetensors) '
                        'next to it, from which training starts')
    if not run.head_model.is_file():
        network, _ = load_checkpoint(model.checkpoint, _CPU)
        partial = run.head_model.with_name(f'.partial_{run.head_model.name}')
        save_head_model_npz(network.head_model, partial)
        partial.replace(run.head_model)
    prepare_process()
    trainer = Trainer(train_config(run, model, config))
    try:
        if trainer.folder.state.is_file():
            trainer.resume()
        trainer.train()
    finally:
        trainer.world.close()
    if not trainer.stopped_by:
        _write_candidate(run, model.checkpoint, config)
    return int(trainer.stopped_by)


def train_config(run: UpdateRun, model: ModelFiles, config: UpdateConfig) -> TrainConfig:
    """
    Return the configuration of the training.

    :param run: with prepared data.
    :param model: the current model.
    :param config: the settings.
    :return: the configuration.
    """
    counts = {part.name: part.count for part in Manifest.load(run.data).parts}
    kept = {name: count for name, count in counts.items() if name not in (RECORDINGS, ADAPTED)}
    shares = {name: (config.replay - config.adapted) * count / sum(kept.values())
              for name, count in kept.items()}
    shares |= {ADAPTED: config.adapted, RECORDINGS: 1.0 - config.replay}
    none = dict.fromkeys(asdict(PartShares()), 0.0)
    return TrainConfig(
        output=str(run.training), data=str(run.data), head_model=str(run.head_model),
        init_checkpoint=str(model.checkpoint), seed=config.seed, threads=config.threads,
        network=NetworkConfig.from_dict(model.metadata['network']),
        minutes=config.minutes, steps=config.steps, batch_size=_BATCH,
        learning_rate=config.learning_rate, warmup_steps=_WARMUP_STEPS, ema_decay=_EMA_DECAY,
        freeze_batch_norm=True, validate_minutes=1e9, state_minutes=1.0, export=False,
        sampling=SamplingConfig(shares=PartShares(**{**none, **shares})),
        loss_weights=LossWeights(score=_SCORE_WEIGHT), keep_score=True,
        validation_parts=tuple(kept))


def _write_candidate(run: UpdateRun, current: Path, config: UpdateConfig) -> None:
    """Average the trained network with the current one, and write the pair."""
    trained = run.training / 'last.safetensors'
    (before, stated), (after, metadata) = (load_checkpoint(path, _CPU)
                                           for path in (current, trained))
    network = average(before, after, config.share)
    calibrate_score(network, before, _replayed(run, network))
    manifest, labels = read_json(run.manifest), LabelledHeads.load(run.labels)
    data = (f'update {manifest["run"]}: {int((labels.reason == "").sum())} heads of '
            f'{len(set(labels.person.tolist()))} people, {int(labels.by_hand.sum())} labelled by '
            f'hand, of {", ".join(manifest["recordings"])[:300]}; with the replay set')
    # An ONNX file of other weights would make the checkpoint no model.
    run.candidate.with_suffix('.onnx').unlink(missing_ok=True)
    save_checkpoint(run.candidate, network, {
        'training_data': metadata['training_data'], 'licence': metadata['licence'],
        'metrics': {'update': {'share': config.share, 'step': metadata['metrics']['step']}},
        'parent': stated['sha256'], 'data': data})
    export_beside(run.candidate)
    run.note('derived', {run.candidate.name: read_metadata(run.candidate)['sha256']})


def calibrate_score(
    network: Trans3DHead, teacher: Trans3DHead, batches: Iterable[Batch],
) -> tuple[float, float]:
    """
    Scale and shift the logits of a score until it is as generous and as strict as another one.

    That is, until its mean over heads and its mean over crops without a head are those of the
    teacher. Which of two crops has the higher score does not change.

    :param network: whose last layer of the score is changed.
    :param teacher: the other network.
    :param batches: of heads and of crops without one.
    :return: factor and offset of the logits.
    """
    own, wanted, is_head = [], [], []
    with torch.no_grad():
        for batch in batches:
            for model, logits in ((network, own), (teacher, wanted)):
                logits.append(model.head_score(model.pooled(batch.crops)).double().numpy())
            is_head.append(batch.is_head.numpy() > 0.5)
    head = np.concatenate(is_head)

    def misses(logits: Array) -> Array:
        return np.log([expit(-logits[head]).mean(), expit(logits[~head]).mean()])

    before, target = np.concatenate(own), misses(np.concatenate(wanted))
    factor, offset = least_squares(
        lambda line: misses(line[0] * before + line[1]) - target, (1.0, 0.0),
        bounds=((0.5, -2.0), (2.0, 2.0))).x
    with torch.no_grad():
        network.score_output.weight.mul_(factor)
        network.score_output.bias.mul_(factor).add_(offset)
    return float(factor), float(offset)


def _replayed(run: UpdateRun, network: Trans3DHead) -> Iterator[Batch]:
    """Yield the heads of the replay set, and as many crops without a head."""
    parts = [part.name for part in Manifest.load(run.data).parts
             if part.name not in (RECORDINGS, ADAPTED)]
    heads = HeadDataset.read(
        run.data, network.head_model, parts, False, network.config.input_size,
        network.config.crop_scale, backgrounds=backgrounds_of(''))
    yield from heads.validation_batches(_BATCH // 2)
