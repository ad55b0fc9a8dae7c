"""
Several images, one pass of the network.

Whoever needs the network in the middle of its work is written as a generator: it yields a *look*
(boxes of an image), and is sent the alignments. Such work can be done alone, or in step with that
of other cameras: the looks that are asked for at the same time go through the network as one batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeAlias, TypeVar

from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_ros.types import Array, Image

Result = TypeVar('Result')
#: (H, W, 3) uint8 BGR and landmark boxes (B, 4) px.
Look: TypeAlias = tuple[Image, Array]
#: Work that asks for looks and ends with a result.
Looks: TypeAlias = Generator[Look, Alignments, Result]


def look_alone(aligner: HeadAligner, work: Looks[Result]) -> Result:
    """Do one piece of work, and let its exceptions through."""
    found: Alignments | None = None
    try:
        while True:
            found = aligner.align(*work.send(found))
    except StopIteration as end:
        return end.value


def look_together(
    aligner: HeadAligner, works: Sequence[Looks[Result]],
) -> list[Result | Exception]:
    """
    Do several pieces of work in step.

    :return: for each its result, or the exception that ended it: one that fails takes no other one
        with it.
    """
    results: list[Result | Exception] = [RuntimeError('not done')] * len(works)
    answers: dict[int, Alignments | Exception | None] = dict.fromkeys(range(len(works)))
    while answers:
        looks: dict[int, Look] = {}
        for index, answer in answers.items():
            try:
                looks[index] = works[index].throw(answer) if isinstance(answer, Exception) \
                    else works[index].send(answer)
            except StopIteration as end:
                results[index] = end.value
            except Exception as error:
                results[index] = error
        answers = dict(zip(looks, _align(aligner, list(looks.values())), strict=True))
    return results


def _align(aligner: HeadAligner, looks: list[Look]) -> list[Alignments | Exception]:
    try:
        return list(aligner.align_each(looks)) if looks else []
    except Exception as error:
        if len(looks) == 1:
            return [error]
        # One of them is at fault; the others shall not pay for it.
        return [_align(aligner, [look])[0] for look in looks]
