"""The command line's parser: a wrong option is a user's mistake like any other."""

import argparse
from pathlib import Path
from typing import NoReturn

_PACKAGE = Path(__file__).resolve().parent


class ArgumentParser(argparse.ArgumentParser):
    """Raises `ValueError` where argparse would print its usage and leave the process."""

    def error(self, message: str) -> NoReturn:
        """Raise `ValueError` with the message and where to read on."""
        raise ValueError(f'{message} (see `{self.prog} --help`)')


def is_mistake(error: ValueError) -> bool:
    """Tell whether our code raised it on purpose, for a user, or a library stumbled inside."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and _PACKAGE in Path(frame.tb_frame.f_code.co_filename).parents
