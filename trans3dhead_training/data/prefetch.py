"""Batches made ahead of the training, in threads of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trans3dhead_training.core.augmentation import Augmentation
from trans3dhead_training.data.batch import Batch
from trans3dhead_training.data.head_dataset import HeadDataset


def prefetched(
    heads: HeadDataset, count: int, seed: int, first: int,
    augmentation: Callable[[int], Augmentation], share: tuple[int, int] = (0, 1), threads: int = 1,
    depth: int = 4,
) -> Iterator[Batch]:
    """
    Yield training batches; batch i depends on the seed and on i alone.

    OpenCV and NumPy release the interpreter lock in their loops, so that threads suffice.

    :param heads: to draw from.
    :param count: size of a whole batch.
    :param seed: of all batches.
    :param first: number of the first batch.
    :param augmentation: returns the augmentation of a batch by its number.
    :param share: see `HeadDataset.training_batch`.
    :param threads: that make batches.
    :param depth: how many batches are made ahead, at least two for each thread.
    :yield: batches, without end.
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
