"""Batches made ahead of the training, beside it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import numpy as np

from trans3dhead_ros.training.augment import Augmentation
from trans3dhead_ros.training.data.batch import Batch
from trans3dhead_ros.training.data.heads import Heads


def prefetched(
    heads: Heads, count: int, seed: int, first: int, augmentation: Callable[[int], Augmentation],
    depth: int = 4,
) -> Iterator[Batch]:
    """
    Yield training batches made ahead by a thread; batch i depends on (seed, i) alone.

    :param augmentation: what applies to batch i.

    OpenCV and NumPy release the interpreter lock in their loops, so one thread is enough.
    """
    ready: queue.Queue[Batch | BaseException] = queue.Queue(depth)
    stop = threading.Event()

    def produce() -> None:
        index = first
        while not stop.is_set():
            try:
                item: Batch | BaseException = heads.training_batch(
                    count, np.random.default_rng((seed, index)), augmentation(index))
            except Exception as error:  # carried to the consumer, which raises it
                item = error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return
            index += 1

    thread = threading.Thread(target=produce, name='batches', daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
