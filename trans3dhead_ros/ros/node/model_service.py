"""The service ~/load_model: load another network and swap it in between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future
from trans3dhead.srv import LoadModel

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_metadata import (
    bundled_model,
    is_bundled_name,
    model_path,
)
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.ros.node.frame_processor import FrameProcessor
from trans3dhead_ros.ros.node.worker import NewestFrameWorker
from trans3dhead_ros.ros.outputs import model_name
from trans3dhead_ros.ros.tracker_parameters import TrackerParameters, read_tracker_parameters

_MAX_REASON_LENGTH = 500


class ModelService:
    """
    Loads and warms up models in a separate thread, one at a time.

    On any error the running model stays in use.

    :param node: the node that offers the service.
    :param running: returns the processor and its worker, or None while the node is not configured.
    """

    def __init__(
        self, node: LifecycleNode,
        running: Callable[[], tuple[FrameProcessor, NewestFrameWorker] | None],
    ) -> None:
        self._node = node
        self._running = running
        self._one_at_a_time = threading.Lock()
        # Reentrant, so that nothing else waits while a model is loaded.
        node.create_service(LoadModel, '~/load_model', self._load,
                            callback_group=ReentrantCallbackGroup())

    async def _load(
        self, request: LoadModel.Request, response: LoadModel.Response,
    ) -> LoadModel.Response:
        running = self._running()
        if running is None:
            response.message = 'the node is not configured'
            return response
        processor, worker = running
        response.version = model_name(processor.aligner)
        # Repeated requests must not pile up threads that wait.
        if not self._one_at_a_time.acquire(blocking=False):
            response.message = 'another model is being loaded'
            return response
        done: Future = Future(executor=self._node.executor)

        def load() -> None:
            try:
                parameters = read_tracker_parameters(self._node)
                aligner = HeadAligner.load(
                    allowed_model(request.path, parameters), parameters.device,
                    parameters.backend, parameters.threads)
                aligner.warm_up()
                worker.call(lambda: processor.set_aligner(aligner)).result()
                result = f'{model_name(aligner)} loaded'
            except BaseException as error:  # the client must get a response whatever happens
                result = error
            finally:
                self._one_at_a_time.release()
            done.set_result(result)
            # Wakes the executor, which does not watch futures.
            self._node.executor.create_task(lambda: None)

        try:
            threading.Thread(target=load, name='load model', daemon=True).start()
        except RuntimeError as error:  # no further thread could be started
            self._one_at_a_time.release()
            response.message = _reason(error)
            return response
        result = await done
        response.success = isinstance(result, str)
        response.message = result if response.success else _reason(result)
        response.version = model_name(processor.aligner)
        # Two calls, because rclpy allows only one severity per line of code.
        if response.success:
            self._node.get_logger().info(f'load_model: {response.message}')
        else:
            self._node.get_logger().warning(f'load_model: {response.message}')
        return response


def allowed_model(path: str, parameters: TrackerParameters) -> Path:
    """
    Check that clients may load a model.

    Clients are not the operator, so paths are confined to one folder, after following links.

    :param path: absolute, or relative to the folder; empty, 'default' or 'open' for a model that
        comes with the package.
    :param parameters: `model_folder`, `model` and `allow_any_model_path` tell what is allowed.
    :return: the resolved path.
    :raises UserError: for a path outside the folder.
    """
    bundled = bundled_model().resolve()
    if is_bundled_name(path):
        return model_path(path).resolve()
    folder = Path(parameters.model_folder or model_path(parameters.model).parent).resolve()
    try:
        resolved = (folder / path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f'path: {path[:100]!r} is not a path ({error})') from None
    same = resolved.with_suffix('') == bundled.with_suffix('')  # either file of the pair
    if not same and not parameters.allow_any_model_path \
            and folder not in resolved.parents:
        raise UserError(f'path: {resolved} is not inside {folder}, to which model_folder restricts '
                        'clients; allow_any_model_path lifts the restriction')
    return resolved


def _reason(error: Any) -> str:
    """Return one line."""
    if isinstance(error, CancelledError):
        return 'the node stopped before the model was swapped in'
    return ' '.join(str(error).split())[:_MAX_REASON_LENGTH] or type(error).__name__
