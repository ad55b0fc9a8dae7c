"""A node that is killed and started again while a camera publishes."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from ros_graph import HEADS, Client, TrackerProcess
from tqdm import tqdm

from tools.soak.camera import CameraProcess
from tools.soak.pictures import SIZE
from tools.soak.watch import TRACEBACK, Outcome

# As the launch file does after a crash, s.
_RESPAWN_DELAY = 2.0


def restarts(folder: Path, size: int, seed: int = 0, most_seconds: float = 30.0) -> Outcome:
    """
    Kill the node under a camera of 640 x 480 at 30 Hz and start it again.

    A start that its watchdog ends is repeated, as the launch file does, and counted.

    :param folder: for the logs.
    :param size: number of starts.
    :param seed: of the random moments.
    :param most_seconds: time from a start to its first heads, further starts included.
    :return: the outcome.
    """
    outcome, random = Outcome('restarts'), np.random.default_rng(seed)
    client, waits, repeated = Client(outputs=HEADS), [], 0
    heads = client.received['heads']
    try:
        with CameraProcess('image_raw', rate=30.0, size=SIZE) as camera:
            for index in tqdm(range(size), desc='restarts', disable=None):
                heads.clear()
                born, begin = time.time(), time.monotonic()
                process = _start(folder, index, 0)
                starts = 1

                def answered(born: float = born) -> bool:
                    return any(answer.header.stamp.sec > born for answer in heads)
                while not answered() and time.monotonic() - begin < most_seconds:
                    client.spin_until(
                        lambda: answered() or process.popen.poll() is not None,  # noqa: B023
                        most_seconds - (time.monotonic() - begin))
                    if not answered() and process.popen.poll() is not None:
                        client.spin_for(_RESPAWN_DELAY)
                        process = _start(folder, index, starts)
                        starts += 1
                waits.append(time.monotonic() - begin)
                repeated += starts - 1
                outcome.demand(answered(), f'no heads from start {index + 1}, see {process.log}')
                outcome.demand(camera.running(), 'the camera ended by itself')
                client.spin_for(random.uniform(0.0, 1.0))
                process.popen.kill()
                process.popen.wait()
                outcome.read_log(process, (TRACEBACK,))
    finally:
        client.close()
    outcome.figures |= {
        'starts': size, 'repeated after the watchdog': repeated,
        'seconds until heads flow': f'{statistics.median(waits):.1f}, most {max(waits):.1f}'}
    return outcome


def _start(folder: Path, index: int, again: int) -> TrackerProcess:
    return TrackerProcess(
        folder / f'start_{index}_{again}.log', '-p', 'autostart:=true', '-p',
        f'restarts:={again}', '-r', '__node:=killed_tracker')
