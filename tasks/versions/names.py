"""What a path, a branch, a tag, a message and metadata may look like, the same in every store."""

from __future__ import annotations

import re
from collections.abc import Mapping

from schemas.errors import UsageError

_LONGEST_PATH = 1024  # bytes of UTF-8: the limit of object stores
_LONGEST_SEGMENT = 255  # bytes: the limit of file systems, for whoever checks the history out
_LONGEST_NAME = 200
# A dot, slash, backslash or control character that is percent-encoded once or more often.
_HIDDEN = re.compile(r"%(25)*(2[ef]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_COMMIT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def check_path(path: str) -> str:
    """The path as it is, where it names an object inside the repository. Raises UsageError."""
    fault = _path_fault(path)
    if fault:
        raise UsageError(f"cannot use the path {_shown(path)}: {fault}; a path is like data/flights/2013-01/part.parquet")
    return path


def _path_fault(path: str) -> str:
    if not path:
        return "it is empty"
    if not path.isprintable():
        return "it has a control character"
    if len(path.encode()) > _LONGEST_PATH:
        return f"it is longer than {_LONGEST_PATH} bytes"
    if "\\" in path or _HIDDEN.search(path):
        return "it has a backslash or an encoded dot, slash or control character"
    return next(filter(None, map(_segment_fault, path.split("/"))), "")


def _segment_fault(segment: str) -> str:
    if not segment:
        return "it starts or ends with a slash or has two in a row"
    if segment in {".", ".."}:
        return "it has a segment . or .."
    if segment.casefold() == ".git":
        return "it has a segment .git"
    return f"a segment is longer than {_LONGEST_SEGMENT} bytes" if len(segment.encode()) > _LONGEST_SEGMENT else ""


def is_name(name: str) -> bool:
    """Whether a branch or a tag may have this name."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or is_commit_id(name):
        return False
    return ".." not in name and not any(part.endswith((".", ".lock")) for part in name.split("/"))


def is_commit_id(text: str) -> bool:
    """Whether a ref has the form of a commit id."""
    return bool(_COMMIT_ID.fullmatch(text))


def check_name(name: str, kind: str) -> str:
    """The name of a branch or tag as it is. Raises UsageError."""
    if not is_name(name):
        raise UsageError(
            f"cannot use {_shown(name)} as a {kind} name: letters, digits and _ . - / (not first, no '..', not like a "
            f"commit id), at most {_LONGEST_NAME} characters"
        )
    return name


def check_message(message: str, metadata: Mapping[str, str]) -> None:
    """Raises UsageError where a commit cannot carry this message or metadata."""
    if not message.strip():
        raise UsageError("cannot commit without a message: say in a few words what the commit brings")
    if "\0" in message or not _encodes(message):
        raise UsageError("cannot commit with this message: it has a NUL or a character that UTF-8 cannot encode")
    check_metadata(metadata)


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raises UsageError where a key or a value is not a string that UTF-8 can encode."""
    for key, value in metadata.items():
        if not (isinstance(key, str) and isinstance(value, str) and key and _encodes(key + value)):
            raise UsageError(f"cannot store the metadata {_shown(key)}: keys and values are UTF-8 strings, keys not empty")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: object) -> str:
    """A value as one short printable line."""
    shown = ascii(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
