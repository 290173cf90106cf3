"""Refusals that carry what whoever finds out how a file is written needs to try again."""

from __future__ import annotations

from schemas.errors import Refused


class StrayQuote(Refused):
    """A quote stands within a field that none encloses, or is never closed.

    Args:
        message: One line.
        row: The first row in or near which one stands.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


class RecordsElsewhere(Refused):
    """A JSON document holds no array of records where its reader's path leads, and one somewhere else.

    Args:
        message: One line.
        path: Where the first array lies.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path
