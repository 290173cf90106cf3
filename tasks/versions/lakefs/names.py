"""Where a repository lies on a lakeFS server, and how names and metadata are written there.

lakeFS takes letters, digits, dashes and underscores in a branch name, and ASCII in an object's metadata, whose keys it
turns to lower case: a slash is written as two dashes, a dot as dash and underscore, other characters of metadata as %xx.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from schemas.errors import NotFound, UsageError
from tasks.versions.names import check_name, is_name

_REPOSITORY = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
_PREFIX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_COMMIT_ID = re.compile(r"[0-9a-f]{64}")
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_SERVERS_OWN = ".lakefs."
PREFIX_KEY = "repository_prefix"


@dataclass(frozen=True)
class Place:
    """A repository, or the part of one below a path prefix; a prefix keeps its branches and tags apart, too."""

    repository: str
    prefix: str = ""

    @property
    def url(self) -> str:
        """`lakefs://<repository>` or `lakefs://<repository>/<prefix>`."""
        return f"lakefs://{self.repository}/{self.prefix}".rstrip("/")

    def key(self, path: str) -> str:
        """The server's path of an object."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def path(self, key: str) -> str:
        """The path of an object from the server's."""
        return key[len(self.prefix) + 1 :] if self.prefix else key

    def name(self, name: str) -> str:
        """The server's name of a branch or tag. Raises UsageError."""
        if name == "main":
            return name
        if any(mark in name for mark in ("--", "-_", "-/", "-.")):
            raise UsageError(f"cannot use {name!r} on lakeFS: after a dash comes a letter or a digit")
        return written(f"{self.prefix}/{name}" if self.prefix else name)

    def own(self, name: str) -> str | None:
        """The name of a branch or tag from the server's; None for those of others in the same repository."""
        if name == "main" or not self.prefix:
            return name.replace("--", "/").replace("-_", ".")
        start = written(self.prefix) + "--"
        return name[len(start) :].replace("--", "/").replace("-_", ".") if name.startswith(start) else None

    def ref(self, ref: str) -> str:
        """The server's way of writing a branch, a tag or a whole commit id. Raises NotFound for what can be none."""
        if is_commit(ref):
            return ref
        if not is_name(ref):
            raise NotFound(f"there is no branch, tag or commit {ref!r} in {self.url}")
        try:
            return self.name(ref)
        except UsageError as unusable:
            raise NotFound(str(unusable)) from None


def parse(url: str) -> Place:
    """The place of `lakefs://<repository>[/<prefix>]`. Raises UsageError."""
    repository, _, prefix = url.removeprefix("lakefs://").strip("/").partition("/")
    if not _REPOSITORY.fullmatch(repository) or (prefix and not _PREFIX.fullmatch(prefix)):
        raise UsageError(
            f"cannot open {url!r}: a lakeFS URL is lakefs://<repository>, 3 to 63 lower case letters, digits and dashes, "
            "with /<prefix> where a path prefix inside it is used"
        )
    return Place(repository, prefix)


def written(name: str) -> str:
    """A name with its slashes and dots as lakeFS takes them."""
    return name.replace("/", "--").replace(".", "-_")


def new_name(place: Place, name: str, kind: str) -> str:
    """The server's name for a branch or tag that is to be made. Raises UsageError."""
    return place.name(check_name(name, kind))


def is_commit(ref: str) -> bool:
    """Whether a ref is a whole commit id."""
    return bool(_COMMIT_ID.fullmatch(ref))


def object_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """An object's metadata as it travels."""
    return {_key(key): _value(value) for key, value in metadata.items()}


def read_object_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """An object's metadata as it was given."""
    return {unquote(key): unquote(value) for key, value in (metadata or {}).items() if not key.startswith("::")}


def _value(value: str) -> str:
    written = quote(value, safe=_PLAIN)
    return re.sub(r"^ | $", "%20", written)  # HTTP drops blanks at the ends


def _key(key: str) -> str:
    return "".join(c if re.fullmatch(r"[a-z0-9_.-]", c) else "".join(f"%{b:02x}" for b in c.encode()) for c in key)


def commit_metadata(place: Place, metadata: Mapping[str, str]) -> dict[str, str]:
    """A commit's metadata as it is stored: with the prefix, so that the logs of several users of a repository differ."""
    return {**metadata, **({PREFIX_KEY: place.prefix} if place.prefix else {})}


def read_commit_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """A commit's metadata as it was given, without what the server and the prefix add."""
    return {k: v for k, v in (metadata or {}).items() if not k.startswith(_SERVERS_OWN) and k != PREFIX_KEY}
