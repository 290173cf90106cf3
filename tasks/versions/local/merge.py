"""Three-way merge of trees, path by path: all of it or none."""

from __future__ import annotations

from schemas.errors import Conflict, NothingToCommit
from tasks.versions.local.commits import History


def merged(history: History, base: str, theirs: str, ours: str) -> str:
    """The tree `ours` with what changed from `base` to `theirs`.

    Where both sides came to the same content, ours stays. Raises Conflict where they came to different ones,
    NothingToCommit where `ours` has all of it.
    """
    edits, clashes = dict[str, str | None](), []
    for path, old, new in history.changes(base, theirs):
        mine = history.entry(ours, path)
        if mine == old:
            edits[path] = new
        elif not _same_content(history, mine, new):
            clashes.append(path)
    if clashes:
        raise Conflict(
            f"both sides changed {len(clashes)} path(s), first {clashes[0]!r}: redo the change on the newest state"
        )
    tree = history.edited(ours, edits)
    if tree == ours:
        raise NothingToCommit("nothing to bring over: the destination has all of it")
    return tree


def _same_content(history: History, mine: str | None, new: str | None) -> bool:
    if mine is None or new is None:
        return mine == new
    return history.pointer(mine).sha256 == history.pointer(new).sha256
