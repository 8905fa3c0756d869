"""The one error that a user is meant to read."""


class UserError(Exception):
    """A mistake in what the user gave us.

    The message is one line that names the thing, says what is wrong and how to mend it. The command line prints it
    without a traceback and exits with 2.
    """
