"""Stamps that jump, as with restarted drivers, bags played in a loop, or adjusted clocks."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tqdm import tqdm

from tools.soak.stage import Stage
from tools.soak.watch import Outcome

_JUMPS = (0.04, 0.04, 0.0, 0.001, 1.0, 7.0, 3600.0, 1e6, -0.04, -1.0, -3600.0, -1e6, 1e-9)
_LATEST = 2 ** 31 - 1
# Allowed apparent motion of a head at rest, m.
_STILL = 0.02


def stamps(stage: Stage, size: int, seed: int = 0) -> Outcome:
    """
    Publish a head at rest with stamps that jump.

    Results must carry the stamps of their images, and the head must keep its id and its position.

    :param stage: the tracker and its clients.
    :param size: number of images.
    :param seed: of the random choices.
    :return: the outcome.
    """
    outcome = Outcome('stamps that jump')
    random = np.random.default_rng(seed)
    stage.wait()
    stage.raw.call(Trigger, 'head_tracker/reset', Trigger.Request())
    stamp, ids, places = 1e9, set(), []
    for index in tqdm(range(size), desc='stamps that jump', disable=None):
        kind = random.random()
        if kind < 0.1:
            stamp = float(random.choice([0.0, 1e-9, _LATEST, 1e9]))
        else:
            stamp = float(np.clip(stamp + random.choice(_JUMPS), 0.0, _LATEST))
        whole = int(stamp)
        header = Header(frame_id='somewhere', stamp=Time(
            sec=whole, nanosec=min(round((stamp - whole) * 1e9), 999_999_999)))
        answer = stage.answer(stage.raw, stage.message(stage.raw, stage.person, header))
        if answer is None:
            outcome.demand(False, f'image {index + 1}, stamp {stamp}, was not answered')
            break
        outcome.demand(answer.header == header, f'image {index + 1}: another header came back')
        outcome.demand(len(answer.heads) == 1, f'image {index + 1}: {len(answer.heads)} heads')
        for head in answer.heads:
            ids.add(head.id)
            place = head.pose.pose.position
            places.append((place.x, place.y, place.z))
    wander = float(np.ptp(np.array(places), axis=0).max()) if places else np.nan
    outcome.demand(wander < _STILL, f'the head wandered {wander} m')
    outcome.demand(len(ids) == 1, f'the head had ids {sorted(ids)}')
    outcome.figures |= {'images': len(places), 'ids': len(ids), 'wander (mm)': round(
        1000.0 * wander, 2)}
    return outcome
