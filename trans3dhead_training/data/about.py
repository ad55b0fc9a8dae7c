"""What a folder of faces says of itself: where its pictures come from and what may be done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from trans3dhead_ros.errors import UserError

NAME = 'about.json'


@dataclass(frozen=True)
class About:
    """
    The credit of a folder, which goes into manifests and checkpoints.

    :ivar source: what the pictures are. :ivar licence: their terms. :ivar open: free for any use.
    """

    source: str = 'not stated'
    licence: str = 'not stated'
    open: bool = False

    def save(self, folder: Path) -> None:
        """Write it beside the pictures."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + '\n')


def read_about(folder: Path) -> About | None:
    """
    Return what a folder says of itself, None where it says nothing.

    :raises ValueError: the file is damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return None
    try:
        about = About(**json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise UserError(f'data: {path} is damaged ({error}); make the folder again with '
                         '`trans3dhead prepare faces`') from None
    return about
