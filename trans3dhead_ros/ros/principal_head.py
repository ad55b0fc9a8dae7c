"""Which of several heads is the one that `head_pose` follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trans3dhead_ros.perception.head import Head

# Two heads at the same distance must not take turns.
_CLEARLY_LARGER = 1.5


class PrincipalHead:
    """The largest head; it stays until it is lost or another one is clearly larger."""

    def __init__(self) -> None:
        # Track of the head; None if there is none.
        self._identity: int | None = None

    def sorted(self, heads: Sequence[Head]) -> list[Head]:
        """Return the heads with the principal one first and the others in their order."""
        if not heads:
            self._identity = None
            return []
        areas = [float(np.prod(head.box[2:] - head.box[:2])) for head in heads]
        chosen = int(np.argmax(areas))
        for index, head in enumerate(heads):
            if head.track_id is not None and head.track_id == self._identity \
                    and areas[chosen] < _CLEARLY_LARGER * areas[index]:
                chosen = index
        self._identity = heads[chosen].track_id
        return [heads[chosen], *(head for i, head in enumerate(heads) if i != chosen)]
