"""Several clients at once, as processes and as threads: nothing is lost, nothing is done twice."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.errors import NothingToCommit
from tasks.versions.factory import open_store
from tasks.versions.protocol import VersionStore
from tests.contract.stores import commit, contents, publish
from tests.faults.children import said, together

OPEN = """
import sys
from schemas.errors import NothingToCommit, StaleCheck
from schemas.refs import Guard
from tasks.versions import open_store
store, me = open_store(sys.argv[1]), sys.argv[2]
head = store.head()
print("ready", flush=True)
input()
"""

PUBLISH = f"""{OPEN}
for number in range(3):
    branch = f"ingest/{{me}}-{{number}}"
    store.branch(branch)
    store.upload(branch, f"data/f/{{me}}/{{number}}", branch.encode())
    store.commit(branch, "ingest", {{"source": branch}})
    store.merge(branch, "main", "publish", {{"source": branch}})
"""

NUMBER = f"""{OPEN}
for turn in range(4):
    for attempt in range(1000):
        checked = store.head()
        number = len(store.objects(checked, "data/f/"))
        branch = f"{{me}}/{{turn}}-{{attempt}}"
        store.branch(branch, checked)
        store.upload(branch, f"data/f/{{me}}-{{turn}}", str(number).encode())
        store.commit(branch, "take a number", {{}})
        try:
            store.merge(branch, "main", "take a number", {{}}, guard=Guard(commit=checked, prefixes=("data/f/",)))
            break
        except StaleCheck:
            pass
"""

SAME_FILE = f"""{OPEN}
store.branch("ingest/one")
store.upload("ingest/one", "data/f/one", b"1")
try:
    store.commit("ingest/one", "ingest", {{}})
except NothingToCommit:
    pass
try:
    store.merge("ingest/one", "main", "publish", {{}})
    print("published")
except NothingToCommit:
    print("already done")
"""

SAME_BRANCH = f"""{OPEN}
for number in range(8):
    store.upload("shared", f"data/f/{{me}}-{{number}}", me.encode())
    try:
        store.commit("shared", "part", {{}})
    except NothingToCommit:
        pass
"""


CREATE = """
import sys
from tasks.versions import open_store
print("ready", flush=True)
input()
store = open_store(sys.argv[1])
store.create()
print(store.head())
"""


def children(script: str, store: VersionStore, count: int) -> list[str]:
    return [said(done) for done in together(script, [[store.url, str(me)] for me in range(count)])]


def test_a_repository_is_created_once(uncreated: VersionStore) -> None:
    heads = {line.split()[-1] for line in children(CREATE, uncreated, 4)}
    assert heads == {uncreated.head()}


def test_five_writers_of_three_files_make_fifteen_commits(store: VersionStore) -> None:
    children(PUBLISH, store, 5)
    sources = [f"ingest/{writer}-{number}" for writer in range(5) for number in range(3)]
    published = [c.metadata["source"] for c in store.log(first_parent=True) if "source" in c.metadata]
    assert sorted(published) == sources
    assert len(list(store.log(first_parent=True))) == 16
    assert sorted(contents(store).values()) == [source.encode() for source in sources]


def test_guarded_merges_take_turns(store: VersionStore) -> None:
    children(NUMBER, store, 3)
    assert sorted(int(content) for content in contents(store).values()) == list(range(12))


def test_one_file_published_twice_at_once_is_one_commit(store: VersionStore) -> None:
    assert Counter(line.split()[-1] for line in children(SAME_FILE, store, 4)) == {"published": 1, "done": 3}
    assert len(list(store.log(first_parent=True))) == 2


def test_nothing_staged_is_lost_to_a_commit_beside_it(store: VersionStore) -> None:
    store.branch("shared")
    children(SAME_BRANCH, store, 3)
    assert sorted(contents(store, "shared")) == sorted(f"data/f/{me}-{number}" for me in range(3) for number in range(8))


def test_threads_share_one_store(store: VersionStore) -> None:
    def work(me: int) -> None:
        for number in range(3):
            publish(store, f"t{me}-{number}", **{f"data__{me}__{number}": b"1"})
            assert f"data/{me}/{number}" in contents(store)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(contents(store)) == 12
    assert len(list(store.log(first_parent=True))) == 13


def test_a_second_client_sees_each_step_at_once(store: VersionStore) -> None:
    other = type(store)(store.url) if open_store(store.url) is store else open_store(store.url)
    store.branch("b")
    assert other.branches() == ["b", "main"]
    made = commit(store, "b", data__x=b"1")
    assert other.head("b") == made
    merged = other.merge("b", "main", "from the other", {})
    assert store.head() == merged.id
    with pytest.raises(NothingToCommit):
        store.merge("b", "main", "again", {})
