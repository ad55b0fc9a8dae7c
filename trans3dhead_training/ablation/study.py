"""Runs of a study, some at a time, each a `trans3dhead train` of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

import trans3dhead_ros
from trans3dhead_ros.errors import UserError
from trans3dhead_training.ablation.results import Failure, RunFolder
from trans3dhead_training.ablation.variants import Variant
from trans3dhead_training.engine.config import load_config

# The study gives each run its own.
_RESERVED = ('output', 'seed', 'init_checkpoint', 'init_backbone_only')
_STOP_S = 60.0


@dataclass(frozen=True)
class Study:
    """
    Variants of one base configuration, each trained with the same seeds.

    :ivar root: folder of all runs. :ivar config: YAML of the base; None: the defaults.
    :ivar overrides: `key=value` on top of it. :ivar backbone: checkpoint whose backbone every run
        begins with; None: random weights.
    """

    root: Path
    config: Path | None
    overrides: tuple[str, ...]
    variants: tuple[Variant, ...]
    seeds: int = 3
    backbone: Path | None = None

    def jobs(self) -> list[Job]:
        """
        Return all runs, seed by seed, so that a study broken off has compared all variants.

        :raises ValueError: for a configuration that is wrong, or another than the folder's runs.
        """
        base, plain = load_config(self.config, self.overrides).to_dict(), load_config(None)
        for key in _RESERVED:
            if base[key] != plain.to_dict()[key]:
                raise UserError(f'{key}: the study sets it; use --output, --seeds or --backbone')
        if base['steps'] <= 0:
            raise UserError('steps: variants are compared after equally many; give steps=N')
        return [self._job(variant, seed) for seed in range(self.seeds)
                for variant in self.variants]

    def _job(self, variant: Variant, seed: int) -> Job:
        folder = RunFolder.of(self.root, variant.name, seed)
        start = [] if self.backbone is None else [
            f'init_checkpoint={self.backbone}', 'init_backbone_only=true']
        # By steps alone: a limit in minutes would give slow variants fewer of them.
        overrides = (*self.overrides, *start, *variant.overrides, 'minutes=0', f'seed={seed}',
                     f'output={folder.training}')
        config = load_config(self.config, overrides)
        folder.claim(config)
        return Job(folder, self.config, overrides, config.steps, config.threads)


@dataclass(frozen=True)
class Job:
    """One run to be made."""

    folder: RunFolder
    config: Path | None
    overrides: tuple[str, ...]
    steps: int
    threads: int

    def start(self) -> subprocess.Popen[bytes]:
        """Begin or continue it in a process of its own; its output goes to the log."""
        options = [] if self.config is None else ['--config', str(self.config)]
        if self.folder.unfinished():
            options.append('--resume')
        command = [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'train', *options, *self.overrides]
        with self.folder.log.open('wb') as log:
            # A session of its own: Ctrl-C reaches us alone, and we stop it in order.
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env=_environment(self.threads), start_new_session=True)


def run_all(jobs: Sequence[Job], at_once: int = 1) -> list[Failure]:
    """
    Make the runs that have no result yet; return those that failed.

    A run that fails, even to begin, does not stop the others. `KeyboardInterrupt` (also by SIGTERM)
    stops the runs under way, which save their state; the next call continues them.
    """
    waiting = [job for job in jobs if job.folder.result() is None]
    running: dict[Job, subprocess.Popen[bytes]] = {}
    failures: list[Failure] = []
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(waiting), desc='ablate', unit='run',
               disable=None)
    with _interruptible(), bar:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    job = waiting.pop(0)
                    try:
                        running[job] = job.start()
                    except OSError as error:
                        failures.append(_told(job.folder.fail(-1, [str(error)])))
                        bar.update()
                time.sleep(0.2)
                for job, process in [*running.items()]:
                    code = process.poll()
                    if code is None:
                        continue
                    del running[job]
                    outcome = job.folder.keep(code, job.steps)
                    if isinstance(outcome, Failure):
                        failures.append(_told(outcome))
                    bar.update()
        finally:
            _stop(list(running.values()))
    return failures


def _told(failure: Failure) -> Failure:
    tqdm.write(f'{failure.variant} seed {failure.seed} failed: {failure.reason}')
    return failure


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let processes save their state and end; kill what does not, or all at a second Ctrl-C."""
    try:
        for process in processes:
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _STOP_S
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def _interruptible():
    """
    Turn SIGINT and SIGTERM into `KeyboardInterrupt`.

    A shell's background jobs ignore SIGINT and so would the runs; a handler here undoes that for
    both.
    """
    before = {number: signal.signal(number, signal.default_int_handler)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of a run: this very package, and no more threads than it may have."""
    package = str(Path(trans3dhead_ros.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (package, os.environ.get('PYTHONPATH'))))
    few = {} if not threads else {
        name: str(threads) for name in ('OMP_NUM_THREADS', 'OPENCV_FOR_THREADS_NUM')}
    return {**os.environ, 'PYTHONPATH': path, **few}
