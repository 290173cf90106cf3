"""Seals: what a writer of ours attests about a merge, signed, so that the lake's hook need not audit it again.

A seal is an HMAC-SHA256 over a small document in canonical JSON. It travels in the metadata of the merge. It binds the
merge to one repository, destination and source commit, to the checksums of the objects it brings, to the contract they
were audited against, and to the commit of the destination at which the keys were checked: none of it can be reused for
other data, and whether that commit is still good is asked anew at each merge.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.refs import CommitId, Guard, Sha256

FORMAT = 1
SIGNATURE, CHECKED_AT, GUARDED = "signature", "checked_at", "guarded"
REVERTS, UPON = "reverts", "upon"


def digest(changes: Iterable[tuple[str, str, str]]) -> Sha256:
    """Digest of what a merge brings: (kind, path, checksum) of each object, in any order."""
    lines = sorted(json.dumps(change, ensure_ascii=True) for change in changes)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def merge_document(
    repository: str, into: str, source: CommitId, brings: Sha256, contract: str, guard: Guard
) -> dict[str, Any]:
    """What is signed about a merge."""
    return {
        "format_version": FORMAT,
        "act": "merge",
        "repository": repository,
        "into": into,
        "source": source,
        "brings": brings,
        "contract": contract,
        "checked_at": guard.commit,
        "guarded": list(guard.prefixes),
    }


def revert_document(repository: str, branch: str, commit: CommitId, head: CommitId) -> dict[str, Any]:
    """What is signed about a revert. lakeFS does not tell a hook what is reverted, so it holds for one head only."""
    document = {"repository": repository, "into": branch, REVERTS: commit, UPON: head}
    return {"format_version": FORMAT, "act": "revert", **document}


def sign(key: str, document: Mapping[str, Any]) -> str:
    """The signature, in hex."""
    # No text of schemas.digests: what signs and what checks may be of two releases, and this one is fixed.
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def holds(key: str, document: Mapping[str, Any], signature: str) -> bool:
    """Whether the signature is that of the document, compared in constant time."""
    return hmac.compare_digest(sign(key, document).encode(), signature.encode())


def guard_metadata(guard: Guard) -> dict[str, str]:
    """A guard as metadata of a merge."""
    return {CHECKED_AT: guard.commit, GUARDED: json.dumps(list(guard.prefixes))}


def read_guard(metadata: Mapping[str, str]) -> Guard | None:
    """The guard of a merge's metadata; None where it has none that can be read."""
    try:
        prefixes = json.loads(metadata[GUARDED])
        return Guard(commit=metadata[CHECKED_AT], prefixes=tuple(prefixes))
    except (KeyError, ValueError, TypeError):
        return None
