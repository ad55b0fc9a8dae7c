"""The runs of an ablation: each variant with each seed, in a separate `trans3dhead train`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

import trans3dhead_ros
from trans3dhead_ros.errors import UserError
from trans3dhead_training.ablation.variants import Variant
from trans3dhead_training.engine.config import TrainConfig, load_config
from trans3dhead_training.engine.csv_log import CsvLog

# Keys that the ablation sets for each run.
_RESERVED = ('output', 'seed', 'init_checkpoint', 'init_backbone_only')
# Keys that may change when an ablation is continued: they do not change its results.
_IRRELEVANT = ('output', 'device', 'threads', 'loader_threads', 'log_steps', 'state_minutes',
               'state_steps', 'export')
_STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class AblationRun:
    """One variant with one seed."""

    variant: str
    """Name of the variant."""
    config: TrainConfig
    """Configuration of its training; `output` is its folder."""

    @property
    def folder(self) -> Path:
        """The folder of the training, with `log.txt` beside what every training writes."""
        return Path(self.config.output)

    def metrics(self) -> dict[str, float] | None:
        """Return the metrics of the last validation; None where the run is not finished."""
        rows = CsvLog(self.folder / 'metrics.csv').rows()
        if not rows or int(rows[-1]['step']) < self.config.steps:
            return None
        return {name.removeprefix('val_'): float(value) for name, value in rows[-1].items()
                if name.startswith('val_') and value}

    def claim(self) -> None:
        """
        Write the configuration into the folder.

        :raises UserError: the folder holds a run of another configuration; the key is named.
        """
        path = self.folder / 'config.yaml'
        if path.is_file():
            before, now = (_flat(config.to_dict()) for config in (load_config(path), self.config))
            for key in now.keys() - {*_IRRELEVANT}:
                if before[key] != now[key]:
                    raise UserError(f'{key}: {self.folder} holds a run with {before[key]!r}, not '
                                    f'{now[key]!r}; choose another --output')
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            # JSON turns tuples into lists, as YAML has them.
            values = json.loads(json.dumps(self.config.to_dict()))
            path.write_text(yaml.safe_dump(values, sort_keys=False))

    def start(self) -> subprocess.Popen[bytes]:
        """Start or continue the training in a process of its own, which writes `log.txt`."""
        resume = ['--resume'] if (self.folder / 'state.pt').is_file() else []
        with (self.folder / 'log.txt').open('wb') as log:
            # In a session of its own, so that Ctrl-C reaches only this process, which stops all.
            return subprocess.Popen(
                [sys.executable, '-m', 'trans3dhead_ros.cli.main', 'train', *resume, '--config',
                 str(self.folder / 'config.yaml'), f'output={self.folder}'],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=_environment(self.config.threads), start_new_session=True)

    def last_line(self) -> str:
        """Return the last line of `log.txt`, which says why a run failed."""
        lines = (self.folder / 'log.txt').read_text(errors='replace').strip().splitlines()
        return lines[-1] if lines else 'no output'


def planned_runs(
    root: Path, config: Path | None, overrides: Sequence[str], variants: Sequence[Variant],
    seeds: int, backbone: Path | None,
) -> list[AblationRun]:
    """
    List all runs, seed by seed, so that an ablation that is interrupted has compared all variants.

    :param root: folder of all runs.
    :param config: YAML of the base configuration; None: the defaults.
    :param overrides: `key=value` on top of it.
    :param variants: to compare.
    :param seeds: how many.
    :param backbone: checkpoint whose backbone every run starts from; None: random weights.
    :return: the runs; their folders hold their configurations.
    :raises UserError: a wrong configuration, or folders with runs of another one.
    """
    base, default = load_config(config, overrides), TrainConfig()
    for key in _RESERVED:
        if getattr(base, key) != getattr(default, key):
            raise UserError(f'{key}: the ablation sets it; use --output, --seeds or --backbone')
    if base.steps <= 0:
        raise UserError('steps: variants are compared after equally many steps; give steps=N')
    start = [] if backbone is None else [f'init_checkpoint={backbone}', 'init_backbone_only=true']
    # Without a limit in minutes, which would give slow variants fewer steps, and without graphs.
    runs = [AblationRun(variant.name, load_config(config, [
                *overrides, *start, *variant.overrides, 'minutes=0', 'export=false',
                f'seed={seed}', f'output={root / variant.name / f"seed{seed}"}']))
            for seed in range(seeds) for variant in variants]
    for run in runs:
        run.claim()
    return runs


def existing_runs(root: Path) -> list[AblationRun]:
    """Return all runs in a folder, finished or not, with that folder as their `output`."""
    return [AblationRun(path.parent.parent.name, load_config(path, [f'output={path.parent}']))
            for path in sorted(root.glob('*/seed*/config.yaml'))]


def run_all(runs: Sequence[AblationRun], jobs: int = 1) -> list[AblationRun]:
    """
    Train the runs that are not finished.

    A run that fails does not stop the others. `KeyboardInterrupt` (also by SIGTERM) stops the
    trainings, which save their state; the next call continues them.

    :param runs: of the ablation.
    :param jobs: how many at a time.
    :return: the runs that failed.
    """
    waiting = [run for run in runs if run.metrics() is None]
    running: dict[int, tuple[AblationRun, subprocess.Popen[bytes]]] = {}
    failed: list[AblationRun] = []
    bar = tqdm(total=len(runs), initial=len(runs) - len(waiting), desc='ablate', unit='run',
               disable=None)
    with _interruptible(), bar:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop(0)
                    process = run.start()
                    running[process.pid] = run, process
                time.sleep(0.2)
                for pid, (run, process) in [*running.items()]:
                    if process.poll() is None:
                        continue
                    del running[pid]
                    bar.update()
                    if run.metrics() is None:
                        failed.append(run)
                        tqdm.write(f'{run.variant} seed {run.config.seed} failed: '
                                   f'{run.last_line()}')
                        continue
                    for name in ('state.pt', 'best.safetensors'):  # only needed on the way
                        (run.folder / name).unlink(missing_ok=True)
        finally:
            _stop([process for _, process in running.values()])
    return failed


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let processes save their state and end; kill those that do not, or all at a second Ctrl-C."""
    try:
        for process in processes:
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def _interruptible() -> Iterator[None]:
    """
    Turn SIGINT and SIGTERM into `KeyboardInterrupt`.

    Background jobs of a shell ignore SIGINT, and so would the trainings; a handler undoes that.
    """
    before = {number: signal.signal(number, signal.default_int_handler)
              for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of a run: the same package, and no more threads than allowed."""
    package = str(Path(trans3dhead_ros.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (package, os.environ.get('PYTHONPATH'))))
    limits = {} if not threads else {
        name: str(threads) for name in ('OMP_NUM_THREADS', 'OPENCV_FOR_THREADS_NUM')}
    return {**os.environ, 'PYTHONPATH': path, **limits}


def _flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return nested keys joined by dots, such as `network.dim`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (_flat(value, f'{prefix}{key}.') if isinstance(value, dict)
                 else {f'{prefix}{key}': value})
    return flat
