"""All stages of an update, one after another; what a run has already is not made again."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_pair import ModelFiles, open_model
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_training.update.collected_heads import CollectedHeads
from trans3dhead_training.update.collection import collect, pieces_of, track_pipeline
from trans3dhead_training.update.fine_tuning import train
from trans3dhead_training.update.label_fitting import fit
from trans3dhead_training.update.labelling import label
from trans3dhead_training.update.recording_maker import REPLAY, prepare, replay_offsets
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_report import evaluate
from trans3dhead_training.update.update_run import UpdateRun

STAGES = ('collect', 'label', 'fit', 'prepare', 'train', 'evaluate')
"""In their order; each needs those before it."""

# On two cores; what a frame and a head take.
_FRAME_S, _LABEL_S, _FIT_S = 0.05, 0.05, 0.02
_FULL_BYTES = 2_000_000
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class UpdateTask:
    """What to make a candidate from."""

    sources: tuple[str, ...]
    """Bags, videos and folders of frames."""
    output: Path
    """Folder of the run."""
    model: str | Path | None = None
    """Either file of the current model, or the name of a bundled one."""
    labels: Path | None = None
    """Folder of the user's labels."""
    topic: str | None = None
    """Of the images of bags that have several."""
    replay: Path = REPLAY
    """Folder of the replay set."""


def update(
    task: UpdateTask, config: UpdateConfig, stages: Sequence[str] = STAGES,
) -> tuple[UpdateRun, int]:
    """
    Do the stages of an update that are not complete.

    :param task: recordings, model and folder.
    :param config: the settings.
    :param stages: some of `STAGES`.
    :return: the run, and the number of the signal that stopped it, to be resumed, or 0.
    :raises UserError: for a user's mistake, a stage that lacks an earlier one, or a full disk.

    Example::

        run, stopped_by = update(UpdateTask(('drive.mcap',), Path('update')), UpdateConfig())
    """
    run, model = UpdateRun(task.output), open_model(task.model)
    run.start(task.sources, task.labels, model, config)
    results = _results(run)
    if run.heads.exists():
        # A run that was killed behind its last file may have left them.
        shutil.rmtree(pieces_of(run), ignore_errors=True)
    with _full_disk_is_told(run.path):
        for number, stage in enumerate(STAGES):
            if stage not in stages:
                continue
            missing = next((name for name in STAGES[:number] if not results[name].exists()), None)
            if missing:
                raise UserError(f'stages: {stage} needs {missing}, which {run.path} does not have '
                                'yet')
            if results[stage].exists():
                print(f'{stage}: complete already')
                continue
            print(f'{stage} ({number + 1} of {len(STAGES)}){_to_go(stages, number, run, config)}',
                  flush=True)
            if stopped_by := _do(stage, run, task, model, config):
                return run, stopped_by
    return run, 0


def _results(run: UpdateRun) -> dict[str, Path]:
    """Return the file of each stage that exists once the stage is complete."""
    return dict(zip(STAGES, (
        run.heads, run.labels, run.fits, run.data / 'manifest.json',
        run.candidate.with_suffix('.onnx'), run.report), strict=True))


def _to_go(stages: Sequence[str], first: int, run: UpdateRun, config: UpdateConfig) -> str:
    """Return about how many minutes the stages from the first on will take."""
    heads = len(CollectedHeads.load(run.heads)) if run.heads.exists() else config.heads
    minutes = {'collect': config.frames * _FRAME_S / 60, 'label': heads * _LABEL_S / 60,
               'fit': heads * _FIT_S / 60, 'prepare': 0.5, 'train': config.minutes,
               'evaluate': 3.0}
    left = sum(minutes[stage] for stage in STAGES[first:] if stage in stages)
    about = 'at most' if first == 0 or config.steps else 'about'
    return f', {about} {math.ceil(left)} min to go on two cores' if config.minutes > 0 else ''


def _do(
    stage: str, run: UpdateRun, task: UpdateTask, model: ModelFiles, config: UpdateConfig,
) -> int:
    """Do a stage; return the number of the signal that stopped it, or 0."""
    if config.threads:
        torch.set_num_threads(config.threads)
    if stage == 'collect':
        collect(run, task.sources, task.topic, track_pipeline(model.path, config.threads), config)
        run.note('kept', {'crops': len(list(run.crops.iterdir()))})
    elif stage == 'label':
        labels = label(run, track_pipeline(model.path, config.threads).aligner, task.labels)
        print(f'  {len(labels)} heads, {int((labels.reason == "").sum())} of them labelled')
    elif stage == 'fit':
        fits = fit(run, load_head_model(model.checkpoint), replay_offsets(task.replay))
        print(f'  {int(fits.accepted.sum())} of {len(fits)} heads fitted')
    elif stage == 'prepare':
        heads, held_out = prepare(run, config, task.replay)
        print(f'  {heads} heads to train on, {held_out} held out')
    elif stage == 'train':
        return train(run, model, config)
    else:
        evaluate(run, model.path, config)
        print(run.report.with_suffix('.md').read_text(encoding='utf-8'))
    return 0


@contextmanager
def _full_disk_is_told(folder: Path) -> Iterator[None]:
    """Say in one line that a disk is full, whatever the library that wrote raised."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = isinstance(error, OSError) and error.errno in _NO_ROOM
        if not told and shutil.disk_usage(folder).free > _FULL_BYTES:
            raise
        raise UserError(f'output: the disk of {folder} is full ({_one_line(error)}); free some '
                        'space, then run the same command again, which continues') from None


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())[:200]
