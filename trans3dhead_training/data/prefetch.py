"""Batches made ahead of the training, in threads of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar('Batch')


def prefetched(
    make: Callable[[int], Batch], first: int, threads: int = 1, depth: int = 4,
) -> Iterator[Batch]:
    """
    Yield batches in the order of their numbers.

    OpenCV and NumPy release the interpreter lock in their loops, so that threads suffice.

    :param make: returns the batch of a number, which depends on that number alone.
    :param first: number of the first batch.
    :param threads: that make batches.
    :param depth: how many batches are made ahead, at least two for each thread.
    :yield: batches, without end.
    """
    pool = ThreadPoolExecutor(threads, 'batches')
    ahead = max(depth, 2 * threads)
    pending = deque(pool.submit(make, first + number) for number in range(ahead))
    try:
        while True:
            batch = pending.popleft().result()
            pending.append(pool.submit(make, first + ahead))
            first += 1
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
