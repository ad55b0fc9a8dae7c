"""Subcommands of `trans3dhead` in this process; a user's mistake is raised."""

from collections.abc import Callable, Sequence

from trans3dhead_ros.cli.main import run


def command(*words: str) -> Callable[[Sequence[str]], int]:
    """Return the function that runs a subcommand with further arguments."""
    return lambda arguments: run([*words, *arguments])


ablate = command('ablate')
evaluate = command('evaluate')
prepare_data = command('prepare', 'data')
prepare_fits = command('prepare', 'fits')
train = command('train')
