"""Which models a node has used, in `models.json` of `model_folder`, so that a restart keeps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_index import ModelIndex, UsedModel


class ModelHistory:
    """
    The models that a node has used, that in use last.

    Without a folder, or where its index cannot be used, the history lasts as long as the process.

    :param node: full name of the node.
    :param folder: `model_folder`; empty for none.
    :param warn: logs one line.
    """

    def __init__(self, node: str, folder: str, warn: Callable[[str], None]) -> None:
        self._node, self._warn = node, warn
        self._index = ModelIndex(Path(folder)) if folder else None
        self._names: dict[str, str] = {}
        self.used: list[UsedModel] = []
        if self._index is not None:
            try:
                self.used = self._index.history(node)
            except UserError as error:
                self._give_up(error)
        self._refresh()

    def followed_by(self, model: UsedModel) -> list[UsedModel]:
        """Return the history with a model that is used from now on."""
        same = self.used and self.used[-1].sha256 == model.sha256
        return [*(self.used[:-1] if same else self.used), model]

    def set(self, used: list[UsedModel]) -> None:
        """Replace the history."""
        changed, self.used = used != self.used, used
        if self._index is not None and changed:
            try:
                self._index.remember(self._node, used)
            except UserError as error:
                self._give_up(error)
        self._refresh()

    def name_of(self, sha256: str) -> str:
        """Return name and short hash of a model, the latter alone where the index has no name."""
        return f'{self._names.get(sha256, "")} {sha256[:12]}'.strip()

    def _refresh(self) -> None:
        self._names = {model.sha256: model.path for model in self.used}
        if self._index is not None:
            try:
                self._names |= {str(entry['sha256']): name
                                for name, entry in self._index.refresh().items()}
            except UserError as error:
                self._give_up(error)

    def _give_up(self, error: UserError) -> None:
        self._warn(f'the history of models is not kept: {error}')
        self._index = None
