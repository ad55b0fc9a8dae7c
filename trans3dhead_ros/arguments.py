"""The command line's parser: a wrong option is a user's mistake like any other."""

import argparse
from typing import NoReturn

from trans3dhead_ros.errors import UserError


class ArgumentParser(argparse.ArgumentParser):
    """Raises `UserError` where argparse would print its usage and leave the process."""

    def error(self, message: str) -> NoReturn:
        """Raise `UserError` with the message and where to read on."""
        raise UserError(f'{message} (see `{self.prog} --help`)')
