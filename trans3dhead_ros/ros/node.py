"""The lifecycle node `head_tracker`: camera images in, heads out."""

from __future__ import annotations

import functools
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from trans3dhead.srv import LoadModel

from trans3dhead_ros.perception.align import HeadAligner
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.ros.answer import Answerer, model_name
from trans3dhead_ros.ros.image_input import ImageInput, resolved_image_topic
from trans3dhead_ros.ros.outputs import Outputs
from trans3dhead_ros.ros.parameters import declare_parameters, read_settings
from trans3dhead_ros.ros.spin import refuse_arguments, spin_node
from trans3dhead_ros.ros.statistics import Statistics, diagnostic_array
from trans3dhead_ros.ros.worker import NewestFrameWorker

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_PUBLISHER_POLL = 0.2  # s
_Transition = Callable[['HeadTracker', LifecycleState], TransitionCallbackReturn]


def _reporting(transition: _Transition) -> _Transition:
    """Log what rclpy would swallow: an exception of a transition, which fails then."""
    @functools.wraps(transition)
    def wrapped(self: HeadTracker, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except ValueError as error:
            self._failure = str(error)
            self.get_logger().error(f'{transition.__name__}: {error}')
        except Exception as error:
            self._failure = repr(error)
            self.get_logger().error(f'{transition.__name__} failed\n{traceback.format_exc()}')
        return _FAILURE
    return wrapped


class HeadTracker(LifecycleNode):
    """
    Callbacks only store and return; a worker thread owns the network and the tracks.

    Configure loads the model, activate subscribes, deactivate stops listening, cleanup frees.

    :raises ValueError: for a parameter that is not allowed.
    """

    def __init__(self) -> None:
        super().__init__('head_tracker')
        declare_parameters(self)
        self._statistics = Statistics()
        self._answerer: Answerer | None = None
        self._worker: NewestFrameWorker | None = None
        self._outputs: Outputs | None = None
        self._input: ImageInput | None = None
        self._entities: list[tuple[Callable[[object], object], object]] = []
        self._enabled = True
        self._failure = 'see the log'
        self._active_since = 0.0
        self._rejected = 0
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Simulated time may stand still, and just then one wants to know.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._publish_diagnostics, clock=self._steady)
        # Loading takes a while; in a group of its own nothing else waits for it.
        self.create_service(LoadModel, '~/load_model', self._load_model,
                            callback_group=ReentrantCallbackGroup())
        self.create_service(SetBool, '~/enable', self._enable)
        self.create_service(Trigger, '~/reset', self._reset)

    # -- lifecycle ---------------------------------------------------------------------------------

    @_reporting
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm the model, create the publishers."""
        settings = read_settings(self)
        pipeline = HeadPipeline.load(settings.model or None, settings.device,
                                     detector=settings.detector, config=settings.pipeline())
        aligner = pipeline.aligner
        aligner.warm_up()
        self._outputs = Outputs(self, model_name(aligner), pipeline.expression_names,
                                pipeline.triangles, pipeline.landmark_indices)
        topic = resolved_image_topic(self, settings.image_transport)
        self._answerer = Answerer(
            self, pipeline, self._outputs, self._statistics, topic, settings)
        self._worker = NewestFrameWorker(self._answerer.answer, self._answer_failed)
        self.get_logger().info(f'{model_name(aligner)} on {aligner.device}')
        return super().on_configure(state)

    @_reporting
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        settings = read_settings(self)
        result = super().on_activate(state)
        self._active_since = time.monotonic()
        self._input = ImageInput(self, settings.image_transport, settings.image_reliability,
                                 self._store_image)
        # Best effort hears every publisher, and these messages are small.
        camera_info = self.create_subscription(
            CameraInfo, 'camera_info', self._store_camera_info,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        poll = self.create_timer(_PUBLISHER_POLL, self._input.update, clock=self._steady)
        self._entities = [(self.destroy_subscription, camera_info), (self.destroy_timer, poll)]
        self.get_logger().info(f'listening to {self._input.topic}')
        return result

    @_reporting
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening, finish the frame at hand, forget the tracks."""
        self._stop_listening()
        return super().on_deactivate(state)

    @_reporting
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the publishers."""
        self._free()
        return super().on_cleanup(state)

    @_reporting
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self._stop_listening()
        self._free()
        return super().on_shutdown(state)

    @_reporting
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured."""
        self._stop_listening()
        self._free()
        return _SUCCESS

    def _stop_listening(self) -> None:
        for destroy, entity in self._entities:
            destroy(entity)
        self._entities = []
        if self._input is not None:
            self._input.destroy()
            self._input = None
        if self._worker is not None:
            self._worker.discard()
            self._worker.call(self._answerer.reset).result()
            self._outputs.clear()

    def _free(self) -> None:
        if self._worker is not None and not self._worker.stop():
            self.get_logger().warning('the worker is still busy with a frame')
        if self._outputs is not None:
            self._outputs.destroy()
        self._worker = self._answerer = self._outputs = None

    # -- input -------------------------------------------------------------------------------------

    def _store_image(self, message: Image | CompressedImage) -> None:
        self._statistics.received(time.monotonic())
        if self._enabled and self._worker is not None:
            self._worker.submit(message)

    def _store_camera_info(self, message: CameraInfo) -> None:
        if self._answerer is not None:
            self._answerer.camera_info = message

    def _answer_failed(self, error: Exception) -> None:
        """A defect of ours must not end the stream; the log gets what is needed to mend it."""
        self._statistics.rejected('image')
        lines = ''.join(traceback.format_exception(error))
        self.get_logger().error(f'an image could not be answered\n{lines}',
                                throttle_duration_sec=5.0)

    # -- services ----------------------------------------------------------------------------------

    async def _load_model(
        self, request: LoadModel.Request, response: LoadModel.Response,
    ) -> LoadModel.Response:
        """Load and warm beside the running model, swap between two frames."""
        answerer, worker = self._answerer, self._worker
        if worker is None:
            response.message = 'the node is not configured'
            return response
        device = read_settings(self).device
        done: Future = Future(executor=self.executor)

        def load() -> None:
            try:
                aligner = HeadAligner.load(request.path or None, device)
                aligner.warm_up()
                worker.call(lambda: answerer.use(aligner)).result()
                done.set_result(f'{model_name(aligner)} loaded')
            except BaseException as error:  # also a cancelled call: the service must answer
                done.set_result(error)
            # Wakes the executor, which does not watch futures.
            self.executor.create_task(lambda: None)

        threading.Thread(target=load, name='load model', daemon=True).start()
        result = await done
        response.success = isinstance(result, str)
        response.message = result if response.success else (str(result) or type(result).__name__)
        response.version = model_name(answerer.pipeline.aligner)
        if response.success:
            self.get_logger().info(f'load_model: {response.message}')
        else:
            self.get_logger().warning(f'load_model: {response.message}')
        return response

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        response.success, response.message = True, 'enabled' if request.data else 'disabled'
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._worker is not None
        if response.success:
            self._worker.call(self._answerer.reset)
        response.message = 'tracks forgotten' if response.success else 'the node is not configured'
        return response

    # -- diagnostics -------------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        now = time.monotonic()
        level, summary = DiagnosticStatus.OK, 'inactive'
        values = self._statistics.values(now)
        if self._input is not None:
            summary = 'tracking' if self._enabled else 'disabled'
            quiet = now - max(self._statistics.last_received() or 0.0, self._active_since)
            limit = read_settings(self).no_image_warning
            if 0.0 < limit < quiet:
                level = DiagnosticStatus.WARN
                summary = f'no image for {quiet:.0f} s {self._input.silence()}'
                self.get_logger().warning(summary, throttle_duration_sec=30.0)
        rejected = int(values['bad images']) + int(values['bad camera_info'])
        if rejected > self._rejected:
            level, summary = DiagnosticStatus.WARN, f'{rejected - self._rejected} bad messages'
        self._rejected = rejected
        hardware = ''
        if self._worker is not None:
            aligner = self._answerer.pipeline.aligner
            hardware = str(aligner.device)
            values |= {'device': hardware, 'model': model_name(aligner),
                       'images replaced by newer ones': str(self._worker.replaced)}
        self._diagnostics.publish(diagnostic_array(
            Header(stamp=self.get_clock().now().to_msg()), f'{self.get_name()}: tracking', hardware,
            level, summary, values))

    # -- process -----------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Configure and activate where `autostart` says so.

        :raises ValueError: when that fails.
        """
        if read_settings(self).autostart:
            for name, trigger in (('configure', self.trigger_configure),
                                  ('activate', self.trigger_activate)):
                if trigger() != _SUCCESS:
                    raise ValueError(f'the node could not {name}: {self._failure}')

    def stop(self) -> None:
        """Leave every state in order."""
        if self._input is not None or self._worker is not None:
            self.trigger_shutdown()


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the node as a process.

    :param arguments: `--ros-args …`; None takes the process's own.
    :return: exit code; 2 for a user's mistake.
    """
    refused = refuse_arguments(arguments, 'usage: head_tracker [--ros-args …]\n'
                               'Tracks heads in images; `ros2 param list` shows what can be set.')
    if refused is not None:
        return refused
    return spin_node(lambda _: HeadTracker(), arguments,
                     begin=HeadTracker.start, end=HeadTracker.stop)


if __name__ == '__main__':
    raise SystemExit(main())
