"""The lifecycle node `head_tracker`: camera images in, heads out."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Sequence
from concurrent import futures

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.detector import make_detector
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.ros.hri.faces import Faces
from trans3dhead_ros.ros.node.camera_stream import CameraStream
from trans3dhead_ros.ros.node.camera_tracker import CameraTracker
from trans3dhead_ros.ros.node.frame_processor import FrameProcessor, IncomingImage, model_name
from trans3dhead_ros.ros.node.heap import give_back
from trans3dhead_ros.ros.node.model_service import ModelService
from trans3dhead_ros.ros.node.statistics import memory
from trans3dhead_ros.ros.node.worker import NewestFrameWorker
from trans3dhead_ros.ros.node_process import refuse_arguments, spin_node
from trans3dhead_ros.ros.outputs import Output, make_outputs
from trans3dhead_ros.ros.parameters import declare_parameters, read_settings

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_PATIENCE = 10.0  # s
_Transition = Callable[['HeadTracker', LifecycleState], TransitionCallbackReturn]


def _reporting(transition: _Transition) -> _Transition:
    """
    Log what rclpy would swallow: an exception of a transition, which fails then.

    What it has done up to there is undone, so that the next attempt begins as the first one did.
    """
    @functools.wraps(transition)
    def wrapped(self: HeadTracker, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception as error:
            name = transition.__name__
            if isinstance(error, ValueError):
                self._failure = str(error)
                self.get_logger().error(f'{name}: {error}')
            else:
                self._failure = repr(error)
                self.get_logger().error(f'{name} failed\n{traceback.format_exc()}')
            self._stop_listening()
            if name == 'on_activate':
                LifecycleNode.on_deactivate(self, state)
            # Between inactive and active the model stays.
            elif name != 'on_deactivate':
                self._free()
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
        self._streams = [CameraStream(self, name, self._submit, self._clear)
                         for name in read_settings(self).camera_names()]
        self._answerer: FrameProcessor | None = None
        self._worker: NewestFrameWorker[IncomingImage] | None = None
        self._outputs: list[Output] = []
        self._faces: Faces | None = None
        self._active = False
        self._enabled = True
        self._failure = 'see the log'
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Simulated time may stand still, and just then one wants to know.
        self.create_timer(1.0, self._publish_diagnostics,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._model_service = ModelService(self, self._running)
        self.create_service(SetBool, '~/enable', self._enable)
        self.create_service(Trigger, '~/reset', self._reset)

    # -- lifecycle ---------------------------------------------------------------------------------

    @_reporting
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm the model, create the publishers."""
        settings = read_settings(self)
        config = settings.pipeline()
        aligner = HeadAligner.load(settings.model or None, settings.device)
        aligner.warm_up()
        detector = make_detector(settings.detector)
        faces = self._faces = Faces(self) if settings.rep155 else None
        trackers = {}
        for stream in self._streams:
            outputs = faces.make_outputs(stream.prefix) if faces \
                else make_outputs(self, stream.prefix)
            self._outputs += outputs
            stream.tracker = trackers[stream.name] = CameraTracker(
                self, stream.name, stream.topic,
                HeadPipeline(aligner, detector, config), outputs, stream.statistics)
        self._answerer = FrameProcessor(self, aligner, trackers, settings)
        self._worker = NewestFrameWorker(self._answerer.answer, self._answerer.failed)
        self.get_logger().info(f'{model_name(aligner)} on {aligner.device}')
        return super().on_configure(state)

    @_reporting
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe."""
        if self._worker is None:
            raise UserError('the model is gone; clean up and configure again')
        result = super().on_activate(state)
        self._active = True
        for stream in self._streams:
            stream.listen()
        topics = ', '.join(stream.topic for stream in self._streams)
        self.get_logger().info(f'listening to {topics}')
        return result

    @_reporting
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening, finish the frames at hand, forget the tracks."""
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
        self._active = False
        for stream in self._streams:
            stream.stop_listening()
        if self._worker is not None:
            self._worker.discard()
            self._worker.call(self._answerer.reset)
            silent = self._worker.call(self._answerer.clear)
            try:
                silent.result(_PATIENCE)
            except futures.TimeoutError:
                self.get_logger().warning(
                    f'a frame has taken more than {_PATIENCE:.0f} s; what it holds is forgotten '
                    'when it is done')
            except Exception:
                self.get_logger().error(f'what was shown may stay\n{traceback.format_exc()}')

    def _free(self) -> None:
        if self._worker is not None and not self._worker.stop(_PATIENCE):
            self.get_logger().warning('the worker is still busy with a frame')
        for stream in self._streams:
            stream.tracker = None
        for output in self._outputs:
            output.destroy()
        self._outputs = []
        if self._faces is not None:
            self._faces.destroy()
        self._worker = self._answerer = self._faces = None
        give_back()

    # -- input and services ------------------------------------------------------------------------

    def _submit(self, arrival: IncomingImage, source: str) -> bool:
        """Leave an image for the worker; True when it has replaced one that was waiting."""
        if not self._enabled or self._worker is None:
            return False
        return self._worker.submit(arrival, source)

    def _clear(self, tracker: CameraTracker) -> None:
        """Take away what a camera shows that sends nothing any more; its tracks may go on."""
        if self._worker is not None:
            self._worker.call(tracker.clear)

    def _running(self) -> tuple[FrameProcessor, NewestFrameWorker] | None:
        return None if self._worker is None else (self._answerer, self._worker)

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        if not request.data and self._worker is not None:
            self._worker.discard()
            self._worker.call(self._answerer.clear)
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
        facts, state = {}, 'inactive'
        if self._active:
            state = 'tracking' if self._enabled else 'disabled'
        if self._answerer is not None:
            aligner = self._answerer.aligner
            facts = {'device': str(aligner.device), 'model': model_name(aligner),
                     **memory(aligner.device)}
        self._diagnostics.publish(DiagnosticArray(
            header=Header(stamp=self.get_clock().now().to_msg()),
            status=[stream.status(state, facts, self._enabled) for stream in self._streams]))

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
                    raise UserError(f'the node could not {name}: {self._failure}')

    def stop(self) -> None:
        """Leave every state in order."""
        if self._active or self._worker is not None:
            try:
                self.trigger_shutdown()
            except rclpy_implementation.RCLError as error:
                self.get_logger().warning(f'left amid a transition: {error}')


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
    return spin_node(lambda _: HeadTracker(), arguments, begin=HeadTracker.start,
                     end=HeadTracker.stop, patient=True)


if __name__ == '__main__':
    raise SystemExit(main())
