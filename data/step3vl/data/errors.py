"""The errors that are meant for the user, and which errors are the machine's."""

from collections.abc import Iterator
from contextlib import contextmanager

AGAIN = "fix the cause and run the same command again"
"""What to do after an `InfrastructureError`; ends its message."""
RESUME = f"nothing was committed: {AGAIN}"
"""The same before a commit."""


class UserError(Exception):
    """A mistake in the user's input.

    The message is one line that names the input, says what is wrong and how to fix it. The command line prints it
    without a traceback and exits with 2.
    """


class InfrastructureError(UserError):
    """What the machine or a store caused, and no record: a lost file, a full disk, a store that does not answer.

    It is never counted as a failed record. The step ends uncommitted, and running it again may succeed.
    """


def is_infrastructure_error(error: BaseException) -> bool:
    """Whether the machine caused an error, rather than the record that was processed.

    Decoders raise a bare `OSError` for garbled bytes; only errors of the operating system have a number, or a class of
    their own.
    """
    if isinstance(error, OSError):
        return error.errno is not None or (type(error) is not OSError and type(error).__module__ == "builtins")
    return isinstance(error, InfrastructureError | MemoryError | ImportError)


def describe_error(error: BaseException) -> str:
    """An error in one line, with its type unless it is a `UserError`."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def infrastructure_errors(work: str, advice: str = RESUME) -> Iterator[None]:
    """Turn what the machine causes inside the block into an `InfrastructureError`; other errors pass.

    Args:
        work: What the block does, for the message, such as `writing runs/corpus`.
        advice: Ends the message.
    """
    try:
        yield
    except InfrastructureError as error:
        if AGAIN in str(error):
            raise
        raise type(error)(f"{work}: {error}; {advice}") from error
    except (OSError, MemoryError) as error:
        if not is_infrastructure_error(error):
            raise
        raise InfrastructureError(f"{work}: {describe_error(error)}; {advice}") from error
