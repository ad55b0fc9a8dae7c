"""The credit of a folder of pictures: where they come from and what may be done with them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from trans3dhead_ros.errors import UserError

NAME = 'about.json'


@dataclass(frozen=True)
class About:
    """The credit of a folder, which goes into manifests and checkpoints."""

    source: str = 'not stated'
    """What the pictures are."""
    licence: str = 'not stated'
    """Under which terms they may be used."""
    open: bool = False
    """Whether they are free for any use."""

    def save(self, folder: Path) -> None:
        """Write `about.json` beside the pictures."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + '\n')


def read_about(folder: Path) -> About | None:
    """
    Read the credit of a folder.

    :param folder: of pictures.
    :return: None where the folder has no `about.json`.
    :raises UserError: the file is damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    try:
        about = About(**json.loads(path.read_text()))
    except (RecursionError, TypeError, ValueError) as error:
        raise UserError(f'data: {path} is damaged ({error}); make the folder again with '
                        '`trans3dhead prepare faces`') from None
    return about
