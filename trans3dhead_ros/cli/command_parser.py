"""The parser of a subcommand, which imports the subcommand's module when it is chosen."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from trans3dhead_ros.arguments import ArgumentParser


class CommandParser(ArgumentParser):
    """
    Parses the arguments that the module of a subcommand declares.

    The module offers `run(options) -> int`, the exit code, and its docstring describes it in
    `--help`. It may offer `add_arguments(parser)`; without it, `options.arguments` holds the words
    as they were given. It may offer `epilog() -> str`, the text that ends `--help`.

    A declared argument `overrides` takes words such as `key=value` wherever they stand.

    :param module: full name of the module; None for a parser that only holds sub-parsers.
    :param **options: those of `argparse.ArgumentParser`.
    """

    def __init__(self, *, module: str | None = None, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self._module_name = module
        self._module: ModuleType | None = None

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Declare the module's arguments, then parse; see `argparse`."""
        if self._module_name is None:
            return super().parse_known_args(args, namespace)
        self._module = import_module(self._module_name)
        if not hasattr(self._module, 'add_arguments'):
            return argparse.Namespace(run=self._module.run, arguments=list(args or ())), []
        self.description = self._module.__doc__
        self._module.add_arguments(self)
        self.set_defaults(run=self._module.run)
        options, rest = super().parse_known_args(args, namespace)
        if hasattr(options, 'overrides'):
            options.overrides += [word for word in rest if _is_override(word)]
            rest = [word for word in rest if not _is_override(word)]
        if rest:
            self.error(f'unrecognized arguments: {" ".join(rest)}')
        return options, []

    def format_help(self) -> str:
        """Return the help, ended by what the module says there."""
        if hasattr(self._module, 'epilog'):
            self.epilog = self._module.epilog()
        return super().format_help()


def _is_override(word: str) -> bool:
    return '=' in word and not word.startswith('-')
