"""Images and calibrations of a bag -> the messages that the node would have published."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from rclpy.serialization import deserialize_message
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.perception.state import pipeline_state, restore_pipeline
from trans3dhead_ros.ros.bag_tracking.bag_options import IMAGE_TYPES
from trans3dhead_ros.ros.bag_tracking.bag_publishers import BagPublishers
from trans3dhead_ros.ros.calibration import Calibration
from trans3dhead_ros.ros.image_decoding import decode_compressed, decode_image
from trans3dhead_ros.ros.outputs import Answer, Markers, ModelFacts, make_outputs
from trans3dhead_ros.ros.parameters import Settings
from trans3dhead_ros.ros.principal_head import PrincipalHead
from trans3dhead_ros.ros.throttled_logger import ThrottledLogger

_MOST_NOTES = 20
_KINDS = dict(zip(IMAGE_TYPES, (Image, CompressedImage), strict=True))


class BagAnswerer:
    """
    Does for one camera of a bag what the node does live, message by message.

    :param image_topic: its name tells whether images are rectified.
    :param image_type: one of `IMAGE_TYPES`.
    :param publishers: get the answers.
    :param horizontal_fov: degrees, for images without calibration; None invents no camera.
    :ivar notes: what was assumed, ignored or refused, and how often.
    """

    def __init__(
        self, pipeline: HeadPipeline, settings: Settings, image_topic: str, image_type: str,
        publishers: BagPublishers, horizontal_fov: float | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._rectified = settings.rectified(image_topic)
        self._kind = _KINDS[image_type]
        self._fov = horizontal_fov
        self._model = ModelFacts.of(pipeline.aligner)
        self._publishers = publishers
        self._outputs = make_outputs(publishers, '')
        for output in self._outputs:
            output.describe(self._model)
        self._principal = PrincipalHead()
        self.notes: Counter[str] = Counter()
        self._calibration = Calibration(ThrottledLogger(self), self._refuse)
        # The latest CameraInfo, and the one that made the camera, with the size of its image.
        self._info: bytes | None = None
        self._made_by: tuple[bytes | None, tuple[int, int]] = (None, (0, 0))
        self._made: Camera | None = None

    def camera_info(self, data: bytes) -> None:
        """Take a serialised CameraInfo for the images that follow; one that is damaged is noted."""
        try:
            self._calibration.message = _deserialized(data, CameraInfo)
        except ValueError as error:
            self._refuse(str(error))
        else:
            self._info = data

    def warning(self, text: str) -> None:
        """Note what the node would have logged."""
        # A recording may be wrong in ever new words.
        known = text in self.notes or len(self.notes) < _MOST_NOTES
        self.notes[text if known else 'and other things'] += 1

    def answer(self, data: bytes) -> tuple[list[tuple[str, bytes]], int]:
        """
        Return the serialised answers of one serialised image, by topic, and the number of heads.

        :raises ValueError: for an image that cannot be decoded: the node answers it with nothing.
        """
        message = _deserialized(data, self._kind)
        stamp = Time.from_msg(message.header.stamp).nanoseconds * 1e-9
        decode = decode_image if isinstance(message, Image) else decode_compressed
        image = decode(message, self._settings.max_image_pixels)
        camera = self._camera((image.shape[1], image.shape[0]))
        heads = self._principal.sorted(self._pipeline.track(image, stamp, camera))
        answer = Answer(message.header, heads, image, camera, self._model, self._settings)
        for output in self._outputs:
            if output.has_readers():
                output.publish(answer)
        return self._publishers.taken(), len(heads)

    def state(self) -> dict[str, Any]:
        """Return everything that the next answer depends on, as JSON values."""
        return {
            'pipeline': pipeline_state(self._pipeline), 'principal': self._principal.identity,
            'info': _text(self._info), 'made_by': [_text(self._made_by[0]), self._made_by[1]],
            'markers': [output.state for output in self._markers()],
            'notes': dict(self.notes),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """
        Continue from a state.

        :raises ValueError: for one that is damaged.
        """
        restore_pipeline(self._pipeline, state['pipeline'])
        self._principal.identity = state['principal']
        info, size = state['made_by']
        if info is not None:
            self.camera_info(base64.b64decode(info))
            self._camera(tuple(size))
        if state['info'] is not None:
            self.camera_info(base64.b64decode(state['info']))
        for output, shown in zip(self._markers(), state['markers'], strict=True):
            output.state = shown
        self.notes = Counter(state['notes'])
        # What is said once was said by the run before.
        self._publishers.taken()

    def _markers(self) -> list[Markers]:
        return [output for output in self._outputs if isinstance(output, Markers)]

    def _camera(self, size: tuple[int, int]) -> Camera | None:
        """Return the intrinsics of an image of (width, height) px."""
        if self._info is None:
            return None if self._fov is None else Camera.from_fov(size, self._fov)
        camera = self._calibration.camera(size, self._rectified)
        # One that is refused leaves the camera as it was.
        if camera is not self._made:
            self._made, self._made_by = camera, (self._info if camera else None, size)
        if camera is None and self._fov is not None:
            return Camera.from_fov(size, self._fov)
        return camera

    def _refuse(self, reason: str) -> None:
        self.warning(f'camera_info refused: {reason}')


def _deserialized(data: bytes, kind: type) -> Any:
    # A damaged message makes the middleware raise whatever it likes.
    try:
        return deserialize_message(data, kind)
    except Exception as error:
        raise UserError(f'the {kind.__name__} cannot be read ({error})') from None


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
