"""Random histories, driven through a store and through the model at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from schemas.errors import NotFound, StoreError
from schemas.refs import Commit, Guard
from tests.contract.model import Files, Model
from tests.contract.stores import STORES, contents

BRANCHES = st.sampled_from(["main", "a", "b", "work/c"])
WORK = st.sampled_from(["a", "b", "work/c"])
PATHS = st.sampled_from(["data/f/1", "data/f/2", "data/g/1", "x"])
CONTENTS = st.sampled_from([b"", b"1", b"2"])
PREFIXES = st.sampled_from(["data/", "data/f/", "data/g/", "x"])
EDITS = st.dictionaries(PATHS, st.none() | CONTENTS, min_size=1)
EXAMPLES = {"embedded": 100, "lakefs": 4}  # each rule asks a server some thirty things
MEMORY = Path("/dev/shm")  # what is tested here is what a store says, not that a disk keeps it


class Histories(RuleBasedStateMachine):
    """Rules act on both; the invariant compares all that can be seen."""

    make: str

    def __init__(self) -> None:
        super().__init__()
        self.model, self.exit = Model(), ExitStack()
        in_memory = str(MEMORY) if os.access(MEMORY, os.W_OK) else None
        folder = self.exit.enter_context(tempfile.TemporaryDirectory(dir=in_memory))
        self.store = self.exit.enter_context(STORES[self.make](Path(folder)))

    def teardown(self) -> None:
        self.exit.close()

    @initialize()
    def create(self) -> None:
        self.store.create()
        self.model.start(self.store.head())

    def both(self, branch: str, expected: Callable[[], Files], act: Callable[[], Commit], *parents: str) -> None:
        """The store makes the commit that the model foresees, or refuses as the model does."""
        try:
            files = expected()
        except StoreError as refusal:
            with pytest.raises(type(refusal)):
                act()
        else:
            made = act()
            assert made.parents == parents
            self.model.record(branch, made.id, files, *made.parents)

    @rule(name=WORK, source=BRANCHES)
    def branch(self, name: str, source: str) -> None:
        if name in self.model.heads or source in self.model.heads:
            there = self.model.heads.get(name) or self.model.heads[source]
            assert self.store.branch(name, source) == there
            self.model.heads[name] = there

    @rule(name=WORK)
    def delete(self, name: str) -> None:
        self.store.delete_branch(name)
        self.model.heads.pop(name, None)
        self.model.staged.pop(name, None)

    @rule(branch=WORK, edits=EDITS)
    def stage(self, branch: str, edits: dict[str, bytes | None]) -> None:
        self.branch(branch, "main")
        for path, content in edits.items():
            self.remove(branch, path) if content is None else self.upload(branch, path, content)

    @rule(branch=WORK, edits=EDITS)
    def commit(self, branch: str, edits: dict[str, bytes | None]) -> None:
        self.stage(branch, edits)
        head = self.model.heads[branch]
        self.both(branch, lambda: self.model.committed(branch), lambda: self.store.commit(branch, "c", {}), head)

    def upload(self, branch: str, path: str, content: bytes) -> None:
        self.store.upload(branch, path, content)
        self.model.staged.setdefault(branch, {})[path] = content

    def remove(self, branch: str, path: str) -> None:
        if path in self.model.with_staged(branch):
            self.store.remove(branch, path)
            self.model.staged.setdefault(branch, {})[path] = None
        else:
            with pytest.raises(NotFound):
                self.store.remove(branch, path)

    @rule(source=BRANCHES, into=BRANCHES, edits=EDITS, guarded=st.none() | st.tuples(PREFIXES, st.integers(0)))
    def merge(self, source: str, into: str, edits: dict[str, bytes | None], guarded: tuple[str, int] | None) -> None:
        for branch in {source, into} - {"main"}:
            self.commit(branch, edits if branch == source else {})
        theirs, ours = self.model.heads[source], self.model.heads[into]
        if len(self.model.bases(theirs, ours)) == 1:
            at = guarded and (self.any_commit(guarded[1]), guarded[0])
            guard = at and Guard(commit=at[0], prefixes=(at[1],))
            expected = lambda: self.model.merged(source, into, at)  # noqa: E731
            self.both(into, expected, lambda: self.store.merge(source, into, "m", {}, guard=guard), ours, theirs)

    @rule(branch=BRANCHES, which=st.integers(0))
    def revert(self, branch: str, which: int) -> None:
        commit, head = self.any_commit(which), self.model.heads.get(branch)
        if head and self.model.parents[commit] and not self.model.staged.get(branch):
            expected = lambda: self.model.reverted(branch, commit)  # noqa: E731
            self.both(branch, expected, lambda: self.store.revert(branch, commit, "r", {}), head)

    @rule(which=st.integers(0))
    def old_commits_stay(self, which: int) -> None:
        commit = self.any_commit(which)
        assert contents(self.store, commit) == self.model.files[commit]
        assert {c.id for c in self.store.log(commit)} == self.model.ancestors(commit)

    def any_commit(self, which: int) -> str:
        return list(self.model.files)[which % len(self.model.files)]

    @invariant()
    def branches_are_as_the_model_says(self) -> None:
        assert self.store.branches() == sorted(self.model.heads)
        for branch, head in self.model.heads.items():
            assert self.store.head(branch) == head
            assert contents(self.store, branch) == self.model.files[head]
            staged = self.store.objects(branch, staged=True)
            assert {o.path: o.size for o in staged} == {p: len(c) for p, c in self.model.with_staged(branch).items()}


@pytest.mark.parametrize("name", sorted(STORES))
def test_a_store_behaves_like_the_model(name: str) -> None:
    class Machine(Histories):
        make = name

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES[name],
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
