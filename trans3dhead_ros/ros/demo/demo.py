"""
Run the demo: image publisher → head_tracker → recorder, three processes over DDS.

They use a random ROS domain, so that they neither disturb nor receive other nodes.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.bags.bag_writer import check_replaceable
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.ros.demo.demo_folder import RESULTS, check_folder, mark_folder

_PACES = ('lockstep', 'realtime')
_STOP_TIMEOUT = 20.0  # s
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


class DemoError(Exception):
    """A process of the demo failed; the message says which and how."""


@dataclass
class Process:
    """One process of the demo."""

    name: str

    popen: subprocess.Popen

    log: Path
    """File with its standard error."""

    @classmethod
    def start(cls, name: str, module: str, parameters: dict[str, str], folder: Path) -> Process:
        """
        Start `python -m module` with ROS parameters.

        :param name: of the log file in `folder`, and in messages.
        :param module: the module.
        :param parameters: of its node.
        :param folder: folder of the log file.
        :return: the running process.
        """
        arguments = [f'{name}:={value}' for name, value in parameters.items()]
        command = [sys.executable, '-m', module, '--ros-args',
                   *(word for argument in arguments for word in ('-p', argument))]
        log = folder / f'{name}.log'
        with log.open('w') as file:
            # In a session of its own, so that Ctrl-C reaches only the demo, which then ends the
            # processes in order.
            popen = subprocess.Popen(command, stderr=file, stdin=subprocess.DEVNULL,
                                     start_new_session=True, preexec_fn=_end_with_parent)
        return cls(name, popen, log)

    def check(self) -> None:
        """Raise `DemoError` if the process has ended with an error."""
        code = self.popen.poll()
        if code:
            raise DemoError(f'{self.name} ended with code {code}: {self._last_line()}')

    def stop(self) -> None:
        """Interrupt the process, or kill it; raise `DemoError` if it does not end well."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGINT)
        try:
            self.popen.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise DemoError(f'{self.name} did not end within {_STOP_TIMEOUT:.0f} s') from None
        self.check()

    def _last_line(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors='replace').splitlines()]
        # Fast DDS writes in colour, and may do so while the process ends.
        return next((line for line in reversed(lines) if line and not line.startswith('\033')),
                    f'see {self.log}')


def run(source: str, pace: str, output: Path, model: str, device: str) -> None:
    """
    Run the processes until the source has ended.

    :param source: what `open_source` takes.
    :param pace: 'lockstep' or 'realtime'.
    :param output: folder of the results; those of an earlier demo are replaced.
    :param model: a checkpoint; empty for the bundled one.
    :param device: auto, cpu, cuda or cuda:N.
    :raises UserError: for a source that cannot be read, or a folder with other files.
    :raises DemoError: if a process fails.
    """
    with open_source(source) as opened:
        fps = opened.fps
    logs = _cleared(output, source)
    _isolate()
    processes: list[Process] = []
    # From here on, a signal must not interrupt the start of a process, which would be orphaned.
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    try:
        processes.append(Process.start(
            'recorder', 'trans3dhead_ros.ros.demo.recorder',
            {'output': str(output), 'fps': f'{max(fps, 1.0):.6f}'}, logs))
        processes.append(Process.start(
            'head_tracker', 'trans3dhead_ros.ros.node.head_tracker',
            {'autostart': 'true', 'device': device, **({'model': model} if model else {})}, logs))
        processes.append(Process.start(
            'image_publisher', 'trans3dhead_ros.ros.demo.image_publisher',
            {'source': source, 'pace': pace, 'wait_for': '[head_tracker, recorder]'}, logs))
        _wait(processes, interrupted)
    finally:
        _stop(list(reversed(processes)))


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the demo as a command.

    :param arguments: of the command line, without the program; None for those of the process.
    :return: exit code: 2 for a user's mistake, 1 for the failure of a process.
    """
    # OpenCV and FFmpeg would print lines of their own about a file that they cannot read.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    parser = ArgumentParser(prog='demo', description='image publisher → head_tracker → recorder')
    parser.add_argument('--source', default='', help='picture, folder, GIF, video, stream URL or '
                        'camera index (default: the bundled clip)')
    parser.add_argument('--pace', default='', help='lockstep: publish each frame when the heads of '
                        'the previous one have arrived; realtime: at the rate of the source '
                        '(default: lockstep)')
    parser.add_argument('--output', type=Path, default=Path('out/demo'),
                        help='folder of the results (default: %(default)s)')
    parser.add_argument('--model', default='', help="either file of a model, or 'open' "
                        '(default: the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    try:
        options = parser.parse_args(arguments)
        pace = options.pace or _PACES[0]
        if pace not in _PACES:
            raise UserError(f'pace: {pace!r} is unknown, use {" or ".join(_PACES)}')
        source = options.source or str(bundled_clip())
        run(source, pace, options.output, options.model, options.device)
    except UserError as error:
        print(f'demo: error: {error}', file=sys.stderr)
        return 2
    except (DemoError, OSError) as error:
        print(f'demo: error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f'results: {options.output}/' + '{overlay.mp4,overlay.png,heads.jsonl,bag}')
    return 0


def _cleared(output: Path, source: str) -> Path:
    """
    Remove the results of an earlier demo and mark the folder as one of a demo.

    :param output: folder of the results.
    :param source: which may lie in no result.
    :return: the new folder of the logs.
    :raises UserError: for results of something else, and where they hold the source.
    """
    results = [output / name for name in (*RESULTS, 'log') if os.path.lexists(output / name)]
    for path in results:
        inside = Path(source).resolve()
        if path.resolve() in (inside, *inside.parents) or (
                Path(source).is_file() and path.is_file() and path.samefile(source)):
            raise UserError(f'output: {path}, which would be replaced, is or holds the source')
    check_folder(output)
    check_replaceable(output / 'bag')
    for path in (output / 'log').glob('*'):
        if path.suffix != '.log':
            raise UserError(f'output: {path} is not of a demo; choose another folder')
    for path in results:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    logs = output / 'log'
    logs.mkdir(parents=True)
    mark_folder(output)
    return logs


def _isolate() -> None:
    """Set a random ROS domain for this process and its children."""
    # Up to 101, DDS ports stay clear of the ports that Linux hands out by itself.
    os.environ['ROS_DOMAIN_ID'] = str(random.SystemRandom().randint(1, 101))
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'
    else:
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'


def _wait(processes: list[Process], interrupted: threading.Event) -> None:
    """Wait until the recorder ends; raise `KeyboardInterrupt` if the user interrupts."""
    recorder = processes[0].popen
    while recorder.poll() is None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        for process in processes:
            process.check()
        time.sleep(0.05)
    processes[0].check()


def _stop(processes: list[Process]) -> None:
    """Stop the processes in this order; raise the first failure when all have ended."""
    failures = []
    for process in processes:
        try:
            process.stop()
        except DemoError as error:
            failures.append(error)
    if failures and sys.exc_info()[0] is None:
        raise failures[0]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Make the kernel end this process when the demo is killed, so that nothing is left behind."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


if __name__ == '__main__':
    raise SystemExit(main())
