"""The service ~/load_model: another network beside the running one, exchanged between frames."""

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
from trans3dhead_ros.network.checkpoint import bundled_checkpoint
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.ros.node.frame_processor import FrameProcessor, model_name
from trans3dhead_ros.ros.node.worker import NewestFrameWorker
from trans3dhead_ros.ros.parameters import Settings, read_settings

_LONGEST_REASON = 500


class ModelService:
    """
    Loads and warms in a thread of its own, one model at a time.

    On any error the running model stays.

    :param running: returns the answerer and its worker, or None while the node is not configured.
    """

    def __init__(
        self, node: LifecycleNode,
        running: Callable[[], tuple[FrameProcessor, NewestFrameWorker] | None],
    ) -> None:
        self._node = node
        self._running = running
        self._one_at_a_time = threading.Lock()
        # Loading takes a while; in a group of its own nothing else waits for it.
        node.create_service(LoadModel, '~/load_model', self._load,
                            callback_group=ReentrantCallbackGroup())

    async def _load(
        self, request: LoadModel.Request, response: LoadModel.Response,
    ) -> LoadModel.Response:
        running = self._running()
        if running is None:
            response.message = 'the node is not configured'
            return response
        answerer, worker = running
        response.version = model_name(answerer.aligner)
        # Who asks again and again must not fill the process with loaders that wait.
        if not self._one_at_a_time.acquire(blocking=False):
            response.message = 'another model is being loaded'
            return response
        done: Future = Future(executor=self._node.executor)

        def load() -> None:
            try:
                settings = read_settings(self._node)
                aligner = HeadAligner.load(
                    permitted_model(request.path, settings), settings.device)
                aligner.warm_up()
                worker.call(lambda: answerer.use(aligner)).result()
                result = f'{model_name(aligner)} loaded'
            except BaseException as error:  # whatever it is, the service must answer
                result = error
            finally:
                self._one_at_a_time.release()
            done.set_result(result)
            # Wakes the executor, which does not watch futures.
            self._node.executor.create_task(lambda: None)

        try:
            threading.Thread(target=load, name='load model', daemon=True).start()
        except RuntimeError as error:  # a machine out of threads
            self._one_at_a_time.release()
            response.message = _reason(error)
            return response
        result = await done
        response.success = isinstance(result, str)
        response.message = result if response.success else _reason(result)
        response.version = model_name(answerer.aligner)
        # Two calls: rclpy lets a line log with one severity only.
        if response.success:
            self._node.get_logger().info(f'load_model: {response.message}')
        else:
            self._node.get_logger().warning(f'load_model: {response.message}')
        return response


def permitted_model(path: str, settings: Settings) -> Path:
    """
    Return the checkpoint that a client may have loaded, as a path without links.

    Clients are not the operator: what they name is confined to a folder, links followed.

    :param path: absolute, or relative to the folder; empty for the bundled checkpoint.
    :raises ValueError: for one elsewhere.
    """
    bundled = bundled_checkpoint().resolve()
    folder = Path(settings.model_folder) if settings.model_folder else \
        (Path(settings.model) if settings.model else bundled).parent
    folder = folder.resolve()
    try:
        wanted = (folder / path).resolve() if path else bundled
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f'path: {path[:100]!r} is no path ({error})') from None
    if wanted != bundled and not settings.allow_any_model_path and folder not in wanted.parents:
        raise UserError(f'path: {wanted} is not inside {folder}, which the parameter model_folder '
                         'allows; allow_any_model_path allows all')
    return wanted


def _reason(error: Any) -> str:
    """Return one line."""
    if isinstance(error, CancelledError):
        return 'the node stopped before the model was exchanged'
    return ' '.join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
