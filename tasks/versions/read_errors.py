"""What polars says when a lake goes away while it reads, in the project's words."""

from __future__ import annotations

from schemas.errors import ServiceUnavailable, first_line


def is_lake_gone(error: BaseException) -> bool:
    """Whether an object store stopped answering. What is missing or forbidden is another matter.

    Args:
        error: Any error.

    Returns:
        Whether it is so.
    """
    if not isinstance(error, OSError) or isinstance(error, (FileNotFoundError, PermissionError)):
        return False
    return str(error).startswith("object-store error")


def lake_gone(error: BaseException) -> ServiceUnavailable:
    """The error that is worth a retry, in place of what polars says of a lake that stopped answering.

    Args:
        error: What polars raised.

    Returns:
        The error to raise.
    """
    reason = first_line(error)
    return ServiceUnavailable(f"the lake stopped answering while its rows were read ({reason}): is it up?")
