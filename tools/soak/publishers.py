"""Cameras that crash and are restarted."""

from __future__ import annotations

import statistics
import time

from tqdm import tqdm

from tools.soak.camera import CameraProcess
from tools.soak.stage import Stage
from tools.soak.watch import TRACEBACK, Outcome

# Time after which DDS has released the resources of dead participants, s.
_FORGOTTEN = 25.0


def publishers(stage: Stage, size: int, settle: float = _FORGOTTEN) -> Outcome:
    """
    Kill the process of a camera and start another, alternating between reliable and best effort.

    :param stage: the tracker and its clients.
    :param size: number of cameras.
    :param settle: seconds after which there must be as many threads and handles as before.
    :return: the outcome.
    """
    outcome = Outcome('cameras killed and restarted')
    # Between a camera of another reliability and the subscription that is made anew for it, ROS
    # warns; that heads flow again shows that it was.
    stage.forbidden_words = (TRACEBACK,)
    stage.wait()
    stage.must_see(outcome, 'before')
    heads, before, waits = stage.raw.received['heads'], stage.usage(), []
    for index in tqdm(range(size), desc='cameras killed', disable=None):
        heads.clear()
        born, begin = time.time(), time.monotonic()
        with CameraProcess('raw/image_raw', ('reliable', 'best_effort')[index % 2]) as camera:
            flows = stage.raw.spin_until(
                lambda: any(answer.heads and answer.header.stamp.sec >= int(born)  # noqa: B023
                            for answer in heads) or not stage.alive(), 120.0)
            outcome.demand(camera.running(), f'camera {index + 1} ended by itself')
        waits.append(time.monotonic() - begin)
        outcome.demand(flows and stage.alive(), f'no heads from camera {index + 1}')
        if outcome.violations:
            break
    outcome.figures |= {'cameras': size, 'seconds until heads flow, median': round(
        statistics.median(waits), 1), 'seconds until heads flow, most': round(max(waits), 1)}
    if stage.alive() and settle:
        stage.raw.spin_until(lambda: stage.usage().threads <= before.threads
                             and stage.usage().handles <= before.handles, settle)
        after = stage.usage()
        for name in ('threads', 'handles'):
            was, now = getattr(before, name), getattr(after, name)
            outcome.figures[name] = f'{was} -> {now}'
            outcome.demand(now <= was, f'{name}: {was} before and {now} after {size} cameras')
    return outcome
