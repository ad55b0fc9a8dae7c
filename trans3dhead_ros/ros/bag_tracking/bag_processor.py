"""Turn images and calibrations of a bag into the messages that the node would have published."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from trans3dhead_ros.bags.image_topics import IMAGE_TYPES
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.image_decoding import decode_compressed, decode_image
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.ros.bag_tracking.bag_publishers import BagPublishers
from trans3dhead_ros.ros.calibration import Calibration
from trans3dhead_ros.ros.image_headers import strip_leading_slash
from trans3dhead_ros.ros.markers import delete_all
from trans3dhead_ros.ros.outputs import FrameResult, ModelInfo, make_outputs
from trans3dhead_ros.ros.principal_head import PrincipalHead
from trans3dhead_ros.ros.stamps import stamp_seconds
from trans3dhead_ros.ros.throttled_logger import ThrottledLogger
from trans3dhead_ros.ros.tracker_parameters import TrackerParameters

_MAX_NOTES = 20
_KINDS = dict(zip(IMAGE_TYPES, (Image, CompressedImage), strict=True))


class BagProcessor:
    """
    Does for one camera of a bag what the node does live, message by message.

    :param pipeline: tracks the heads.
    :param parameters: parameters of the node.
    :param image_topic: topic of the images; its name tells whether they are rectified.
    :param image_type: one of `IMAGE_TYPES`.
    :param publishers: collects the messages.
    :param horizontal_fov: of images without calibration, in degrees; None assumes no camera.
    :ivar notes: what was assumed, ignored or refused, and how often.
    :ivar last_id: the highest id of a head so far.
    """

    def __init__(
        self, pipeline: HeadPipeline, parameters: TrackerParameters, image_topic: str,
        image_type: str, publishers: BagPublishers, horizontal_fov: float | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._parameters = parameters
        self._rectified = parameters.rectified(image_topic)
        self._kind = _KINDS[image_type]
        self._fov = horizontal_fov
        self._model = ModelInfo.of(pipeline.aligner)
        self._publishers = publishers
        self._outputs = make_outputs(publishers, '')
        for output in self._outputs:
            output.set_model(self._model)
        self._principal = PrincipalHead()
        self._depth, self._depth_note = BitDepth(parameters.significant_bits), ''
        self.notes: Counter[str] = Counter()
        self._calibration = Calibration(ThrottledLogger(self), self._refuse_camera_info)
        self.last_id = 0
        self._id_offset = 0
        self._resumed = False

    def resume(self, last_id: int, notes: dict[str, int]) -> None:
        """
        Continue after the images of an earlier run, with new ids.

        :param last_id: the highest id of a head in that run.
        :param notes: its notes.
        """
        self.last_id = self._id_offset = last_id
        self.notes = Counter(notes)
        self._resumed = True
        # What is published once was published by the earlier run.
        self._publishers.drain()

    def set_camera_info(self, data: bytes) -> None:
        """Use a serialized CameraInfo for the images that follow; a damaged one is noted."""
        try:
            self._calibration.message = _deserialize(data, CameraInfo)
        except UserError as error:
            self._refuse_camera_info(str(error))

    def warning(self, text: str) -> None:
        """Note what the node would have logged."""
        # Damaged recordings may give ever new texts.
        known = text in self.notes or len(self.notes) < _MAX_NOTES
        self.notes[text if known else 'and others'] += 1

    def process(self, data: bytes) -> tuple[list[tuple[str, bytes]], int]:
        """
        Track the heads of one serialized image.

        :param data: of the type that was given.
        :return: topics and serialized messages, and the number of heads.
        :raises UserError: if the image cannot be decoded; the node publishes nothing for it.
        """
        message = _deserialize(data, self._kind)
        if note := strip_leading_slash(message.header):
            self.warning(note)
        stamp = stamp_seconds(message.header.stamp)
        decode = decode_image if isinstance(message, Image) else decode_compressed
        image = decode(message, self._parameters.max_image_pixels, self._depth)
        if self._depth.note and self._depth.note != self._depth_note:
            self._depth_note = self._depth.note
            self.warning(f'{self._depth.note}; -p significant_bits:=N sets the number')
        camera = self._camera((image.shape[1], image.shape[0]))
        heads = [self._with_new_id(head) for head in self._pipeline.track(image, stamp, camera)]
        result = FrameResult(message.header, self._principal.sort(heads), image, camera,
                             self._model, self._parameters)
        if self._resumed:
            self._remove_earlier_markers(message)
        for output in self._outputs:
            if output.has_subscribers():
                output.publish(result)
        return self._publishers.drain(), len(heads)

    def _with_new_id(self, head: Head) -> Head:
        """Return a head with an id above those of the run that is resumed."""
        head = replace(head, track_id=self._id_offset + head.track_id) if self._id_offset else head
        self.last_id = max(self.last_id, head.track_id)
        return head

    def _remove_earlier_markers(self, message: Image | CompressedImage) -> None:
        """Remove the markers of the run that is resumed, whose ids do not occur again."""
        self._resumed = False
        for topic, publisher in self._publishers.topics.items():
            if topic.endswith('/head_markers'):
                publisher.publish(delete_all(message.header))

    def _camera(self, size: tuple[int, int]) -> Camera | None:
        """Return the intrinsics of an image of (width, height) px."""
        camera = None
        if self._calibration.message is not None:
            camera = self._calibration.camera(size, self._rectified)
        if camera is None and self._fov is not None:
            return Camera.from_fov(size, self._fov)
        return camera

    def _refuse_camera_info(self, reason: str) -> None:
        self.warning(f'camera_info refused: {reason}')


def _deserialize(data: bytes, kind: type) -> Any:
    # The middleware has no common class for what a damaged message makes it raise.
    try:
        return deserialize_message(data, kind)
    except Exception as error:
        raise UserError(f'the {kind.__name__} cannot be read ({error})') from None
