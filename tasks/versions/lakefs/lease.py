"""One writer at a time, by a branch that the server lets only one client create.

lakeFS merges into whatever the destination has become, so what a writer has checked must not change before it merges.
Where no hook holds the branch, writers take turns. A turn is a branch `penstock-lease-<head>-<n>`, made at the commit
that is to be merged, and it is this branch that is merged. Making a branch is atomic, so one writer gets turn n for a
given head of the destination. A writer that finds a turn unchanged for PATIENCE seconds, by its own clock, takes n + 1
and deletes the branches of the turns before it: whoever held one and was only slow merges a branch that is gone, and is
told so. No clock is compared with another machine's.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from schemas.errors import Conflict, NotFound, PenstockError, ServiceUnavailable
from schemas.refs import CommitId
from tasks.versions.lakefs.client import Lake, body

MARK = "penstock-lease-"
PATIENCE = 30.0  # s: far longer than a merge takes
LONGEST_WAIT = 600.0  # s
LONGEST_PAUSE = 0.5  # s between two looks at a turn that stays as it is


@dataclass(frozen=True)
class Turn:
    """The right to change a branch whose head is `head`, and the branch that stands for it."""

    branch: str
    head: CommitId


class Lease:
    """Turns at changing one branch of a repository."""

    def __init__(self, lake: Lake, repository: str, destination: str, patience: float = PATIENCE) -> None:
        self._lake, self._repository, self._destination, self._patience = lake, repository, destination, patience

    @contextmanager
    def held(self, commit: CommitId) -> Iterator[Turn]:
        """Wait for a turn; its branch stands at `commit`. Raises ServiceUnavailable where none comes."""
        turn = self._wait(commit)
        try:
            yield turn
        finally:
            with suppress(PenstockError):  # a turn that is left is taken over
                self._delete(turn.branch)

    def _wait(self, commit: CommitId) -> Turn:
        give_up, first_seen = time.monotonic() + LONGEST_WAIT, dict[str, float]()
        while time.monotonic() < give_up:
            head = self._head()
            held = self._numbers(head)
            newest = max(held, default=-1)
            since = first_seen.setdefault(f"{head}-{newest}", time.monotonic())
            waited = time.monotonic() - since
            if (newest < 0 or waited > self._patience) and (turn := self._take(head, newest + 1, commit)):
                return turn
            time.sleep(random.uniform(0.01, 0.05) + min(waited / 10, LONGEST_PAUSE))
        raise ServiceUnavailable(f"other writers kept {self._destination!r} for {LONGEST_WAIT:.0f} s: run it again")

    def _take(self, head: CommitId, number: int, commit: CommitId) -> Turn | None:
        turn = Turn(f"{MARK}{head[:16]}-{number}", head)
        try:
            self._create(turn.branch, commit)
        except Conflict:
            return None
        held = self._numbers(head)
        for earlier in held:
            if earlier < number:
                self._delete(f"{MARK}{head[:16]}-{earlier}")
        if max(held, default=number) > number or self._head() != head:
            self._delete(turn.branch)
            return None
        return turn

    def _head(self) -> CommitId:
        branch = self._lake.ask(self._lake.sdk.branches_api.get_branch, self._repository, self._destination)
        return str(branch.commit_id)

    def _numbers(self, head: CommitId) -> list[int]:
        start = f"{MARK}{head[:16]}-"
        branches = self._lake.pages(self._lake.sdk.branches_api.list_branches, self._repository, prefix=start)
        return [int(branch.id.removeprefix(start)) for branch in branches]

    def _create(self, name: str, commit: CommitId) -> None:
        api, creation = self._lake.sdk.branches_api, body("BranchCreation", name=name, source=commit)

        def done() -> bool | None:  # whoever else made it at this commit wants the same merge
            with suppress(NotFound):
                return True if self._lake.once(api.get_branch, self._repository, name).commit_id == commit else None
            return None

        self._lake.change(lambda: bool(self._lake.once(api.create_branch, self._repository, creation)), done)

    def _delete(self, name: str) -> None:
        with suppress(NotFound):
            self._lake.ask(self._lake.sdk.branches_api.delete_branch, self._repository, name)
