"""What polars says when a lake goes away while it reads, in the project's words."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from schemas.errors import ServiceUnavailable

P = ParamSpec("P")
R = TypeVar("R")


def is_lake_gone(error: BaseException) -> bool:
    """Whether an object store stopped answering. What is missing or forbidden is another matter."""
    if not isinstance(error, OSError) or isinstance(error, (FileNotFoundError, PermissionError)):
        return False
    return str(error).startswith("object-store error")


def reported(function: Callable[P, R]) -> Callable[P, R]:
    """The function; where the object store stops answering it raises ServiceUnavailable, which is worth a retry."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if not is_lake_gone(error):
                raise
            told = str(error).splitlines()[0][:200]
            raise ServiceUnavailable(f"the lake stopped answering while its rows were read ({told}): is it up?") from error

    return run
