"""
The lifecycle node `head_tracker`: camera images in, heads out.

`head_tracker.py` is the entry point of its process.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Sequence
from concurrent import futures

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.backends import unused_gpu
from trans3dhead_ros.inference.open_engine import default_threads
from trans3dhead_ros.perception.detector import make_detector
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.ros import qos_overrides
from trans3dhead_ros.ros.detections import DetectionsOutput
from trans3dhead_ros.ros.hri.face_registry import FaceRegistry
from trans3dhead_ros.ros.node.camera_stream import CameraStream
from trans3dhead_ros.ros.node.camera_tracker import CameraTracker
from trans3dhead_ros.ros.node.frame_processor import FrameProcessor, IncomingImage
from trans3dhead_ros.ros.node.model_service import ModelService
from trans3dhead_ros.ros.node.statistics import memory
from trans3dhead_ros.ros.node.watchdog import Watchdog
from trans3dhead_ros.ros.node.worker import NewestFrameWorker
from trans3dhead_ros.ros.node_process import spin_node
from trans3dhead_ros.ros.outputs import Output, make_outputs, model_name
from trans3dhead_ros.ros.parameters import undeclared_parameters
from trans3dhead_ros.ros.tracker_parameters import (
    AUTO,
    declare_tracker_parameters,
    read_tracker_parameters,
)

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_STOP_TIMEOUT = 10.0  # s
_MAX_NAMED = 10
_Transition = Callable[['HeadTracker', LifecycleState], TransitionCallbackReturn]


def _log_exceptions(transition: _Transition) -> _Transition:
    """
    Let a transition fail on an exception, and log the exception, which rclpy would swallow.

    What the transition has done so far is undone, so that it can be tried again.
    """
    @functools.wraps(transition)
    def wrapped(self: HeadTracker, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            # Loading a model, or waiting for a frame in progress, may take its time.
            with self._watchdog.paused():
                return transition(self, state)
        except Exception as error:
            name = transition.__name__
            if isinstance(error, UserError):
                self._failure = str(error)
                self.get_logger().error(f'{name}: {error}')
            else:
                self._failure = repr(error)
                self.get_logger().error(f'{name} failed\n{traceback.format_exc()}')
            self._unsubscribe()
            if name == 'on_activate':
                LifecycleNode.on_deactivate(self, state)
            # The model stays loaded between inactive and active.
            elif name != 'on_deactivate':
                self._free()
        return _FAILURE
    return wrapped


class HeadTracker(LifecycleNode):
    """
    The node: its callbacks only store and return, a worker thread owns the network and the tracks.

    Configure loads the model, activate subscribes, deactivate unsubscribes, cleanup frees memory.

    :raises UserError: for a parameter value that is not allowed.

    Example::

        rclpy.init()
        node = HeadTracker()
        node.trigger_configure()
        node.trigger_activate()
        rclpy.spin(node)
    """

    def __init__(self) -> None:
        super().__init__('head_tracker')
        declare_tracker_parameters(self)
        self._warn_of_undeclared(of_qos=False)
        self._watchdog = Watchdog(
            self, lambda: self.get_parameter('watchdog_timeout').value)
        self._streams = [CameraStream(self, name, self._submit, self._clear)
                         for name in read_tracker_parameters(self).camera_names()]
        self._processor: FrameProcessor | None = None
        self._worker: NewestFrameWorker[IncomingImage] | None = None
        self._outputs: list[Output] = []
        self._faces: FaceRegistry | None = None
        self._active = False
        self._enabled = True
        self._failure = 'see the log'
        self._restarts = read_tracker_parameters(self).restarts
        self._gpu_notice = ''
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Steady, because simulated time may stand still, which the diagnostics must still report.
        self.create_timer(1.0, self._publish_diagnostics,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._model_service = ModelService(self, self._running)
        self.create_service(SetBool, '~/enable', self._enable)
        self.create_service(Trigger, '~/reset', self._reset)

    # -- lifecycle ---------------------------------------------------------------------------------

    @_log_exceptions
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model, create the publishers."""
        parameters = read_tracker_parameters(self)
        config = parameters.pipeline_config()
        aligner = self._model_service.first_model(parameters)
        self._gpu_notice = unused_gpu(aligner.device, parameters.backend) \
            if parameters.device == AUTO else ''
        if self._gpu_notice:
            self.get_logger().warning(self._gpu_notice)
        detector = make_detector(parameters.detector, parameters.device, parameters.backend,
                                 parameters.threads)
        detector.detect(np.zeros((480, 640, 3), np.uint8))  # loads what is loaded on first use
        faces = self._faces = FaceRegistry(self) if parameters.rep155 else None
        trackers = {}
        for stream in self._streams:
            outputs = faces.make_outputs(stream.prefix) if faces \
                else make_outputs(self, stream.prefix)
            if parameters.detections:
                outputs.append(DetectionsOutput(self, stream.prefix))
            self._outputs += outputs
            stream.tracker = trackers[stream.name] = CameraTracker(
                self, stream.name, stream.topic,
                HeadPipeline(aligner, detector, config), outputs, stream.statistics)
        self._warn_of_undeclared(of_qos=True)
        self._processor = FrameProcessor(self, aligner, detector, trackers, parameters)
        self._worker = NewestFrameWorker(self._processor.process, self._processor.on_error)
        self.get_logger().info(f'{model_name(aligner)} on {aligner.device}, {aligner.backend}')
        return super().on_configure(state)

    @_log_exceptions
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create the subscriptions."""
        if self._worker is None:
            raise UserError('no model is loaded; clean up and configure again')
        result = super().on_activate(state)
        self._active = True
        for stream in self._streams:
            stream.subscribe()
        topics = ', '.join(stream.topic for stream in self._streams)
        self.get_logger().info(f'subscribed to {topics}')
        return result

    @_log_exceptions
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy the subscriptions, finish the frames in progress, drop the tracks."""
        self._unsubscribe()
        return super().on_deactivate(state)

    @_log_exceptions
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model, destroy the publishers."""
        self._free()
        return super().on_cleanup(state)

    @_log_exceptions
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Shut down from any state."""
        self._unsubscribe()
        self._free()
        return super().on_shutdown(state)

    @_log_exceptions
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured."""
        self._unsubscribe()
        self._free()
        return _SUCCESS

    def _unsubscribe(self) -> None:
        self._active = False
        for stream in self._streams:
            stream.unsubscribe()
        if self._worker is not None:
            self._worker.discard()
            self._worker.call(self._processor.reset)
            cleared = self._worker.call(self._processor.clear)
            try:
                cleared.result(_STOP_TIMEOUT)
            except futures.TimeoutError:
                self.get_logger().warning(
                    f'a frame takes more than {_STOP_TIMEOUT:.0f} s; tracks are dropped when it is '
                    'done')
            except Exception:
                self.get_logger().error(f'markers may stay visible\n{traceback.format_exc()}')

    def _free(self) -> None:
        if self._worker is not None and not self._worker.stop(_STOP_TIMEOUT):
            self.get_logger().warning('the worker is still busy with a frame')
        for stream in self._streams:
            stream.tracker = None
        for output in self._outputs:
            output.destroy()
        self._outputs = []
        if self._faces is not None:
            self._faces.destroy()
        self._worker = self._processor = self._faces = None
        self._model_service.free()

    def _warn_of_undeclared(self, of_qos: bool) -> None:
        """Name the given parameters that this node does not have; those of QoS come later."""
        named = [f'{name!r} (did you mean {near!r}?)' if near else repr(name)
                 for name, near in undeclared_parameters(self).items()
                 if name.startswith(qos_overrides.PREFIX) == of_qos]
        if named:
            more = f' and {len(named) - _MAX_NAMED} more' if len(named) > _MAX_NAMED else ''
            self.get_logger().warning('parameters that this node does not have are ignored: '
                                      f'{", ".join(named[:_MAX_NAMED])}{more}')

    # -- input and services ------------------------------------------------------------------------

    def _submit(self, image: IncomingImage, source: str) -> bool:
        """Hand an image to the worker; True when it has replaced a waiting one."""
        if not self._enabled or self._worker is None:
            return False
        return self._worker.submit(image, source)

    def _clear(self, tracker: CameraTracker) -> None:
        """Remove what is shown of a camera that has stopped publishing; its tracks are kept."""
        if self._worker is not None:
            self._worker.call(tracker.clear)

    def _running(self) -> tuple[FrameProcessor, NewestFrameWorker] | None:
        return None if self._worker is None else (self._processor, self._worker)

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        if not request.data and self._worker is not None:
            self._worker.discard()
            self._worker.call(self._processor.clear)
        response.success, response.message = True, 'enabled' if request.data else 'disabled'
        return response

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._worker is not None
        if response.success:
            self._worker.call(self._processor.reset)
        response.message = 'tracks dropped' if response.success else 'the node is not configured'
        return response

    # -- diagnostics -------------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        common, state = {'restarts': str(self._restarts)}, 'inactive'
        if self._active:
            state = 'tracking' if self._enabled else 'disabled'
        if self._processor is not None:
            aligner = self._processor.aligner
            common |= {'device': aligner.device, 'backend': aligner.backend,
                       **self._model_service.diagnostics(aligner), **memory(aligner.device)}
            if self._gpu_notice:
                common['unused GPU'] = self._gpu_notice
        self._diagnostics.publish(DiagnosticArray(
            header=Header(stamp=self.get_clock().now().to_msg()),
            status=[stream.status(state, common, self._enabled) for stream in self._streams]))

    # -- process -----------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Start as the node of a process: watch the executor, configure and activate if `autostart`.

        :raises UserError: when that fails.
        """
        parameters = read_tracker_parameters(self)
        # Of the process: OpenCV would take every core for the search of heads.
        cv2.setNumThreads(parameters.threads or default_threads())
        self._watchdog.start()
        if parameters.autostart:
            for name, trigger in (('configure', self.trigger_configure),
                                  ('activate', self.trigger_activate)):
                if trigger() != _SUCCESS:
                    raise UserError(f'the node failed to {name}: {self._failure}')

    def stop(self) -> None:
        """Shut down from the present state."""
        self._watchdog.stop()
        if self._active or self._worker is not None:
            try:
                self.trigger_shutdown()
            except rclpy_implementation.RCLError as error:
                self.get_logger().warning(f'shut down during a transition: {error}')


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the node as a process.

    :param arguments: `--ros-args …`; None takes those of the process.
    :return: exit code; 2 for a user's mistake.
    """
    return spin_node(
        lambda _: HeadTracker(), arguments, 'usage: head_tracker [--ros-args …]\n'
        'Tracks heads in images; `ros2 param list` lists its parameters.',
        on_start=HeadTracker.start, on_stop=HeadTracker.stop, keep_running=True)


if __name__ == '__main__':
    raise SystemExit(main())
