"""Every error Penstock raises on purpose, with the exit code that the command line gives it.

    PenstockError
    ├── UsageError              2  the caller asked for something that cannot be: unknown use case, bad setting, bad source
    ├── Refused                 1  a gate or a contract said no; nothing was changed
    │   └── NotEnoughEvidence   1  too few rows, one class only, no reference: no verdict either way
    ├── IntegrityError          1  stored bytes are not what their hash says
    ├── StoreError              1  the version store refused an operation
    │   ├── NotFound            1  no such repository, branch, commit or path
    │   ├── Conflict            1  both sides changed a path, or a ref moved under us for good
    │   ├── NothingToCommit     1  the branch holds no change (also: already merged)
    │   ├── ProtectedBranch     1  the branch takes merges only
    │   └── StaleCheck          1  what a merge relied on has changed since: check again and repeat (transient)
    └── ServiceUnavailable      3  a service did not answer (transient)

A message is one line: what was tried, and how to mend it. `transient` tells a retry from a verdict.
"""

from __future__ import annotations


class PenstockError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1
    transient = False


class UsageError(PenstockError):
    """The request itself cannot be served."""

    exit_code = 2


class Refused(PenstockError):
    """A gate or a contract said no."""


class NotEnoughEvidence(Refused):
    """There is too little data for a verdict."""


class IntegrityError(PenstockError):
    """Stored bytes differ from what their recorded hash says."""


class StoreError(PenstockError):
    """The version store refused an operation."""


class NotFound(StoreError):
    """No such repository, branch, commit or path."""


class Conflict(StoreError):
    """Both sides changed the same path."""


class NothingToCommit(StoreError):
    """The branch holds no change."""


class ProtectedBranch(StoreError):
    """The branch takes merges only."""


class StaleCheck(StoreError):
    """The state that a merge relied on has changed since it was read."""

    transient = True


class ServiceUnavailable(PenstockError):
    """A service did not answer."""

    exit_code = 3
    transient = True


def first_line(error: BaseException | str, most: int = 200) -> str:
    """What an error of somebody else's says, as part of a message of ours.

    Args:
        error: The error, or its text.
        most: How many characters at most.

    Returns:
        The first line; the name of the error's type where it says nothing.
    """
    line = str(error).strip().split("\n")[0][:most]
    return line or ("" if isinstance(error, str) else type(error).__name__)
