"""Signals at arbitrary moments."""

from __future__ import annotations

import signal
import statistics
import time
from pathlib import Path

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ros_graph import HEADS, Client, TrackerProcess
from tqdm import tqdm

from tools.soak.camera import CameraProcess
from tools.soak.watch import Outcome, catches

# Time that the shutdown may take on a busy machine, s.
MOST_SECONDS = 60.0
_MOMENTS = ('starting', 'configuring', 'tracking', 'in a transition')
_TRANSITIONS = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                Transition.TRANSITION_CONFIGURE)


def signals(folder: Path, size: int, seed: int = 0) -> Outcome:
    """Start `size` trackers and end them by SIGINT and SIGTERM in turn; return the outcome."""
    outcome = Outcome('signals')
    random = np.random.default_rng(seed)
    client, took = Client(outputs=HEADS), {moment: [] for moment in _MOMENTS}
    try:
        with CameraProcess('image_raw', rate=15.0):
            for index in tqdm(range(size), desc='signals', disable=None):
                moment = _MOMENTS[index % len(_MOMENTS)]
                number = (signal.SIGINT, signal.SIGTERM)[index // len(_MOMENTS) % 2]
                process = TrackerProcess(
                    folder / f'signal_{index}.log', '-p', 'autostart:=true', '-r',
                    '__node:=mortal_tracker')
                _wait_for(moment, client, process, random)
                begin = time.monotonic()
                code = process.stop(number, MOST_SECONDS)
                took[moment].append(time.monotonic() - begin)
                what = f'{number.name} while {moment} ({process.log})'
                outcome.demand(code == 0, f'exit code {code} after {what}')
                outcome.read_log(process)
    finally:
        client.close()
    outcome.figures['signals'] = size
    for moment, seconds in took.items():
        if seconds:
            outcome.figures[f'seconds to end while {moment}'] = (
                f'{statistics.median(seconds):.1f}, most {max(seconds):.1f}')
    return outcome


def _wait_for(moment: str, client: Client, process: TrackerProcess,
              random: np.random.Generator) -> None:
    """Wait for a moment, and a random time longer."""
    heads, born = client.received['heads'], time.time()
    if moment == 'starting':
        # Before, the process has no handlers yet.
        client.spin_until(lambda: process.popen.poll() is not None or catches(
            process.popen.pid, signal.SIGTERM), 120.0)
        client.spin_for(random.uniform(0.0, 2.0))
        return
    if moment == 'configuring':
        # It is in the graph before it is configured.
        client.spin_until(lambda: 'mortal_tracker' in client.get_node_names()
                          or process.popen.poll() is not None, 120.0)
        client.spin_for(random.uniform(0.0, 0.5))
        return
    # Results of the previous tracker may still arrive.
    heads.clear()
    client.spin_until(lambda: any(answer.header.stamp.sec > born for answer in heads)
                      or process.popen.poll() is not None, 120.0)
    if moment == 'in a transition':
        service = client.create_client(ChangeState, 'mortal_tracker/change_state')
        client.spin_until(service.service_is_ready, 20.0)
        for transition in _TRANSITIONS[:random.integers(1, 4)]:
            request = ChangeState.Request()
            request.transition.id = transition
            service.call_async(request)
        client.spin_for(random.uniform(0.0, 0.5))
        client.destroy_client(service)
    else:
        client.spin_for(random.uniform(0.0, 0.3))
