"""The services ~/load_model and ~/rollback: swap another network in between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future
from std_srvs.srv import Trigger
from trans3dhead.srv import LoadModel

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.gate_verdict import read_verdict
from trans3dhead_ros.model_files.model_index import UsedModel
from trans3dhead_ros.model_files.model_metadata import (
    bundled_model,
    is_bundled_name,
    model_path,
)
from trans3dhead_ros.model_files.model_pair import CHECKPOINT_SUFFIX, GRAPH_SUFFIX
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.ros.node.frame_processor import FrameProcessor
from trans3dhead_ros.ros.node.model_history import ModelHistory
from trans3dhead_ros.ros.node.worker import NewestFrameWorker
from trans3dhead_ros.ros.outputs import model_name
from trans3dhead_ros.ros.tracker_parameters import TrackerParameters, read_tracker_parameters

_MAX_REASON_LENGTH = 500


class ModelService:
    """
    Loads and warms up models in a separate thread, one at a time.

    On any error the running model stays in use. The model before the running one stays loaded.

    :param node: the node that offers the services.
    :param running: returns the processor and its worker, or None while the node is not configured.
    """

    def __init__(
        self, node: LifecycleNode,
        running: Callable[[], tuple[FrameProcessor, NewestFrameWorker] | None],
    ) -> None:
        self._node = node
        self._running = running
        self._one_at_a_time = threading.Lock()
        self._history: ModelHistory | None = None
        self._before: HeadAligner | None = None
        # Reentrant, so that nothing else waits while a model is loaded.
        for kind, name, callback in ((LoadModel, '~/load_model', self._load),
                                     (Trigger, '~/rollback', self._rollback)):
            node.create_service(kind, name, callback, callback_group=ReentrantCallbackGroup())

    def first_model(self, parameters: TrackerParameters) -> HeadAligner:
        """
        Load the model to start with.

        :param parameters: `model` names it; where it is empty, it is the one that this node has
            used last, by the index of `model_folder`, or the bundled one.
        :return: the model, warmed up.
        :raises UserError: it cannot be loaded.
        """
        self._before = None
        self._history = ModelHistory(
            self._node.get_fully_qualified_name(), parameters.model_folder,
            lambda text: self._node.get_logger().warning(text))
        if not parameters.model:
            found = self._latest(self._history.used, parameters, by_itself=True)
            if found is not None:
                aligner, used = found
                self._history.set(used)
                return aligner
        aligner = _load(parameters.model or None, parameters)
        named = parameters.model or 'default'
        self._history.set(self._history.followed_by(UsedModel(
            named if is_bundled_name(named) else str(Path(named).resolve()), _sha256(aligner))))
        return aligner

    def free(self) -> None:
        """Free the model before the running one."""
        self._before = None

    def diagnostics(self, aligner: HeadAligner) -> dict[str, str]:
        """Return the values of the diagnostics that name models."""
        parent, history = aligner.metadata.get('parent'), self._history
        names = {'model': model_name(aligner), 'parent model': 'none', 'previous model': 'none'}
        if history is not None:
            if isinstance(parent, str) and parent:
                names['parent model'] = history.name_of(parent)
            for model in history.used[-2:-1]:
                names['previous model'] = history.name_of(model.sha256)
        return names

    async def _load(
        self, request: LoadModel.Request, response: LoadModel.Response,
    ) -> LoadModel.Response:
        await self._swap(response, 'load_model', lambda: self._requested(request))
        running = self._running()
        response.version = '' if running is None else model_name(running[0].aligner)
        return response

    async def _rollback(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        await self._swap(response, 'rollback', self._previous)
        return response

    def _requested(self, request: LoadModel.Request) -> tuple[HeadAligner, list[UsedModel]]:
        """Load the model of a request; return it and the history with it."""
        parameters = read_tracker_parameters(self._node)
        path = allowed_model(request.path, parameters)
        aligner = _load(path, parameters)
        if not request.force:
            check_gate(path, _sha256(aligner))
        name = request.path if is_bundled_name(request.path) else _name(path, parameters)
        return aligner, self._history.followed_by(
            UsedModel(name or 'default', _sha256(aligner), request.force))

    def _previous(self) -> tuple[HeadAligner, list[UsedModel]]:
        """Return the model before the running one, and the history that ends with it."""
        earlier = self._history.used[:-1]
        if not earlier:
            raise UserError('there is no previous model')
        if self._before is not None and _sha256(self._before) == earlier[-1].sha256:
            return self._before, earlier
        found = self._latest(earlier, read_tracker_parameters(self._node), by_itself=False)
        if found is None:
            raise UserError('no earlier model can be loaded any more, see the log')
        return found

    def _latest(
        self, used: list[UsedModel], parameters: TrackerParameters, by_itself: bool,
    ) -> tuple[HeadAligner, list[UsedModel]] | None:
        """
        Load the last model of a history that can be loaded; return it and the rest with it.

        What failed its gate is not loaded `by_itself`, unless it was forced before.
        """
        for count in range(len(used), 0, -1):
            model = used[count - 1]
            try:
                path = allowed_model(model.path, parameters)
                aligner = _load(path, parameters)
                if by_itself and not model.forced:
                    check_gate(path, _sha256(aligner))
                if _sha256(aligner) != model.sha256 and not is_bundled_name(model.path):
                    raise UserError('its files hold other weights now')
                return aligner, used[:count]
            except UserError as error:
                self._node.get_logger().warning(f'{model.path} is skipped: {error}')
        return None

    async def _swap(
        self, response: LoadModel.Response | Trigger.Response, service: str,
        load: Callable[[], tuple[HeadAligner, list[UsedModel]]],
    ) -> None:
        """Load a model in another thread, put it into use, and fill the response."""
        running = self._running()
        if running is None:
            response.message = 'the node is not configured'
            return
        # Repeated requests must not pile up threads that wait.
        if not self._one_at_a_time.acquire(blocking=False):
            response.message = 'another model is being loaded'
            return
        processor, worker = running
        done: Future = Future(executor=self._node.executor)

        def swap() -> None:
            try:
                aligner, used = load()
                before = processor.aligner
                worker.call(lambda: processor.set_aligner(aligner)).result()
                self._before = before
                self._history.set(used)
                result = f'{model_name(aligner)} loaded'
            except BaseException as error:  # the client must get a response whatever happens
                result = error
            finally:
                self._one_at_a_time.release()
            done.set_result(result)
            # Wakes the executor, which does not watch futures.
            self._node.executor.create_task(lambda: None)

        try:
            threading.Thread(target=swap, name='load model', daemon=True).start()
        except RuntimeError as error:  # no further thread could be started
            self._one_at_a_time.release()
            response.message = _reason(error)
            return
        result = await done
        response.success = isinstance(result, str)
        response.message = result if response.success else _reason(result)
        # Two calls, because rclpy allows only one severity per line of code.
        if response.success:
            self._node.get_logger().info(f'{service}: {response.message}')
        else:
            self._node.get_logger().warning(f'{service}: {response.message}')


def allowed_model(path: str, parameters: TrackerParameters) -> Path:
    """
    Check that clients may load a model.

    Clients are not the operator, so paths are confined to one folder, after following links.

    :param path: absolute, or relative to the folder, with or without the suffix; empty, 'default'
        or 'open' for a bundled model.
    :param parameters: `model_folder`, `model` and `allow_any_model_path` tell what is allowed.
    :return: the resolved path.
    :raises UserError: for a path outside the folder.
    """
    if is_bundled_name(path):
        return model_path(path).resolve()
    folder = _folder(parameters)
    try:
        resolved = (folder / path).resolve()
        if not resolved.is_file():
            files = (folder / f'{path}{suffix}' for suffix in (GRAPH_SUFFIX, CHECKPOINT_SUFFIX))
            resolved = next((file.resolve() for file in files if file.is_file()), resolved)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f'path: {path[:100]!r} is not a path ({error})') from None
    # Either file of a pair. What the operator has named is allowed, wherever it lies.
    own = {file.resolve().with_suffix('')
           for file in (bundled_model(), model_path(parameters.model))}
    if resolved.parent / resolved.stem not in own and not parameters.allow_any_model_path \
            and folder not in resolved.parents:
        raise UserError(f'path: {resolved} is not inside {folder}, to which model_folder restricts '
                        'clients; allow_any_model_path lifts the restriction')
    return resolved


def check_gate(path: Path, sha256: str) -> None:
    """
    Refuse a model that failed its gate; one that was not judged passes.

    :param path: of either file of the model.
    :param sha256: of its weights.
    :raises UserError: it failed, or the verdict beside it is damaged.
    """
    verdict = read_verdict(path, sha256)
    if verdict is not None and not verdict.passed:
        reasons = '; '.join(verdict.reasons) or 'no reason is given'
        raise UserError(f'{path.stem} failed its gate: {reasons}; '
                        'set force to load it anyway')


def _load(path: Path | str | None, parameters: TrackerParameters) -> HeadAligner:
    aligner = HeadAligner.load(path, parameters.device, parameters.backend, parameters.threads)
    aligner.warm_up()
    return aligner


def _sha256(aligner: HeadAligner) -> str:
    return str(aligner.metadata['sha256'])


def _folder(parameters: TrackerParameters) -> Path:
    return Path(parameters.model_folder or model_path(parameters.model).parent).resolve()


def _name(path: Path, parameters: TrackerParameters) -> str:
    """Return the path of a model as the history keeps it: inside the folder, relative to it."""
    folder = _folder(parameters)
    return str(path.relative_to(folder) if folder in path.parents else path)


def _reason(error: Any) -> str:
    """Return one line."""
    if isinstance(error, CancelledError):
        return 'the node stopped before the model was swapped in'
    return ' '.join(str(error).split())[:_MAX_REASON_LENGTH] or type(error).__name__
