"""Merges and reverts: looked up before they are repeated, and guarded by the lake's hook or by a turn.

lakeFS has no compare-and-swap for a merge. Where the hook is installed, the server asks it while it holds the
destination: the merge carries a seal, and the hook compares what was checked with what is there. Elsewhere a writer
waits for its turn, compares, and merges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import stamina

from schemas.errors import NotFound, NothingToCommit, StaleCheck
from schemas.refs import Commit, CommitId, Guard
from tasks.fault_injection import fault_point
from tasks.versions.lakefs import hooks, signatures
from tasks.versions.lakefs.client import HookRefusal, Lake, body
from tasks.versions.lakefs.commits import History
from tasks.versions.lakefs.lease import PATIENCE, Lease, Turn
from tasks.versions.lakefs.names import Place, commit_metadata


class Merger:
    """What changes a branch that others change, too."""

    def __init__(self, lake: Lake, place: Place, history: History, signing_key: str | None) -> None:
        self._lake, self._place, self._history, self._key = lake, place, history, signing_key
        self.patience = PATIENCE

    def merge(self, source: str, into: str, message: str, metadata: Mapping[str, str], guard: Guard | None) -> Commit:
        """Merge a ref into a branch; see `VersionStore.merge`."""
        commit, head = self._history.head(source), self._history.head(into)
        base = self._history.base(commit, into)
        if base == commit:
            raise NothingToCommit(f"cannot merge {source!r} into {into!r}: it is merged already")
        if guard is None:
            return self._merge(commit, commit, into, head, message, metadata)
        if not self._key:
            return self._merge_in_turn(commit, into, message, metadata, guard)
        sealed = {**metadata, **self._seal(commit, base, into, metadata, guard)}
        if hooks.in_force(self._lake, self._place, commit):
            return self._merge(commit, commit, into, head, message, sealed)
        return self._merge_in_turn(commit, into, message, sealed, guard)

    def _seal(
        self, commit: CommitId, base: CommitId, into: str, metadata: Mapping[str, str], guard: Guard
    ) -> dict[str, str]:
        brings = self._history.brings(commit, base)[1]
        contract = metadata.get("contract_version", "")
        document = signatures.merge_document(self._place.url, into, commit, brings, contract, guard)
        return {**signatures.guard_metadata(guard), signatures.SIGNATURE: signatures.sign(self._key or "", document)}

    def _merge_in_turn(self, commit: CommitId, into: str, message: str, metadata: Mapping[str, str], guard: Guard) -> Commit:
        with self._turn(into, commit) as turn:
            if path := self._history.moved(guard, turn.head):
                raise StaleCheck(f"{path!r} has changed since {guard.commit}, which was checked: check again, then merge")
            try:
                return self._merge(turn.branch, commit, into, turn.head, message, metadata)
            except NotFound as gone:
                raise StaleCheck(f"another writer took over the turn at {into!r}: check again, then merge") from gone

    def _turn(self, branch: str, commit: CommitId) -> AbstractContextManager[Turn]:
        return Lease(self._lake, self._place.repository, self._place.ref(branch), self.patience).held(commit)

    def _merge(
        self, ref: str, commit: CommitId, into: str, head: CommitId, message: str, metadata: Mapping[str, str]
    ) -> Commit:
        wanted = body("Merge", message=message, metadata=commit_metadata(self._place, metadata))
        operation = self._lake.sdk.refs_api.merge_into_branch

        def act() -> Commit:
            with self._hooks_explained():
                merged = self._lake.once(operation, self._place.repository, ref, self._place.ref(into), merge=wanted)
            return self._history.get(merged.reference)

        fault_point("store.before_merge")
        merged = self._lake.change(act, lambda: self._history.since(head, into, message, metadata, commit))
        fault_point("store.after_merge")
        return merged

    def revert(self, branch: str, commit: CommitId, message: str, metadata: Mapping[str, str]) -> Commit:
        """Undo a commit; see `VersionStore.revert`. It waits for its turn, too: others rely on what it takes away."""
        undone = self._history.get(commit)
        for attempt in stamina.retry_context(on=StaleCheck, attempts=5):  # who merges by way of the hook takes no turn
            with attempt, self._turn(branch, self._history.head(branch)) as turn:
                return self._revert(branch, undone, turn.head, message, metadata)
        raise AssertionError("unreachable")

    def _revert(self, branch: str, undone: Commit, head: CommitId, message: str, metadata: Mapping[str, str]) -> Commit:
        if self._undone_already(undone, head):
            raise NothingToCommit(f"nothing to undo on {branch!r}: it holds nothing of {undone.id}")
        if self._key:
            document = signatures.revert_document(self._place.url, branch, undone.id, head)
            signed = {signatures.SIGNATURE: signatures.sign(self._key, document)}
            metadata = {**metadata, signatures.REVERTS: undone.id, signatures.UPON: head, **signed}
        overrides = body("CommitOverrides", message=message, metadata=commit_metadata(self._place, metadata))
        wanted = body(
            "RevertCreation", ref=undone.id, parent_number=1 if len(undone.parents) > 1 else 0, commit_overrides=overrides
        )

        def done() -> Commit | None:
            return self._history.since(head, branch, message, metadata)

        def act() -> Commit:
            with self._hooks_explained():
                self._lake.once(
                    self._lake.sdk.branches_api.revert_branch, self._place.repository, self._place.ref(branch), wanted
                )
            reverted = done()
            if reverted is None:
                raise NotFound(f"the revert of {undone.id} left no commit on {branch!r}: look at its log")
            return reverted

        fault_point("store.before_revert")
        reverted = self._lake.change(act, done)
        fault_point("store.after_revert")
        return reverted

    def _undone_already(self, undone: Commit, head: CommitId) -> bool:
        """Whether the branch is empty and the commit only added: of all reverts that change nothing, lakeFS makes this."""
        if not undone.parents or not self._history.is_empty(head):
            return False
        return all(change.kind == "added" for change in self._history.diff(undone.parents[0], undone.id))

    @contextmanager
    def _hooks_explained(self) -> Iterator[None]:
        try:
            yield
        except HookRefusal as refusal:
            raise hooks.explained(self._lake, self._place, refusal) from refusal
