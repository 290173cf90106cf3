"""A folder for files in between, which go when the block ends, and what a full disk is called there."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from schemas.errors import PenstockError, StoreError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TOLD = re.compile(r"\(os error (\d+)\)")  # polars tells it in the text alone, of an OSError or of an error of its own


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder. Raises StoreError, one line, where there is no room for it, or no room left within the block."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(TemporaryDirectory(prefix=prefix))
        except OSError as error:
            raise no_room(f"make a temporary folder ({error.strerror or error})") from error
        try:
            yield Path(folder)
        except Exception as error:
            if isinstance(error, PenstockError) or not is_full(error):
                raise
            raise no_room(f"write temporary files ({' '.join(str(error).split())})") from error


def is_full(error: Exception) -> bool:
    """Whether there was no room for a file, whoever says so."""
    match = _TOLD.search(str(error))
    return getattr(error, "errno", None) in FULL or (match is not None and int(match[1]) in FULL)


def no_room(what: str) -> StoreError:
    """What could not be done, and how to mend it."""
    return StoreError(f"cannot {what}: free some space, then run it again")
