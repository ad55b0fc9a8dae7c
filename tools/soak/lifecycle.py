"""Life cycle transitions, legal and illegal, while images are published."""

from __future__ import annotations

import numpy as np
from lifecycle_msgs.msg import Transition
from tqdm import tqdm

from tools.soak.camera import CameraProcess
from tools.soak.stage import Stage
from tools.soak.watch import Outcome, windows

MOST_GROWTH = 5.0  # MB
_CONFIGURE, _CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
_ACTIVATE, _DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
# One round, from active to active.
_ROUND = (_DEACTIVATE, _CLEANUP, _CONFIGURE, _ACTIVATE)
# The next transition of the round -> those that are illegal in the state before it.
_ILLEGAL = {
    _DEACTIVATE: (_CONFIGURE, _CLEANUP, _ACTIVATE, 99),
    _CLEANUP: (_CONFIGURE, _DEACTIVATE, 99),
    _CONFIGURE: (_CLEANUP, _ACTIVATE, _DEACTIVATE, 99),
    _ACTIVATE: (_CONFIGURE, _DEACTIVATE, 99),
}


def lifecycle(stage: Stage, size: int, seed: int = 0, traffic: bool = True) -> Outcome:
    """
    Run rounds of transitions, with illegal ones in between that must be refused.

    Some rounds are cut short: activate after deactivate, configure after cleanup.

    :param stage: the tracker and its clients.
    :param size: number of rounds.
    :param seed: of the random choices.
    :param traffic: whether a camera publishes meanwhile.
    :return: the outcome.
    """
    outcome = Outcome('life cycle')
    random, samples, refused = np.random.default_rng(seed), [], 0
    stage.wait()
    camera = CameraProcess('raw/image_raw', rate=15.0) if traffic else None
    try:
        for index in tqdm(range(size), desc='life cycle', unit='rounds', disable=None):
            if random.random() < 0.3:
                outcome.demand(stage.raw.change_state(_DEACTIVATE)
                               and stage.raw.change_state(_ACTIVATE),
                               f'round {index + 1}: no activation behind a deactivation')
            for step in _ROUND:
                if random.random() < 0.3:
                    wrong = int(random.choice(_ILLEGAL[step]))
                    refused += 1
                    outcome.demand(not stage.raw.change_state(wrong),
                                   f'round {index + 1}: transition {wrong} was not refused')
                outcome.demand(stage.raw.change_state(step),
                               f'round {index + 1}: transition {step} failed')
                stage.raw.spin_for(random.uniform(0.0, 0.05))
                if step == _CLEANUP and stage.alive():
                    # Where the least is held.
                    samples.append(stage.usage())
            if not stage.alive() or outcome.violations:
                break
    finally:
        if camera is not None:
            camera.kill()
    outcome.demand(stage.alive(), 'the tracker died')
    if stage.alive():
        stage.wait()
        stage.must_see(outcome, f'after {size} rounds')
    outcome.figures |= {'rounds': len(samples), 'transitions refused as they must': refused}
    for name, unit, most in (('resident', ' MB', MOST_GROWTH), ('threads', '', 0.0),
                             ('handles', '', 0.0)):
        before, after = windows([getattr(sample, name) for sample in samples])
        outcome.figures[name] = f'{before:.4g} -> {after:.4g}{unit}'
        if len(samples) >= 50:
            outcome.demand(after - before <= most, f'{name} grew from {before} to {after}{unit}')
    return outcome
