"""Processing of the images of one camera in the worker's thread: decode, track, publish, count."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Header

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.image_decoding import decode_compressed, decode_image
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.batching import InferenceTask
from trans3dhead_ros.perception.detector import Detector
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.ros.calibration import Calibration
from trans3dhead_ros.ros.node.statistics import Statistics
from trans3dhead_ros.ros.outputs import FrameResult, ModelInfo, Output
from trans3dhead_ros.ros.principal_head import PrincipalHead
from trans3dhead_ros.ros.stamps import stamp_seconds
from trans3dhead_ros.ros.throttled_logger import ONCE, ThrottledLogger
from trans3dhead_ros.ros.tracker_parameters import TrackerParameters
from trans3dhead_ros.types import Image

# Fields whose value does not change from one image to the next: one warning per value is enough.
_WARNED_ONCE = ('encoding', 'distortion_model')


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded image that waits for the network."""

    header: Header
    """Header of the image."""
    image: Image
    """(H, W, 3) uint8 BGR."""
    camera: Camera | None
    """Intrinsics; None for an uncalibrated image."""
    parameters: TrackerParameters
    """Parameters of the camera."""


class CameraTracker:
    """
    State of one camera that belongs to the worker's thread.

    :param node: the node, for its clock and its logger.
    :param name: name of the camera; empty where there is only one.
    :param topic: resolved image topic; its name tells whether images are rectified.
    :param pipeline: tracks the heads of this camera.
    :param outputs: publish the results.
    :param statistics: counters of the camera; safe to use from every thread.
    """

    def __init__(
        self, node: LifecycleNode, name: str, topic: str, pipeline: HeadPipeline,
        outputs: list[Output], statistics: Statistics,
    ) -> None:
        self.name = name
        self.statistics = statistics
        self._throttled_log = ThrottledLogger(node.get_logger(), name)
        self.calibration = Calibration(
            self._throttled_log, lambda reason: self.reject('camera_info', reason))
        """Its `message` is set from the executor's thread."""
        self._clock = node.get_clock()
        self._topic = topic
        self._pipeline = pipeline
        self._outputs = outputs
        self._principal = PrincipalHead()
        self._parameters: TrackerParameters | None = None
        self._depth = BitDepth()
        self._next_due = 0.0
        self._set_model(pipeline.aligner)

    def prepare(
        self, message: ImageMessage | CompressedImage, parameters: TrackerParameters,
    ) -> Frame | None:
        """
        Decode an image, unless it exceeds `max_rate`.

        :param message: the image; an invalid one is counted and logged.
        :param parameters: present parameters of the camera.
        :return: the frame, None for an image that is not processed.
        """
        self._apply(parameters)
        if not self._is_due(parameters.max_rate):
            self.statistics.skipped()
            return None
        try:
            stamp = message.header.stamp
            if stamp.sec < 0:
                raise UserError(f'stamp: {stamp.sec} s is before the epoch')
            decode = decode_image if isinstance(message, ImageMessage) else decode_compressed
            image = decode(message, parameters.max_image_pixels, self._depth)
        except ValueError as error:
            self.reject('image', str(error))
            return None
        if self._depth.note:
            self._throttled_log.warn(self._depth.note, f'{self._depth.note}; the parameter '
                                     'significant_bits sets the number', ONCE)
        camera = self.calibration.camera(
            (image.shape[1], image.shape[0]), parameters.rectified(self._topic))
        return Frame(message.header, image, camera, parameters)

    def tracking_task(self, frame: Frame) -> InferenceTask[list[Head]]:
        """Return the tracking of this frame, which the network serves together with others."""
        return self._pipeline.tracking_task(
            frame.image, stamp_seconds(frame.header.stamp), frame.camera)

    def publish(self, frame: Frame, heads: list[Head], seconds: float) -> None:
        """
        Publish the heads of a frame.

        :param frame: the frame.
        :param heads: its heads.
        :param seconds: processing time from the message to the heads.
        """
        heads = self._principal.sort(heads)
        if heads and not frame.header.frame_id:
            self._throttled_log.warn(
                'frame', 'the header of the images has no frame_id: nothing is sent to TF', ONCE)
        result = FrameResult(frame.header, heads, frame.image, frame.camera, self._model,
                             frame.parameters)
        for output in self._outputs:
            if output.has_subscribers():
                output.publish(result)
            else:
                output.clear()
        now = stamp_seconds(self._clock.now().to_msg())
        self.statistics.processed(seconds, now - stamp_seconds(frame.header.stamp), len(heads))

    def reject(self, kind: str, reason: str) -> None:
        """
        Count an invalid message and log a throttled warning.

        :param kind: 'image' or 'camera_info'.
        :param reason: one line that starts with the field.
        """
        count = self.statistics.rejected(kind)
        field = reason.split(':')[0]
        text = f'bad {kind} dropped ({count} so far): {reason}'
        if field in _WARNED_ONCE:
            self._throttled_log.warn(f'{kind} {reason}', text, ONCE)
        else:
            self._throttled_log.warn(f'{kind} {field}', text)

    def set_aligner(self, aligner: HeadAligner) -> None:
        """Use another network from the next frame on; tracks continue where they can."""
        old = self._pipeline.aligner.head_model
        new = aligner.head_model
        self._pipeline.aligner = aligner
        # Smoothed quantities must have the same meaning before and after.
        if old.mean.shape != new.mean.shape or old.shape_count != new.shape_count \
                or old.expression_names != new.expression_names:
            self._pipeline.reset()
        self._set_model(aligner)

    def set_detector(self, detector: Detector) -> None:
        """Use another detector from the next frame on."""
        self._pipeline.detector = detector

    def reset(self) -> None:
        """Drop all tracks."""
        self._pipeline.reset()
        self._principal = PrincipalHead()

    def clear(self) -> None:
        """Remove what was published and stays visible."""
        for output in self._outputs:
            output.clear()

    def _set_model(self, aligner: HeadAligner) -> None:
        self._model = ModelInfo.of(aligner)
        for output in self._outputs:
            output.set_model(self._model)

    def _apply(self, parameters: TrackerParameters) -> None:
        if parameters == self._parameters:
            return
        if parameters.significant_bits != self._depth.fixed:
            self._depth = BitDepth(parameters.significant_bits)
        self._parameters = parameters
        try:
            self._pipeline.config = parameters.pipeline_config()
        except ValueError as error:
            self._throttled_log.warn('parameters', f'parameters are not applied: {error}')

    def _is_due(self, max_rate: float) -> bool:
        now = time.monotonic()
        if max_rate <= 0.0:
            return True
        if now < self._next_due:
            return False
        # Counted from the due time, so that the average rate is the requested one.
        self._next_due = max(self._next_due + 1.0 / max_rate, now)
        return True
