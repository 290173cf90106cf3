"""The factory: a version store by its URL. Adapters are imported when they are first used."""

from __future__ import annotations

from functools import lru_cache

from schemas.errors import UsageError
from tasks.versions.protocol import VersionStore


@lru_cache(maxsize=64)
def open_store(url: str) -> VersionStore:
    """The repository at that URL, one client per process and URL. Adapters are imported only when first used.

    Raises UsageError for a scheme that no adapter serves.
    """
    scheme = url.partition("://")[0]
    if scheme == "file":
        from tasks.versions.local.store import LocalStore

        return LocalStore(url)
    if scheme == "lakefs":
        from tasks.versions.lakefs.store import LakeFSStore

        return LakeFSStore(url)
    raise UsageError(f"cannot open the store {url!r}: a lake URL starts with file:// or lakefs:// (PENSTOCK_LAKE_URL)")
