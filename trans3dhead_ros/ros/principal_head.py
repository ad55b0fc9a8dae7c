"""Selection of the head that `head_pose` follows."""

from __future__ import annotations

from collections.abc import Sequence

from trans3dhead_ros.perception.head import Head

# Ratio of box areas at which another head takes over: hysteresis between heads of similar size.
_SWITCH_RATIO = 1.5


class PrincipalHead:
    """
    Selects the largest head, and keeps it until it is lost or another is clearly larger.

    A head whose face is seen comes before all that are turned away.
    """

    def __init__(self) -> None:
        self._track_id: int | None = None

    def sort(self, heads: Sequence[Head]) -> list[Head]:
        """Return the heads with the principal one first, the others in their order."""
        if not heads:
            self._track_id = None
            return []
        visible = [head.face_visible for head in heads]
        areas = [_area(head) * (seen or not any(visible))
                 for head, seen in zip(heads, visible, strict=True)]
        chosen = areas.index(max(areas))
        for index, head in enumerate(heads):
            if head.track_id is not None and head.track_id == self._track_id \
                    and areas[chosen] < _SWITCH_RATIO * areas[index]:
                chosen = index
        self._track_id = heads[chosen].track_id
        return [heads[chosen], *(head for i, head in enumerate(heads) if i != chosen)]


def _area(head: Head) -> float:
    x0, y0, x1, y1 = head.box.tolist()
    return (x1 - x0) * (y1 - y0)
