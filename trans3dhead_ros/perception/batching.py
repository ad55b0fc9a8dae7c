"""
Batched inference across cameras.

Code that needs the network in the middle of its work is written as a generator, an inference task:
it yields an `InferenceRequest` and receives the `Alignments` of its boxes. A task can be run on its
own, or in step with those of other cameras: simultaneous requests go through the network as one
batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_ros.types import Array, Image

Result = TypeVar('Result')


class InferenceRequest(NamedTuple):
    """Heads of one image to be aligned."""

    image: Image
    """(H, W, 3) uint8 BGR."""
    boxes: Array
    """(B, 4) landmark boxes, px."""
    rolls: Array | None = None
    """(B,) degrees by which the crops are turned, clockwise; None: not at all."""


InferenceTask: TypeAlias = Generator[InferenceRequest, Alignments, Result]
"""Yields requests, receives their alignments, returns a result."""


def run_single(aligner: HeadAligner, task: InferenceTask[Result]) -> Result:
    """Run one task and return its result; its exceptions propagate."""
    alignments: Alignments | None = None
    try:
        while True:
            alignments = aligner.align(*task.send(alignments))
    except StopIteration as end:
        return end.value


def run_batched(
    aligner: HeadAligner, tasks: Sequence[InferenceTask[Result]],
) -> list[Result | Exception]:
    """
    Run several tasks in step.

    :param aligner: processes their requests.
    :param tasks: may need different numbers of requests.
    :return: the result of each task, or the exception that ended it. A task that fails does not
        affect the others.
    """
    results: list[Result | Exception] = [RuntimeError('not run')] * len(tasks)
    responses: dict[int, Alignments | Exception | None] = dict.fromkeys(range(len(tasks)))
    while responses:
        requests: dict[int, InferenceRequest] = {}
        for index, response in responses.items():
            try:
                requests[index] = (
                    tasks[index].throw(response) if isinstance(response, Exception)
                    else tasks[index].send(response))
            except StopIteration as end:
                results[index] = end.value
            except Exception as error:
                results[index] = error
        responses = dict(zip(requests, _align(aligner, list(requests.values())), strict=True))
    return results


def _align(
    aligner: HeadAligner, requests: list[InferenceRequest],
) -> list[Alignments | Exception]:
    try:
        return list(aligner.align_images(requests)) if requests else []
    except Exception as error:
        if len(requests) == 1:
            return [error]
        # Only one request may be at fault: run them one by one.
        return [_align(aligner, [request])[0] for request in requests]
