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
        self._with_index(self._read)

    def followed_by(self, model: UsedModel) -> list[UsedModel]:
        """Return the history with a model that is used from now on."""
        same = self.used and self.used[-1].sha256 == model.sha256
        return [*(self.used[:-1] if same else self.used), model]

    def set(self, used: list[UsedModel]) -> None:
        """Replace the history."""
        self.used = used
        self._with_index(lambda index: index.remember(self._node, used))

    def name_of(self, sha256: str) -> str:
        """Return name and short hash of a model, the latter alone where the index has no name."""
        return f'{self._names.get(sha256, "")} {sha256[:12]}'.strip()

    def _read(self, index: ModelIndex) -> None:
        self.used = index.history(self._node)

    def _with_index(self, use: Callable[[ModelIndex], None]) -> None:
        """Use the index, where there is one, and bring it and the names up to date."""
        names = {}
        if self._index is not None:
            try:
                use(self._index)
                names = {str(entry['sha256']): name
                         for name, entry in self._index.refresh().items()}
            except UserError as error:
                self._warn(f'the model history is not saved: {error}')
        self._names = {model.sha256: model.path for model in self.used} | names
