"""`make soak`: run the scenarios in their long form; exit code 1 if one is violated."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

# Selects a random ROS domain, before any module of ROS is imported.
import conftest  # noqa: F401
import rclpy
from ros_graph import start_ros

from tools.soak.fuzz import fuzz
from tools.soak.lifecycle import lifecycle
from tools.soak.models import models
from tools.soak.publishers import publishers
from tools.soak.restarts import restarts
from tools.soak.settings import settings
from tools.soak.signals import signals
from tools.soak.stage import Stage, start_tracker
from tools.soak.stamps import stamps
from tools.soak.steady import steady
from tools.soak.watch import Outcome

# Name -> scenario that runs on a `Stage`, and the size of its long form.
STAGED: dict[str, tuple[Callable[[Stage, int], Outcome], int]] = {
    'fuzz': (fuzz, 20_000), 'publishers': (publishers, 20), 'lifecycle': (lifecycle, 200),
    'stamps': (stamps, 500), 'models': (models, 100), 'settings': (settings, 1000)}
ALONE = {'signals': (signals, 50), 'restarts': (restarts, 24)}


def run(name: str, folder: Path, minutes: float) -> Outcome:
    """Run one scenario in its long form."""
    if name == 'steady':
        return steady(folder, 60.0 * minutes)
    if name in ALONE:
        scenario, size = ALONE[name]
        return scenario(folder, size)
    scenario, size = STAGED[name]
    stage = Stage(start_tracker(folder, name))
    outcome = Outcome(name)
    try:
        outcome = scenario(stage, size)
    except AssertionError as error:
        outcome.demand(False, str(error))
    finally:
        stage.end(outcome)
    return outcome


def main() -> int:
    """Run the scenarios that the command line names and return the exit code."""
    known = [*STAGED, *ALONE, 'steady']
    parser = argparse.ArgumentParser(prog='soak', description=__doc__)
    parser.add_argument('names', nargs='*', metavar='SCENARIO',
                        help=f'what to run, by default all: {", ".join(known)}')
    parser.add_argument('--minutes', type=float, default=30.0,
                        help='duration of the scenario steady')
    parser.add_argument('--output', type=Path, default=Path('out/soak'))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(known):
        parser.error(
            f'unknown scenario {", ".join(sorted(unknown))}; choose from {", ".join(known)}')
    arguments.output.mkdir(parents=True, exist_ok=True)
    outcomes = []
    start_ros()
    try:
        for name in arguments.names or known:
            print(f'{name} …', file=sys.stderr, flush=True)
            begin = time.monotonic()
            outcome = run(name, arguments.output, arguments.minutes)
            outcome.figures['minutes taken'] = round((time.monotonic() - begin) / 60.0, 1)
            outcomes.append(outcome)
            (arguments.output / f'{name}.json').write_text(
                json.dumps(asdict(outcome), indent=1) + '\n')
            _tell(outcome)
    finally:
        rclpy.try_shutdown()
    print('\nsummary')
    for outcome in outcomes:
        print(f'  {outcome.name:<28} {"; ".join(outcome.violations[:3]) or "holds"}')
    return int(any(outcome.violations for outcome in outcomes))


def _tell(outcome: Outcome) -> None:
    print(f'\n{outcome.name}: {"VIOLATED" if outcome.violations else "holds"}')
    for name, value in outcome.figures.items():
        print(f'  {name:<36} {value}')
    for violation in outcome.violations[:20]:
        print(f'  violation: {violation}')
    sys.stdout.flush()


if __name__ == '__main__':
    raise SystemExit(main())
