"""`make soak`: every scenario in its long form, a table in the end, exit code 1 on a violation."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

# Gives this run a ROS graph of its own, before anything of ROS is loaded.
import conftest  # noqa: F401
import rclpy
from ros_graph import start_ros

from soak.steady import steady
from soak.watch import Outcome

Scenario = Callable[[Path], Outcome]


def scenarios(minutes: float) -> dict[str, Scenario]:
    """Return the long forms by name."""
    return {
        'steady': functools.partial(steady, seconds=60.0 * minutes),
    }


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    parser = argparse.ArgumentParser(prog='soak', description=__doc__)
    parser.add_argument('names', nargs='*', metavar='SCENARIO',
                        help=f'all where none is named: {", ".join(scenarios(0.0))}')
    parser.add_argument('--minutes', type=float, default=30.0, help='of the steady stream')
    parser.add_argument('--output', type=Path, default=Path('out/soak'))
    arguments = parser.parse_args()
    known = scenarios(arguments.minutes)
    if unknown := set(arguments.names) - set(known):
        parser.error(f'no scenario {", ".join(sorted(unknown))}; there are {", ".join(known)}')
    arguments.output.mkdir(parents=True, exist_ok=True)
    start_ros()
    outcomes = []
    try:
        for name in arguments.names or known:
            outcome = known[name](arguments.output)
            outcomes.append(outcome)
            (arguments.output / f'{name}.json').write_text(
                json.dumps(asdict(outcome), indent=1) + '\n')
            _tell(outcome)
    finally:
        rclpy.try_shutdown()
    print('\nsummary')
    for outcome in outcomes:
        print(f'  {outcome.name:<28} {"; ".join(outcome.violations) or "holds"}')
    return int(any(outcome.violations for outcome in outcomes))


def _tell(outcome: Outcome) -> None:
    print(f'\n{outcome.name}: {"VIOLATED" if outcome.violations else "holds"}')
    for name, value in outcome.figures.items():
        print(f'  {name:<36} {value}')
    for violation in outcome.violations:
        print(f'  violation: {violation}')


if __name__ == '__main__':
    raise SystemExit(main())
