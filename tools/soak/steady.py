"""A long stream of images: memory, threads and file handles must not grow."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_graph import FRAME, KEEP, OUTPUTS, RELIABLE, TrackerProcess, values_of
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tqdm import tqdm

from tools.soak.pictures import CAMERA, coming_and_going
from tools.soak.watch import Outcome, usage, windows
from trans3dhead_ros.ros.camera_info import camera_info
from trans3dhead_ros.ros.messages import bgr_image

MOST_GROWTH = 5.0  # MB
_TOLD = ('images received', 'images processed', 'images replaced by newer ones', 'bad images')
# Not deserialised here: they are large, and only their number counts.
_LARGE = ('head_markers', 'head_mesh', 'overlay')


class _Camera(Node):
    """Sends pictures on a beat, and counts all outputs of the tracker without keeping any."""

    def __init__(self) -> None:
        super().__init__('endless_camera')
        self.images = self.create_publisher(Image, 'image_raw', RELIABLE)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', RELIABLE)
        self.heard: Counter[str] = Counter()
        self.told: dict[str, int] = dict.fromkeys(_TOLD, 0)
        self.sent = 0
        for name, kind in OUTPUTS.items():
            self.create_subscription(
                kind, name, lambda _, name=name: self.heard.update([name]), KEEP,
                raw=name in _LARGE)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._listen, KEEP)
        pictures, self.what = coming_and_going()
        self._messages = [bgr_image(Header(frame_id=FRAME), picture) for picture in pictures]
        self._info = camera_info(CAMERA)

    def send(self) -> None:
        message = self._messages[self.sent % len(self._messages)]
        message.header.stamp = self.get_clock().now().to_msg()
        self._info.header = message.header
        self._infos.publish(self._info)
        self.images.publish(message)
        self.sent += 1

    def _listen(self, message: DiagnosticArray) -> None:
        for status in message.status:
            # Another tracker in the graph has named cameras.
            if status.name.endswith(': tracking'):
                values = values_of(status)
                self.told = {name: int(values[name]) for name in _TOLD}


def steady(folder: Path, seconds: float, rate: float = 30.0,
           most_growth: float = MOST_GROWTH, most_threads: int = 0) -> Outcome:
    """
    Publish 640 x 480 images at a fixed rate and watch the process of the tracker every second.

    Writes `steady.csv`, `steady.json` and, if matplotlib is installed, `steady.png`.

    :param folder: where the files go.
    :param seconds: duration of the stream.
    :param rate: images per second; the tracker drops those that it has no time for.
    :param most_growth: allowed growth of the resident memory after the warm-up, MB.
    :param most_threads: allowed growth of the number of threads after it. In short streams,
        libraries still start threads when they first have work for them.
    :return: the outcome.
    """
    outcome = Outcome('steady stream')
    process = TrackerProcess(folder / 'steady.log', '-p', 'autostart:=true')
    camera, executor = _Camera(), SingleThreadedExecutor()
    executor.add_node(camera)
    rows: list[dict[str, float]] = []
    try:
        deadline = time.monotonic() + 120.0
        while not camera.heard['heads']:
            outcome.demand(time.monotonic() < deadline, 'no heads within two minutes')
            if outcome.violations or process.popen.poll() is not None:
                outcome.demand(False, 'the tracker never answered')
                return outcome
            camera.send()
            executor.spin_once(timeout_sec=0.1)
        _stream(camera, executor, process, seconds, rate, rows)
        outcome.demand(process.popen.poll() is None, 'the tracker ended by itself')
    finally:
        started = time.monotonic()
        code = process.stop(timeout=120.0)
        outcome.figures['seconds to end'] = round(time.monotonic() - started, 1)
        executor.shutdown()
        camera.destroy_node()
    outcome.demand(code == 0, f'exit code {code}')
    outcome.read_log(process)
    _judge(outcome, rows, most_growth, most_threads)
    outcome.figures |= {'pictures': camera.what, 'images sent': camera.sent, **camera.told,
                        **{f'messages on {name}': camera.heard[name] for name in OUTPUTS}}
    _write(folder, rows, outcome)
    return outcome


def _stream(camera: _Camera, executor: SingleThreadedExecutor, process: TrackerProcess,
            seconds: float, rate: float, rows: list[dict[str, float]]) -> None:
    begin = time.monotonic()
    due, look = begin, begin + 1.0
    with tqdm(total=round(seconds), unit='s', desc='steady stream', disable=None) as bar:
        while (now := time.monotonic()) < begin + seconds and process.popen.poll() is None:
            if now >= due:
                camera.send()
                # A beat that was missed is not made up for.
                due = max(due + 1.0 / rate, now)
            if now >= look:
                rows.append({'seconds': round(now - begin, 1), **asdict(usage(process.popen.pid)),
                             'sent': camera.sent, **camera.told, 'heads': camera.heard['heads']})
                bar.update(round(now - begin) - bar.n)
                bar.set_postfix(resident=f'{rows[-1]["resident"]:.0f} MB', refresh=False)
                look = max(look + 1.0, now)
            executor.spin_once(timeout_sec=max(due - time.monotonic(), 0.0))


def _judge(outcome: Outcome, rows: list[dict[str, float]], most_growth: float,
           most_threads: int) -> None:
    if not rows:
        return
    for name, unit, most in (('resident', ' MB', most_growth), ('anonymous', ' MB', most_growth),
                             ('threads', '', most_threads), ('handles', '', 0.0)):
        before, after = windows([row[name] for row in rows])
        outcome.figures[name] = f'{before:.4g} -> {after:.4g}{unit}'
        outcome.figures[f'{name} growth'] = round(after - before, 2)
        outcome.demand(after - before <= most, f'{name} grew from {before} to {after}{unit}')
    answered = rows[-1]['images processed'] - rows[0]['images processed']
    outcome.figures['seconds'] = rows[-1]['seconds']
    outcome.figures['answered a second'] = round(
        answered / max(rows[-1]['seconds'] - rows[0]['seconds'], 1.0), 1)
    outcome.demand(answered > 0, 'no image was answered')


def _write(folder: Path, rows: list[dict[str, float]], outcome: Outcome) -> None:
    if not rows:
        return
    with (folder / 'steady.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / 'steady.json').write_text(json.dumps(asdict(outcome), indent=1) + '\n')
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure((8.0, 7.0), layout='constrained')
    memory, counts, pace = figure.subplots(3, 1, sharex=True)
    minutes = [row['seconds'] / 60.0 for row in rows]
    for name in ('resident', 'anonymous'):
        memory.plot(minutes, [row[name] for row in rows], label=name)
    for name in ('threads', 'handles'):
        counts.plot(minutes, [row[name] for row in rows], label=name)
    for name in ('sent', 'images processed'):
        totals = [row[name] for row in rows]
        # Over ten seconds, since the tracker tells its counts once a second.
        pace.plot(minutes[10:], [(b - a) / 10.0 for a, b in zip(totals, totals[10:], strict=False)],
                  label=name)
    memory.set_ylabel('memory (MB)')
    pace.set_ylabel('images a second')
    pace.set_xlabel('minutes')
    for axes in (memory, counts, pace):
        axes.set_ylim(0.0, 1.1 * axes.get_ylim()[1])
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(folder / 'steady.png', dpi=100)
