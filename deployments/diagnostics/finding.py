"""One finding of a check, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from schemas.refs import Value
from schemas.settings import Settings

Check = Callable[[Settings], "Finding | list[Finding]"]


class Finding(Value):
    """What one check saw."""

    name: str
    status: Literal["ok", "note", "wrong"]
    detail: str
    mend: str = ""
