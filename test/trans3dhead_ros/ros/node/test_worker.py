"""The worker processes only the newest frame of every source, one batch at a time."""

import threading

import pytest

from trans3dhead_ros.ros.node.worker import NewestFrameWorker


class Gate:
    """A handler that holds its frames until it is released."""

    def __init__(self):
        self.entered, self.go, self.handled = threading.Semaphore(0), threading.Semaphore(0), []

    def __call__(self, frames):
        self.entered.release()
        self.go.acquire(timeout=10)
        if 'bad' in frames:
            raise RuntimeError('bad frame')
        self.handled.append(frames)


@pytest.fixture
def gate():
    return Gate()


def unexpected(error, frames):
    pytest.fail(str(error))


def test_only_the_newest_of_the_waiting_frames_is_processed(gate):
    worker = NewestFrameWorker(gate, unexpected)
    worker.submit(1)
    gate.entered.acquire(timeout=10)
    for frame in (2, 3, 4):
        worker.submit(frame)
    gate.go.release(2)
    gate.entered.acquire(timeout=10)
    assert worker.stop()
    assert gate.handled == [[1], [4]]
    assert worker.replaced == 2


def test_one_frame_of_every_source_is_processed_however_fast_another_is(gate):
    worker = NewestFrameWorker(gate, unexpected)
    worker.submit('start', 'fast')
    gate.entered.acquire(timeout=10)
    replaced = [worker.submit(f'fast {i}', 'fast') for i in range(20)]
    assert not worker.submit('slow 0', 'slow')
    gate.go.release(2)
    gate.entered.acquire(timeout=10)
    assert worker.stop()
    assert gate.handled == [['start'], ['fast 19', 'slow 0']]
    assert replaced == [False] + [True] * 19


def test_a_failure_is_reported_with_its_frames_and_the_next_frame_is_processed(gate):
    failures = []
    worker = NewestFrameWorker(gate, lambda error, frames: failures.append((str(error), frames)))
    gate.go.release(2)
    for frame in ('bad', 'good'):
        worker.submit(frame)
        gate.entered.acquire(timeout=10)
    assert worker.stop()
    assert gate.handled == [['good']]
    assert failures == [('bad frame', ['bad'])]


def test_calls_run_between_frames_and_are_cancelled_after_the_stop(gate):
    worker = NewestFrameWorker(gate, unexpected)
    worker.submit(1)
    gate.entered.acquire(timeout=10)
    during = worker.call(lambda: list(gate.handled))
    failing = worker.call(lambda: 1 / 0)
    gate.go.release()
    assert during.result(timeout=10) == [[1]]
    assert isinstance(failing.exception(timeout=10), ZeroDivisionError)
    assert worker.stop()
    assert worker.call(list).cancelled()
