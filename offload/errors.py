"""The errors of the project: one tree, each with the exit code that a program ends with.

    OffloadError
    ├── ConfigurationError    wrong usage: an argument, a variable, a file that the user named
    ├── LoadingError          an app or a source that cannot be loaded
    ├── ProtocolError
    │   ├── LocalProtocolError    this program misused a session: a bug of ours
    │   └── RemoteProtocolError   the peer broke PROTOCOL.md: the connection is closed
    │       └── LimitPassed           its message is larger than this end takes
    ├── HandshakeError        the two ends do not fit: protocol version, app, pipeline
    ├── AuthError             a token was refused, or the peer could not prove that it knows it
    ├── Refused               the cloud ended the session for another reason, for good
    ├── SteeringError         a stream could not be steered: there is none, or its device did not
    ├── PayloadError          a value that cannot cross the network
    ├── SessionLost           the connection ended; the frames in flight are kept
    │   ├── TurnedAway            the server asked to come again later
    │   └── HostUnknown           nobody knows the server's name, or nobody can be asked
    ├── ServerUnavailable     no server answered for as long as the user was willing to wait
    ├── WorkKept              the run ended with work kept in the spool, for the next one
    ├── RunFailed             the run ended, but lost frames, or finished none
    ├── ReportError           the final report could not be written
    ├── ResultsError          the results could not be opened or written
    ├── SpoolError            the spool could not be read or written
    │   └── SpoolFull             it holds as much as it may
    ├── EmulationError        an experiment could not be set up, or not be run to its end
    └── TaskError             a task of the app raised, or returned what it may not

Messages are lower case without a full stop: what was found, then what was expected.
"""

from collections.abc import Iterator
from typing import ClassVar, Self


class OffloadError(Exception):
    """Root of all errors that the project raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(OffloadError):
    """Wrong usage: an argument, an environment variable or a file that the user named."""

    exit_code = 2


class LoadingError(OffloadError):
    """An app or a source cannot be loaded."""

    exit_code = 2


class ProtocolError(OffloadError):
    """The protocol was broken; see the two subclasses for by whom."""


class LocalProtocolError(ProtocolError):
    """This program misused a session: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what PROTOCOL.md does not allow; the connection must be closed."""

    exit_code = 76


class LimitPassed(RemoteProtocolError):
    """The peer sent a message that is larger than this end takes."""


class HandshakeError(OffloadError):
    """The two ends do not fit: protocol version, app or pipeline."""

    exit_code = 76


class AuthError(OffloadError):
    """A token was refused, or the peer could not prove that it knows the secret."""

    exit_code = 77


class Refused(OffloadError):
    """The cloud ended the session for good: the stream was taken over, or a limit was passed."""


class SteeringError(OffloadError):
    """A stream could not be steered: there is none of that name, or its device did not do it."""


class PayloadError(OffloadError):
    """A value cannot cross the network."""


class SessionLost(OffloadError):
    """The connection ended before the session did; frames in flight are kept."""

    exit_code = 69


class TurnedAway(SessionLost):
    """The server answered and asked to come again later: it drains, or is busy."""


class HostUnknown(SessionLost):
    """The server's name has no address: nobody knows it, or nobody can be asked."""


class ServerUnavailable(OffloadError):
    """No server answered for as long as the user was willing to wait."""

    exit_code = 69


class WorkKept(OffloadError):
    """The run ended with work kept in the spool; the next one sends it."""

    exit_code = 75


class RunFailed(OffloadError):
    """The run came to its end, but frames were abandoned, or failed and none was finished."""


class ReportError(OffloadError):
    """The final report could not be written."""


class ResultsError(OffloadError):
    """The results could not be opened, read or written."""


class SpoolError(OffloadError):
    """The spool could not be read or written; the stream goes on without it."""


class SpoolFull(SpoolError):
    """The spool holds as much as it may."""


class EmulationError(OffloadError):
    """A machine or a link of an experiment could not be made, or stopped working."""


class TaskError(OffloadError):
    """A task of the app raised, or returned what it may not; the cause is ``__cause__``.

    Args:
        task: Name of the task.
        reason: What happened, in one line.

    Attributes:
        where: File and line where it was raised; empty while that is in the traceback.
    """

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(f"task {task!r} {reason}")
        self.task = task
        self.reason = reason
        self.where = ""

    def released(self) -> Self:
        """Return this error, for keeping, without what its tracebacks hold.

        A traceback holds the local variables of all functions on the way, such as pictures, and
        often, by way of them, itself: only the garbage collector would end that, and it looks
        rarely.
        """
        for each in _with_causes(self):
            place = each.__traceback__
            while place is not None:
                code = place.tb_frame.f_code
                self.where = f"{code.co_filename}:{place.tb_lineno} in {code.co_name}"
                place = place.tb_next
        forget_tracebacks(self)
        return self


def forget_tracebacks(error: BaseException) -> None:
    """Let go of what the tracebacks of an error and its causes hold: it is kept to be said."""
    for each in _with_causes(error):
        each.__traceback__ = None


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
