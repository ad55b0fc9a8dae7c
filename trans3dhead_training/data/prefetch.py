"""Batches made ahead of the training, beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trans3dhead_training.core.augmentation import Augmentation
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.data.head_batches import Heads


def prefetched(
    heads: Heads, count: int, seed: int, first: int, augmentation: Callable[[int], Augmentation],
    share: tuple[int, int] = (0, 1), threads: int = 1, depth: int = 4,
) -> Iterator[Batch]:
    """
    Yield training batches made ahead by threads; batch i depends on (seed, i) alone.

    :param augmentation: what applies to batch i. :param share: see `Heads.training_batch`.

    OpenCV and NumPy release the interpreter lock in their loops, so threads do beside a training.
    """
    def make(index: int) -> Batch:
        return heads.training_batch(count, np.random.default_rng((seed, index)),
                                    augmentation(index), share)

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
