"""The simplest thing that behaves like a version store: snapshots in dictionaries, merge bases by sets of ancestors."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.errors import Conflict, NothingToCommit, StaleCheck

Files = dict[str, bytes]


@dataclass
class Model:
    """Commits are known by the ids that the real store gave them."""

    files: dict[str, Files] = field(default_factory=dict)
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    staged: dict[str, dict[str, bytes | None]] = field(default_factory=dict)

    def start(self, root: str) -> None:
        self.files[root], self.parents[root] = {}, ()
        self.heads["main"] = root

    def record(self, branch: str, commit: str, files: Files, *parents: str) -> None:
        self.files[commit], self.parents[commit] = files, parents
        self.heads[branch] = commit
        self.staged.pop(branch, None)

    def with_staged(self, branch: str) -> Files:
        return _edited(self.files[self.heads[branch]], self.staged.get(branch, {}))

    def committed(self, branch: str) -> Files:
        files = self.with_staged(branch)
        if files == self.files[self.heads[branch]]:
            self.staged.pop(branch, None)
            raise NothingToCommit
        return files

    def ancestors(self, commit: str) -> set[str]:
        return {commit}.union(*(self.ancestors(parent) for parent in self.parents[commit]))

    def bases(self, left: str, right: str) -> set[str]:
        """Common ancestors that no other common ancestor stands on."""
        common = self.ancestors(left) & self.ancestors(right)
        return common - {below for commit in common for below in self.ancestors(commit) - {commit}}

    def merged(self, source: str, into: str, guard: tuple[str, str] | None) -> Files:
        """What a merge makes; `guard` is a commit and a prefix. Callers see to it that there is one merge base."""
        theirs, ours = self.heads[source], self.heads[into]
        (base,) = self.bases(theirs, ours)
        if base == theirs:
            raise NothingToCommit
        if guard and _below(self.files[guard[0]], guard[1]) != _below(self.files[ours], guard[1]):
            raise StaleCheck
        return self._applied(into, self.files[base], self.files[theirs])

    def reverted(self, branch: str, commit: str) -> Files:
        return self._applied(branch, self.files[commit], self.files[self.parents[commit][0]])

    def _applied(self, branch: str, base: Files, theirs: Files) -> Files:
        ours = self.files[self.heads[branch]]
        changed = {path for path in base.keys() | theirs.keys() if base.get(path) != theirs.get(path)}
        if any(ours.get(path) not in (base.get(path), theirs.get(path)) for path in changed):
            raise Conflict
        files = _edited(ours, {path: theirs.get(path) for path in changed})
        if files == ours:
            raise NothingToCommit
        return files


def _edited(files: Files, edits: dict[str, bytes | None]) -> Files:
    both = {**files, **edits}
    return {path: content for path, content in both.items() if content is not None}


def _below(files: Files, prefix: str) -> Files:
    return {path: content for path, content in files.items() if path.startswith(prefix)}
