"""Everything Headstart raises on purpose.

    HeadstartError                 1   the base: a message a person can act on, and an exit code
    ├── UsageError                 2   an option or argument that cannot be right
    │   └── UnknownSource              a source URI that no catalog can open
    ├── DataError                  3   the data cannot be used as they are
    │   └── UnreadableRow              one row that cannot be read; counted, skipped up to a limit
    ├── IntegrityError             4   bytes that are not what their manifest says
    │   └── StoreVersionError          a store written by another version
    ├── ResourceError              5   no space, no memory, a disk that refuses
    ├── TransferRefused            6   a transfer was required and is not best
    ├── SourceUnavailable          1   a known source whose weights are not on this machine
    ├── MissingExtra               1   an optional dependency that is not installed
    ├── Diverged                   1   training went to a non-finite loss and could not be saved
    └── Busy                      75   the run belongs to another process

Every message says what came, what was expected, and what to do.
"""


class HeadstartError(Exception):
    """The base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(HeadstartError, ValueError):
    """An option or argument that cannot be right."""

    exit_code = 2


class UnknownSource(UsageError):
    """A source URI that no catalog can open."""


class DataError(HeadstartError, ValueError):
    """The data cannot be used as they are."""

    exit_code = 3


class UnreadableRow(DataError):
    """One row that cannot be read.

    Parameters
    ----------
    row
        How the row is shown to a person: a path, or a file and line.
    reason
        What is wrong with it, in a few words.
    """

    def __init__(self, row: str, reason: str) -> None:
        super().__init__(f"{row}: {reason}")
        self.row = row
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Let it come back from another process."""
        return type(self), (self.row, self.reason)


class IntegrityError(HeadstartError):
    """Bytes that are not what their manifest says."""

    exit_code = 4


class StoreVersionError(IntegrityError):
    """A store written by another version of Headstart."""


class ResourceError(HeadstartError):
    """No space left, not enough memory, or a disk that refuses."""

    exit_code = 5


class TransferRefused(HeadstartError):
    """A transfer was required (`--require-transfer`) and validation prefers a control."""

    exit_code = 6


class SourceUnavailable(HeadstartError):
    """A known source whose weights are not on this machine."""


class MissingExtra(HeadstartError, ImportError):
    """An optional dependency that is not installed."""


class Diverged(HeadstartError):
    """Training went to a non-finite loss, and a lower rate did not save it."""


class Busy(HeadstartError):
    """The run belongs to another process."""

    exit_code = 75


def first_line(error: BaseException) -> str:
    """Return what an error says in its first line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
