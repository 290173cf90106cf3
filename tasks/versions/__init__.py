"""Data under version control: the protocol, and the factory that opens a repository by its URL."""

from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN, VersionStore

__all__ = ["MAIN", "VersionStore", "open_store"]
