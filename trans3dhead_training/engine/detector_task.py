"""The training of the detector of whole heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.head_detections import DEFAULT_SCORE, EVIDENCE, HeadDetections
from trans3dhead_ros.inference.head_search import HeadSearch
from trans3dhead_ros.inference.torch_engine import TorchEngine
from trans3dhead_ros.model_files.detector_files import read_detector_metadata
from trans3dhead_ros.model_files.detector_metadata import SCORE_FUSION
from trans3dhead_ros.network.detector_checkpoint import save_detector
from trans3dhead_ros.network.head_detector import UNCALIBRATED, HeadDetector, HeadProposals
from trans3dhead_ros.types import Array, BoolArray, Image
from trans3dhead_training.core.contact_sheet import contact_sheet
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.detection.detection_batch import DetectionBatch
from trans3dhead_training.detection.detection_dataset import DetectionDataset
from trans3dhead_training.detection.detection_metrics import (
    PictureMatches,
    RecallCurve,
    match_heads,
    missed_percent,
)
from trans3dhead_training.detection.labelled_picture import LabelledPicture
from trans3dhead_training.detection.picture_sources import (
    read_face_boxes,
    read_face_crops,
    read_head_boxes,
    read_portraits,
    read_rooms,
    read_scenes,
)
from trans3dhead_training.detection.score_calibration import fit_score
from trans3dhead_training.engine.config import DetectorTrainConfig
from trans3dhead_training.engine.initialization import (
    credit_initial_weights,
    load_detector_weights,
)
from trans3dhead_training.engine.task import Task
from trans3dhead_training.losses.detector_criterion import DetectorCriterion

VALIDATION_SIDE = 640
"""Longer side of the pictures of a validation, px."""
_CALIBRATION_PICTURES = 400
"""Pictures of the training that the scores are calibrated on, of heads and of rooms together."""

_LOWEST_SCORE = 0.02
_RATES = {'missed': 0.1, 'missed_at_1': 1.0}
_SAMPLE_TILE, _SAMPLE_COUNT, _COLUMNS = 400, 12, 4
_HEAD_COLOUR, _FACE_COLOUR, _LABEL_COLOUR = (60, 60, 255), (0, 200, 255), (60, 220, 60)
_CREDITS = {
    'heads': ('photographs with boxes of whole heads', 'research use'),
    'masks': ('photographs of faces with and without masks', 'research use'),
    'rooms': ('photographs of rooms', 'research use'),
    'faces': ('photographs of faces with 68 points', 'research use'),
    'scenes': ('synthetic people', 'CC0 and MIT assets'),
}
_OPEN_CREDITS = {
    'rooms': ('panoramas', 'CC0'),
    'faces': ('portraits of members of the United States Congress', 'public domain'),
}


class DetectorTask(Task):
    """
    The detector, its views and its loss.

    :param config: of the training.
    :param device: of the network.
    :param reduce_counts: mean over the processes of a shared training.
    :raises UserError: a folder of pictures is missing.
    """

    selection_metric = 'missed_percent'

    def __init__(self, config: DetectorTrainConfig, device: torch.device,
                 reduce_counts: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.config, self.device = config, device
        self.panels = {'held-out pictures: heads that are missed, %': 'missed',
                       'held-out rooms: false heads a picture': 'false'}
        folder = Path(config.data) if config.data else data_root()
        read = self._read_open if config.open_only else self._read
        pictures = read(folder)
        self.training = DetectionDataset(pictures, config.sampling)
        labelled = 'scenes' if config.open_only else 'heads'
        self.calibration_pictures = [
            picture for source in (pictures[labelled], pictures['rooms'])
            for picture in source[::max(1, 2 * len(source) // _CALIBRATION_PICTURES)]]
        if not self.held_out_heads:
            raise UserError(f'{labelled}: no held-out pictures; it needs about 20 pictures')
        network = HeadDetector(config.network)
        self._before = (load_detector_weights(network, Path(config.init_checkpoint))
                        if config.init_checkpoint else {})
        self._fusion: Array | None = None
        self.network = network.to(device, memory_format=torch.channels_last)
        self.criterion = DetectorCriterion(config.loss_weights, reduce_counts=reduce_counts)

    def _read(self, folder: Path) -> dict[str, list[LabelledPicture]]:
        """Read the pictures of every source, and those that are held out."""
        config = self.config
        heads, rooms = folder / 'heads', folder / 'rooms'
        pictures = {'heads': read_head_boxes(heads, False), 'rooms': read_rooms(rooms, False)}
        if (folder / 'masks').is_dir():
            pictures['masks'] = read_face_boxes(folder / 'masks', False)
        if (folder / 'faces').is_dir():
            pictures['faces'] = read_face_crops(folder / 'faces', config.faces_per_source,
                                                config.seed)
        if config.scenes:
            pictures['scenes'] = read_scenes(Path(config.scenes))
        self.held_out_heads = read_head_boxes(heads, True)[::config.validate_every]
        self.held_out_rooms = read_rooms(rooms, True)[::config.validate_every]
        return pictures

    def _read_open(self, folder: Path) -> dict[str, list[LabelledPicture]]:
        """Read the pictures that are free for any use; a scene without people is a room."""
        config = self.config
        scenes = read_scenes(Path(config.scenes), False)
        held_out = read_scenes(Path(config.scenes), True)[::config.validate_every]
        self.held_out_heads = [picture for picture in held_out if len(picture.heads)]
        self.held_out_rooms = [picture for picture in held_out if not len(picture.heads)]
        pictures = {'scenes': [picture for picture in scenes if len(picture.heads)],
                    'rooms': [picture for picture in scenes if not len(picture.heads)]}
        if config.portrait_fits:
            pictures['faces'] = read_portraits(folder / 'faces', Path(config.portrait_fits))
        return pictures

    def batch(self, number: int, progress: float, share: tuple[int, int]) -> DetectionBatch:
        """Make a batch of views, see `Task.batch`."""
        return self.training.training_batch(
            self.config.batch_size, (self.config.seed, number), share)

    def loss(self, batch: DetectionBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Run the detector, see `Task.loss`."""
        self.network.train()
        return self.criterion(self.network(batch.pixels()), batch)

    def validate(self, network: HeadDetector) -> dict[str, float]:
        """
        Count missed and false heads, see `Task.validate`.

        :param network: in evaluation mode; its scores are calibrated first, on pictures of the
            training.
        :return: `missed_percent`, of the held-out heads that are at least 12 px high in pictures
            of 640 px, at 0.1 false detections a picture; the same by height, and at 1 false
            detection; `false_in_rooms`, a picture, at the default score.
        """
        self._calibrate(network)
        search = self._search(network, _LOWEST_SCORE)
        curve = RecallCurve([_match(picture, search.detect(picture.image))
                             for picture in self.held_out_heads])
        threshold = curve.threshold(_RATES['missed'])
        metrics = {'missed_percent': 100 * (1 - curve.recall(threshold, (12.0, np.inf))),
                   **missed_percent(curve, _RATES)}
        if self.held_out_rooms:
            scores = [search.detect(picture.image).score for picture in self.held_out_rooms]
            metrics['false_in_rooms'] = float(np.mean([
                (score >= DEFAULT_SCORE).sum() for score in scores]))
        return metrics

    def _calibrate(self, network: HeadDetector) -> None:
        """Fit the calibration of the graph, then the weights of the evidence for whole heads."""
        network.calibration.copy_(torch.tensor(UNCALIBRATED))
        calibration = fit_score(*self._evidence(network, len(UNCALIBRATED)))
        if calibration is not None:
            network.calibration.copy_(torch.from_numpy(calibration))
        self._fusion = fit_score(*self._evidence(network, len(EVIDENCE)))

    def _evidence(self, network: HeadDetector, columns: int) -> tuple[Array, BoolArray]:
        search = self._search(network, _LOWEST_SCORE)
        groups = [search.groups([picture.image])[0] for picture in self.calibration_pictures]
        matches = [_match(picture, group.heads) for picture, group
                   in zip(self.calibration_pictures, groups, strict=True)]
        return (np.concatenate([group.evidence[:, :columns] for group in groups]),
                np.concatenate([match.is_true for match in matches]))

    def write_samples(self, path: Path, network: HeadDetector) -> None:
        """Draw held-out pictures, see `Task.write_samples`."""
        search = self._search(network, DEFAULT_SCORE)
        rows = np.linspace(0, len(self.held_out_heads) - 1, min(
            _SAMPLE_COUNT, len(self.held_out_heads))).astype(int)
        tiles = [_tile(self.held_out_heads[row], search) for row in rows]
        partial = path.with_name(f'.{path.name}')
        cv2.imwrite(str(partial), contact_sheet(
            [tiles[start:start + _COLUMNS] for start in range(0, len(tiles), _COLUMNS)]))
        partial.replace(path)

    def save_checkpoint(self, path: Path, network: HeadDetector,
                        metadata: Mapping[str, Any]) -> None:
        """Write a checkpoint, see `Task.save_checkpoint`."""
        credits = {**_CREDITS, **_OPEN_CREDITS} if self.config.open_only else _CREDITS
        used = [credits[name] for name in self.training.names]
        licences = ', '.join(dict.fromkeys(licence for _, licence in used))
        credit: dict[str, Any] = credit_initial_weights({
            'training_data': '; '.join(text for text, _ in used),
            'licence': f'Apache-2.0 for the tensors; what they were trained on: {licences}',
        }, self._before)
        if self._fusion is not None:
            credit[SCORE_FUSION] = self._fusion.tolist()
        save_detector(path, network, {**credit, **metadata})

    def read_metadata(self, path: Path) -> dict[str, Any]:
        """Return the metadata of a checkpoint."""
        return read_detector_metadata(path)

    def _search(self, network: HeadDetector, min_score: float) -> HeadSearch:
        engine = TorchEngine(HeadProposals(network), str(self.device))
        return HeadSearch(engine, VALIDATION_SIDE, min_score, fusion=self._fusion)


