"""What the worker does with the images of one camera: decode, track, publish, count."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.batching import InferenceTask
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.ros.calibration import Calibration
from trans3dhead_ros.ros.image_decoding import decode_compressed, decode_image
from trans3dhead_ros.ros.node.statistics import Statistics
from trans3dhead_ros.ros.outputs import Answer, ModelFacts, Output
from trans3dhead_ros.ros.parameters import Settings
from trans3dhead_ros.ros.principal_head import PrincipalHead
from trans3dhead_ros.ros.throttled_logger import ONCE, ThrottledLogger

# Which of these it is does not change from one image to the next.
_SAID_ONCE = ('encoding', 'distortion_model')


@dataclass(frozen=True, eq=False)
class Frame:
    """An image that is decoded and waits for the network."""

    header: Header
    stamp: Time
    image: NDArray[np.uint8]
    camera: Camera | None
    settings: Settings


class CameraTracker:
    """
    Everything of one camera that belongs to the worker's thread.

    :param name: empty where there is only one camera.
    :param topic: the resolved image topic, which tells whether images are rectified.
    :ivar calibration: its `message` is set from the executor's thread.
    :ivar statistics: safe to use from every thread.
    """

    def __init__(
        self, node: LifecycleNode, name: str, topic: str, pipeline: HeadPipeline,
        outputs: list[Output], statistics: Statistics,
    ) -> None:
        self.name = name
        self._throttled_log = ThrottledLogger(node.get_logger(), name)
        self.calibration = Calibration(
            self._throttled_log, lambda reason: self.reject('camera_info', reason))
        self._clock = node.get_clock()
        self._topic = topic
        self._pipeline = pipeline
        self._outputs = outputs
        self.statistics = statistics
        self._principal = PrincipalHead()
        self._model = ModelFacts.of(pipeline.aligner)
        self._settings: Settings | None = None
        self._due = 0.0
        self._describe()

    def begin(self, message: Image | CompressedImage, settings: Settings) -> Frame | None:
        """Decode an image that is due; a bad one is counted and warned about."""
        self._apply(settings)
        if not self._is_due(settings.max_rate):
            self.statistics.skipped()
            return None
        try:
            stamp = Time.from_msg(message.header.stamp)
            decode = decode_image if isinstance(message, Image) else decode_compressed
            image = decode(message, settings.max_image_pixels)
        except ValueError as error:
            self.reject('image', str(error))
            return None
        camera = self.calibration.camera(
            (image.shape[1], image.shape[0]), settings.rectified(self._topic))
        return Frame(message.header, stamp, image, camera, settings)

    def tracking_task(self, frame: Frame) -> InferenceTask[list[Head]]:
        """Return the work of finding the heads of this frame."""
        return self._pipeline.tracking_task(
            frame.image, frame.stamp.nanoseconds * 1e-9, frame.camera)

    def finish(self, frame: Frame, heads: list[Head], took: float) -> None:
        """
        Publish what was found.

        :param took: seconds from the message to the heads.
        """
        heads = self._principal.sorted(heads)
        if heads and not frame.header.frame_id:
            self._throttled_log.warn(
                'frame', 'the header of the images names no frame_id: nothing goes to TF', ONCE)
        answer = Answer(frame.header, heads, frame.image, frame.camera, self._model,
                        frame.settings)
        for output in self._outputs:
            if output.has_readers():
                output.publish(answer)
            else:
                output.clear()
        age = (self._clock.now().nanoseconds - frame.stamp.nanoseconds) * 1e-9
        self.statistics.answered(took, age, len(heads))

    def reject(self, kind: str, reason: str) -> None:
        """Count a bad message ('image' or 'camera_info') and warn, not more often than useful."""
        count = self.statistics.rejected(kind)
        field = reason.split(':')[0]
        text = f'bad {kind} dropped ({count} so far): {reason}'
        if field in _SAID_ONCE:
            self._throttled_log.warn(f'{kind} {reason}', text, ONCE)
        else:
            self._throttled_log.warn(f'{kind} {field}', text)

    def use(self, aligner: HeadAligner) -> None:
        """Take another network from the next frame on; tracks live on where they can."""
        old = self._pipeline.aligner.network.head_model
        new = aligner.network.head_model
        self._pipeline.aligner = aligner
        # What is smoothed over time must mean the same before and after.
        if old.mean.shape != new.mean.shape or old.shape_count != new.shape_count \
                or old.expression_names != new.expression_names:
            self._pipeline.reset()
        self._model = ModelFacts.of(aligner)
        self._describe()

    def reset(self) -> None:
        """Forget all heads."""
        self._pipeline.reset()
        self._principal = PrincipalHead()

    def clear(self) -> None:
        """Take away what was published and would stay."""
        for output in self._outputs:
            output.clear()

    def _describe(self) -> None:
        for output in self._outputs:
            output.describe(self._model)

    def _apply(self, settings: Settings) -> None:
        if settings == self._settings:
            return
        self._settings = settings
        try:
            self._pipeline.config = settings.pipeline()
        except ValueError as error:
            self._throttled_log.warn('settings', f'parameters are not applied: {error}')

    def _is_due(self, max_rate: float) -> bool:
        now = time.monotonic()
        if max_rate <= 0.0:
            return True
        if now < self._due:
            return False
        # Counted from when it was due, so that the average rate is the one asked for.
        self._due = max(self._due + 1.0 / max_rate, now)
        return True
