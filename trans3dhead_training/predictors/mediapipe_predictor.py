"""MediaPipe's face landmarker: 478 points of a 256² crop, 68 of them used as iBUG landmarks."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.crop import crop_window, landmark_box
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.predictors.predictor import Alignment, Predictor

INPUT_SIZE = 256
FIRST_CROP_SCALE, SECOND_CROP_SCALE = 1.6, 1.5

IBUG_POINTS = np.array([
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87])
"""(68,) index of the mesh point that corresponds to each iBUG landmark."""

_RIGHT_EYE, _LEFT_EYE = 33, 263
_MODEL = 'face_landmarks_detector.tflite'


class MediaPipePredictor(Predictor):
    """
    Runs `face_landmarks_detector.tflite` from `face_landmarker.task` twice for every box.

    The second crop is centred on the first prediction and rotated upright by the outer eye corners.

    :param folder: with `face_landmarker.task`.
    :raises UserError: the runtime or the file is missing.
    """

    name = 'mediapipe'

    def __init__(self, folder: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise UserError('predictor: mediapipe needs `pip install ai-edge-litert`') from error
        try:
            with zipfile.ZipFile(folder / 'face_landmarker.task') as archive:
                model = archive.read(_MODEL)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(f'baselines: {folder} does not hold MediaPipe ({error})') from error
        self._interpreter = Interpreter(model_content=model, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]['index']
        # The other two outputs are scalars: face presence and tongue.
        self._output = max(self._interpreter.get_output_details(),
                           key=lambda detail: int(np.prod(detail['shape'])))['index']

    def predict(self, image: Image, boxes: Array) -> list[Alignment]:
        """Align the head of every box; see `Predictor`."""
        return [Alignment(self._align(image, box)[IBUG_POINTS]) for box in boxes]

    def _align(self, image: Image, box: Array) -> Array:
        """Return the 478 points (478, 2) px."""
        centre, side = crop_window(box, FIRST_CROP_SCALE)
        points = self._points(image, centre, side, 0.0)
        eyes = points[_LEFT_EYE] - points[_RIGHT_EYE]
        angle = float(np.arctan2(eyes[1], eyes[0]))
        # The bounding box of the points in the upright crop.
        upright = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        centre, side = crop_window(landmark_box(points @ upright.T), SECOND_CROP_SCALE)
        return self._points(image, centre @ upright, side, angle)

    def _points(self, image: Image, centre: Array, side: float, angle: float) -> Array:
        """Run the network on a square window that is rotated by `angle` (radians) in the image."""
        step = side / INPUT_SIZE
        turn = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        to_image = np.column_stack([turn, centre - turn @ np.full(2, (INPUT_SIZE - 1) / 2)])
        crop = cv2.warpAffine(image, to_image, (INPUT_SIZE, INPUT_SIZE),
                              flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        rgb = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
        self._interpreter.set_tensor(self._input, rgb[None])
        self._interpreter.invoke()
        points = self._interpreter.get_tensor(self._output).reshape(-1, 3)[:, :2].astype(float)
        # Theirs are measured from the crop's edge, ours from the centre of its first pixel.
        return (points - 0.5) @ to_image[:, :2].T + to_image[:, 2]
