"""The error that a user can mend."""


class UserError(ValueError):
    """
    A mistake of the user's: a wrong option, value or file.

    The message is one line that names the thing and the mend. The command line prints it and exits
    with code 2; any other exception is a defect of ours and keeps its traceback.
    """
