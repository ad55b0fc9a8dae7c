"""Writes parts of the prepared data in several processes, shard by shard, resumably."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from trans3dhead_ros.atomic_files import write_json
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_training.data.manifest import NAME as MANIFEST
from trans3dhead_training.data.manifest import Manifest, Part
from trans3dhead_training.data.shards import SUFFIX, Shard, write_shard
from trans3dhead_training.preparation.part_maker import PartMaker

SAMPLES_PER_SHARD = 500
_SETTINGS = 'settings.json'
_RESERVE = 1.1


@dataclass(frozen=True)
class ShardJob:
    """One shard: items start ... stop - 1 of a part."""

    part: str
    """Name of the part."""
    file: str
    """Of the shard, relative to the output folder."""
    start: int
    stop: int


def jobs_of(maker: PartMaker) -> list[ShardJob]:
    """Divide a part into shards of about `SAMPLES_PER_SHARD` samples."""
    items, step = maker.count(), max(1, round(SAMPLES_PER_SHARD / maker.samples_per_item()))
    return [ShardJob(maker.name, f'{maker.name}/{number:05d}{SUFFIX}', start,
                     min(start + step, items))
            for number, start in enumerate(range(0, items, step))]


def write_parts(
    makers: Sequence[PartMaker], output: Path, seed: int, offsets: np.ndarray | None, workers: int,
    minutes: float = math.inf,
) -> Manifest:
    """
    Write the missing shards, then the manifest of those that exist.

    Other parts that the folder holds already stay as they are.

    :param makers: of the parts to write.
    :param output: folder.
    :param seed: recorded in the manifest.
    :param offsets: (51, 3) m of the fits; None keeps those of the folder, if any.
    :param workers: number of processes, each with one thread.
    :param minutes: no shard is begun later than that; the next call continues.
    :return: the manifest.
    :raises UserError: too little disk space, the folder was started with other settings, or an
        input is missing or damaged.
    """
    output.mkdir(parents=True, exist_ok=True)
    jobs = {maker.name: jobs_of(maker) for maker in makers}
    _record_settings(output, {maker.name: maker.settings() for maker in makers} | {'seed': seed})
    missing = {name: [job for job in own if not (output / job.file).is_file()]
               for name, own in jobs.items()}
    _check_disk_space(makers, missing, output)
    by_name = {maker.name: maker for maker in makers}
    waiting = [(by_name[name], job) for name, own in missing.items() for job in own]
    total = sum((job.stop - job.start) * maker.samples_per_item() for maker, job in waiting)
    end = time.monotonic() + 60 * minutes
    with tqdm(total=round(total), desc='prepare', unit='sample', disable=None) as bar:
        for count in _write_shards(waiting, output, workers):
            bar.update(count)
            if time.monotonic() > end:
                break
    parts = {maker.name: _part(maker, jobs[maker.name], output) for maker in makers}
    if (output / MANIFEST).is_file():
        before = Manifest.load(output)
        parts = {part.name: part for part in before.parts} | parts
        offsets = np.array(before.offsets) if offsets is None else offsets
    if offsets is None:
        offsets = np.zeros((COUNT - JAW_COUNT, 3))
    # Read again: another process may have started another part meanwhile.
    manifest = Manifest(seed, _read_settings(output / _SETTINGS),
                        np.asarray(offsets, float).tolist(),
                        tuple(part for _, part in sorted(parts.items())))
    manifest.save(output)
    return manifest


def _write_shards(
    waiting: Sequence[tuple[PartMaker, ShardJob]], output: Path, workers: int,
) -> Iterator[int]:
    """Write shards and yield the number of samples of each."""
    if workers <= 1:
        for maker, job in waiting:
            yield make_shard(maker, job, output)
        return
    # Not fork, which the threads of torch and OpenCV do not survive.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        futures = [pool.submit(_shard_or_message, maker, job, output) for maker, job in waiting]
        try:
            for future in as_completed(futures):
                made = future.result()
                if isinstance(made, str):
                    raise UserError(made)
                yield made
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_worker() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent was killed, or a pool's workers would wait for it forever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _shard_or_message(maker: PartMaker, job: ShardJob, output: Path) -> int | str:
    """Run `make_shard`; return the message of a `UserError`, whose traceback cannot be pickled."""
    try:
        return make_shard(maker, job, output)
    except UserError as error:
        return str(error)


def make_shard(maker: PartMaker, job: ShardJob, output: Path) -> int:
    """Write one shard and return its number of samples; an empty shard is an empty file."""
    samples = maker.make(job.start, job.stop)
    path = output / job.file
    if samples:
        write_shard(path, samples)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return len(samples)


def _record_settings(output: Path, settings: dict[str, Any]) -> None:
    """Record the settings of the parts; refuse to mix two settings of one part."""
    path = output / _SETTINGS
    before = _read_settings(path)
    settings = json.loads(json.dumps(settings))
    changed = sorted(key for key in {*before} & {*settings} if before[key] != settings[key])
    if changed:
        raise UserError(f'--output: {output} was started with other settings of '
                        f'{", ".join(changed)}; name another folder or remove it')
    write_json(path, before | settings, sort_keys=True)


def _read_settings(path: Path) -> dict[str, Any]:
    """Return the settings that a folder was started with; empty where there are none yet."""
    try:
        settings = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}
        if not isinstance(settings, dict):
            raise ValueError('not an object')
        return settings
    except ValueError as error:
        raise UserError(f'--output: {path} is damaged ({error}); name another folder or remove '
                        'this one') from None


def _check_disk_space(
    makers: Sequence[PartMaker], missing: dict[str, list[ShardJob]], output: Path,
) -> None:
    needed = sum(maker.bytes_each * maker.samples_per_item() * (job.stop - job.start)
                 for maker in makers for job in missing[maker.name])
    free = shutil.disk_usage(output).free
    print(f'{output}: about {needed / 1e9:.2f} GB to write, {free / 1e9:.1f} GB free')
    if needed * _RESERVE > free:
        raise UserError(f'--output: {output} has {free / 1e9:.1f} GB free and about '
                        f'{needed / 1e9:.1f} GB are needed; make room or prepare less')


def _part(maker: PartMaker, jobs: Sequence[ShardJob], output: Path) -> Part:
    shards, validation = {}, 0
    for job in jobs:
        path = output / job.file
        if path.is_file() and path.stat().st_size:
            shard = Shard(path)
            shards[job.file] = len(shard)
            validation += int((shard.labels['is_validation'] > 0).sum())
    return Part(maker.name, maker.source, maker.licence, maker.open, shards, validation)
