"""Where a registry lies: its URL in one spelling, and for a local one its files."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import UsageError

SETTING = "PENSTOCK_MLFLOW_URL"


@dataclass(frozen=True)
class Location:
    """A local registry is a SQLite file with a folder of artifacts beside it; a server's has neither."""

    url: str
    locks: Path
    database: Path | None = None
    artifacts: Path | None = None

    @property
    def exists(self) -> bool:
        """False for a local registry that nobody has written to yet."""
        return self.database is None or (self.database.exists() and self.database.stat().st_size > 0)

    def lock(self, name: str) -> Path:
        """File that is locked while the champion of a model changes."""
        return self.locks / f"{name}.lock"


def locate(url: str) -> Location:
    """The location a URL stands for. Raises UsageError; touches no file."""
    return _local(url) if url.startswith("sqlite:") else _server(url)


def _local(url: str) -> Location:
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path.startswith(":") or re.search(r"[?#%\0]", path):
        raise UsageError(f"cannot open the registry {url!r}: a local one is sqlite:///PATH, without ?, # or % ({SETTING})")
    database = Path(path).expanduser().resolve()
    beside = database.parent
    return Location(f"sqlite:///{database}", beside / "locks", database, beside / "artifacts")


def _server(url: str) -> Location:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise UsageError(
            f"the registry's URL ({SETTING}) holds a user name or a password, which would end up in records and logs:"
            " set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"cannot open the registry {url!r}: a server's URL is http(s)://HOST[:PORT] ({SETTING})")
    url = url.rstrip("/")
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Location(url, Path(tempfile.gettempdir()) / f"penstock-{os.getuid()}" / key)