def _match(picture: LabelledPicture, found: HeadDetections) -> PictureMatches:
    """
    Return how detections match the labels, in px of the search.

    Heads that labellers missed are excused: the surest false detections are mostly such heads.
    """
    scale = VALIDATION_SIDE / max(picture.image.shape[:2])
    found = found.mapped(np.full(2, scale), np.zeros(2))
    return match_heads(0.5 * (found.head_box[:, :2] + found.head_box[:, 2:]), found.score,
                       scale * picture.heads.head_box, scale * picture.missed.head_box)


def _tile(picture: LabelledPicture, search: HeadSearch) -> Image:
    """Draw labels in green, found heads in red and their landmark boxes in yellow."""
    found, canvas = search.detect(picture.image), picture.image.copy()
    for boxes, colour in ((picture.heads.head_box, _LABEL_COLOUR), (found.head_box, _HEAD_COLOUR),
                          (found.landmark_box[found.face > 0.5], _FACE_COLOUR)):
        for x0, y0, x1, y1 in np.round(boxes).astype(int).tolist():
            cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, 1)
    scale = _SAMPLE_TILE / max(canvas.shape[:2])
    small = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.zeros((_SAMPLE_TILE, _SAMPLE_TILE, 3), np.uint8)
    tile[:small.shape[0], :small.shape[1]] = small[:_SAMPLE_TILE, :_SAMPLE_TILE]
    return tile
