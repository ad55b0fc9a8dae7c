"""The command line's parser: a wrong option is a user's mistake like any other."""

import argparse
from typing import NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """Raises `ValueError` where argparse would print its usage and leave the process."""

    def error(self, message: str) -> NoReturn:
        """Raise `ValueError` with the message and where to read on."""
        raise ValueError(f'{message} (see `{self.prog} --help`)')
