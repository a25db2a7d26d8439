"""Errors that the user can mend: a message and an exit status, without a traceback."""


class UserError(Exception):
    """A problem that the user can solve; the message names it and the way out."""

    exit_status = 1


class UsageError(UserError, ValueError):
    """A command line that asks for what does not exist or cannot be.

    A ValueError too, so that the command line shows the message beside its usage.
    """

    exit_status = 2
