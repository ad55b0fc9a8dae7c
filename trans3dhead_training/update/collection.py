"""The stage `collect`: track the heads of the recordings, and keep crops of some of them."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.atomic_files import write_bytes, write_json
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import JAW
from trans3dhead_ros.media.frame_order import CutDetector
from trans3dhead_ros.media.frame_source import Frame
from trans3dhead_ros.perception.crop import crop_square, crop_window, landmark_box
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.perception.pipeline import HeadPipeline, PipelineConfig
from trans3dhead_ros.perception.smoothing import Smoothing
from trans3dhead_ros.types import Array
from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.update.collected_heads import CollectedHeads, TrackedHeads
from trans3dhead_training.update.head_selection import (
    NoveltyFilter,
    choose_heads,
    people_of,
    time_jumps,
)
from trans3dhead_training.update.head_views import FEW_VIEWS, average_views
from trans3dhead_training.update.recordings import Recording
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_run import UpdateRun
from trans3dhead_training.update.whole_files import (
    read_arrays,
    read_json,
    write_arrays,
)

CROP_SCALE = 2.4
"""Side of a crop / longer side of the landmark box: room for crops that are off the head."""
MAX_CROP_PX = 288

PIECE_FRAMES = 1500
"""Frames that are looked at between two files; tracks end there, so that a run can go on."""
_MIN_BOX_PX = 20.0
_MIN_SCORE = 0.2


def track_pipeline(model: Path, threads: int) -> HeadPipeline:
    """Return a pipeline without smoothing, whose answers are those of single frames."""
    return HeadPipeline.load(model, threads=threads,
                             config=PipelineConfig(smoothing=Smoothing(enabled=False)))


def collect(
    run: UpdateRun, sources: Sequence[str], topic: str | None, pipeline: HeadPipeline,
    config: UpdateConfig,
) -> None:
    """
    Track the heads of recordings, and keep crops of those that are worth learning from.

    :param run: the folder; what it has already is not made again.
    :param sources: the recordings.
    :param topic: of the images of bags.
    :param pipeline: see `track_pipeline`.
    :param config: the settings.
    :raises UserError: a recording cannot be read, or no recording shows a head.
    """
    plans, pieces = _plans(sources, topic, config), pieces_of(run)
    _write_cameras(run, sources, topic, config.fov_deg)
    total = sum(plan.frames for plan in plans)
    most = max(50, math.ceil(3 * config.heads / max(sum(plan.pieces for plan in plans), 1)))
    with tqdm(total=total, desc='collect', unit='frame', disable=None) as bar:
        for plan in plans:
            for piece in range(plan.pieces):
                path = pieces / f'{plan.number:03d}_{piece:04d}.npz'
                count = min(PIECE_FRAMES, plan.frames - piece * PIECE_FRAMES)
                if not path.is_file():
                    _collect_piece(plan, piece, topic, pipeline, most, path, bar)
                else:
                    bar.update(count)
    _choose(run, pieces, config)


def pieces_of(run: UpdateRun) -> Path:
    """Return the folder of what `collect` has found so far; without use once it is complete."""
    return run.collected / 'pieces'


def read_cameras(run: UpdateRun) -> list[Camera | None]:
    """Return the camera of each recording of a run; None where it is not known."""
    stored = read_json(run.cameras)['cameras']
    return [None if values is None else Camera(
        np.array(values['K']), np.array(values['D']), tuple(values['size']), values['model'])
        for values in stored]


def _write_cameras(
    run: UpdateRun, sources: Sequence[str], topic: str | None, fov_deg: float,
) -> None:
    cameras = []
    for source in sources:
        with Recording(source, topic) as recording:
            camera = recording.camera(fov_deg)
            for line in recording.losses:
                print(f'not read: {line}', file=sys.stderr)
        cameras.append(None if camera is None else {
            'K': camera.K.tolist(), 'D': camera.D.tolist(), 'size': list(camera.size),
            'model': camera.model})
    write_json(run.cameras, {'cameras': cameras})


@dataclass(frozen=True)
class _Plan:
    """Which frames of a recording are looked at."""

    number: int
    """Of the recording."""
    source: str
    step: int
    """Every how manyth frame is looked at."""
    frames: int
    """How many that are."""

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return math.ceil(self.frames / PIECE_FRAMES)


def _plans(sources: Sequence[str], topic: str | None, config: UpdateConfig) -> list[_Plan]:
    lengths = []
    for source in sources:
        with Recording(source, topic) as recording:
            lengths.append((recording.count, recording.fps))
    at_rate = [max(1, round(fps / config.rate_hz)) for _, fps in lengths]
    total = sum(math.ceil(count / step) for (count, _), step in zip(lengths, at_rate, strict=True))
    factor = max(1.0, total / config.frames)
    steps = [math.ceil(step * factor) for step in at_rate]
    return [_Plan(number, source, step, math.ceil(count / step))
            for number, (source, (count, _), step) in enumerate(
                zip(sources, lengths, steps, strict=True))]


def _collect_piece(
    plan: _Plan, piece: int, topic: str | None, pipeline: HeadPipeline, most: int, path: Path,
    bar: tqdm,
) -> None:
    pipeline.reset()
    novelty, cuts = NoveltyFilter(), CutDetector()
    ids: dict[int, int] = {}
    tracked, kept, crops = [], [], []
    with Recording(plan.source, topic) as recording:
        for frame in _frames_of_piece(recording, plan, piece):
            if cuts.is_cut(frame.image):
                pipeline.reset()
            for head in filter(_is_usable, pipeline.track(frame.image, frame.stamp)):
                # Ids count in the whole process; a run that goes on has to find the same ones.
                head = replace(head, track_id=ids.setdefault(head.track_id, len(ids)))
                tracked.append(_tracked_row(plan.number, piece, frame.stamp, head))
                row, crop = _cut_out(plan.number, piece, frame, head)
                if novelty.is_new(head.track_id, row.rotation[0], row.points[0], crop):
                    average = average_views(
                        pipeline.aligner, crop, row.to_crop(0, row.points[0]), head.rotation,
                        FEW_VIEWS)
                    kept.append(replace(row, spread=np.array([average.spread])))
                    crops.append(encode_jpeg(crop))
            bar.update()
        for line in recording.losses:
            print(f'not read: {line}', file=sys.stderr)
    _write_piece(path, tracked, kept, crops, most)


def _frames_of_piece(recording: Recording, plan: _Plan, piece: int) -> Iterator[Frame]:
    first, end = (number * PIECE_FRAMES * plan.step for number in (piece, piece + 1))
    for frame in recording.frames(first, plan.step):
        if frame.index >= end:
            return
        yield frame


def _is_usable(head: Head) -> bool:
    side = float((head.box[2:] - head.box[:2]).max())
    return head.face_visible and head.score >= _MIN_SCORE and side >= _MIN_BOX_PX


def _tracked_row(number: int, piece: int, stamp: float, head: Head) -> TrackedHeads:
    return TrackedHeads(np.array([number]), np.array([piece]), np.array([stamp]),
                        np.array([head.track_id]), _points(head)[None].astype(np.float32))


def _points(head: Head) -> Array:
    points = head.landmarks[:, :2].copy()
    points[JAW] = head.landmarks_contour[JAW]
    return points


def _cut_out(number: int, piece: int, frame: Frame, head: Head) -> tuple[CollectedHeads, Array]:
    points = _points(head)
    centre, side = crop_window(landmark_box(points), CROP_SCALE)
    size = int(np.clip(round(side), 48, MAX_CROP_PX))
    height, width = frame.image.shape[:2]
    row = CollectedHeads(
        np.array([f'{number:03d}_{frame.index:07d}_{head.track_id}.jpg']), np.array([-1]),
        np.array([number]), np.array([piece]), np.array([head.track_id]),
        np.array([frame.stamp]), points[None], head.rotation[None], np.array([head.score]),
        np.array([0.0]), centre[None], np.array([side]), np.array([size]),
        np.array([[width, height]]))
    return row, crop_square(frame.image, centre, side, size)


def _write_piece(
    path: Path, tracked: Sequence[TrackedHeads], kept: Sequence[CollectedHeads],
    crops: Sequence[bytes], most: int,
) -> None:
    """Write the heads of a piece, the crops of at most so many of them."""
    arrays: dict[str, np.ndarray] = {'count': np.array(len(tracked))}
    if tracked:
        every, heads = TrackedHeads.join(tracked), CollectedHeads.join(kept)
        chosen = choose_heads(replace(heads, person=heads.track), time_jumps(heads, every), most)
        bytes_of = [crops[row] for row in chosen]
        arrays |= {f'tracked_{name}': values for name, values in vars(every).items()}
        arrays |= {f'kept_{name}': values for name, values in vars(heads[chosen]).items()}
        arrays |= {'crop_end': np.cumsum([len(data) for data in bytes_of]),
                   'crops': np.frombuffer(b''.join(bytes_of), np.uint8)}
    write_arrays(path, arrays)


def _read_piece(path: Path) -> tuple[TrackedHeads, CollectedHeads, list[bytes]] | None:
    """Return the heads and the crops of a piece; None without any."""
    if not int(read_arrays(path, ['count'])['count']):
        return None
    tracked, kept = (
        kind(*read_arrays(path, [f'{prefix}_{field.name}' for field in fields(kind)]).values())
        for prefix, kind in (('tracked', TrackedHeads), ('kept', CollectedHeads)))
    stored = read_arrays(path, ['crops', 'crop_end'])
    data, ends = stored['crops'].tobytes(), stored['crop_end'].tolist()
    return tracked, kept, [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _choose(run: UpdateRun, pieces: Path, config: UpdateConfig) -> None:
    """Choose among the heads of all pieces, and write the crops and the tables."""
    found = [piece for path in sorted(pieces.glob('*.npz')) if (piece := _read_piece(path))]
    if not found:
        raise UserError('collect: no head was found in the recordings; are the images upright, '
                        'and the heads at least 20 pixels high?')
    tracked = TrackedHeads.join([piece[0] for piece in found])
    heads = CollectedHeads.join([piece[1] for piece in found])
    crops = [crop for piece in found for crop in piece[2]]
    person_of = dict(zip(_track_keys(tracked), people_of(tracked).tolist(), strict=True))
    person = [person_of[key] for key in _track_keys(heads)]
    heads = replace(heads, person=np.array(person))
    chosen = choose_heads(heads, time_jumps(heads, tracked), config.heads)
    for row in chosen:
        write_bytes(run.crops / str(heads.name[row]), crops[row])
    tracked.save(run.tracked)
    heads[chosen].save(run.heads)
    shutil.rmtree(pieces)


def _track_keys(heads: TrackedHeads | CollectedHeads) -> list[tuple[int, ...]]:
    columns = heads.recording.tolist(), heads.piece.tolist(), heads.track.tolist()
    return list(zip(*columns, strict=True))
