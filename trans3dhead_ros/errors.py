"""The error that a user can correct."""


class UserError(ValueError):
    """
    A mistake of the user: a wrong option, value or file.

    The message is one line that names what is wrong and how to correct it. The command line prints
    it and exits with code 2; any other exception is a defect and shows its traceback.
    """
