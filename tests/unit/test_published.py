"""The reader of main's log: which publishes of a source are live, and which were retracted since."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.refs import Commit
from schemas.settings import Settings
from tasks.datasets import published
from tasks.datasets.published import live_publishes, newest_publish, publish_log
from tasks.publishing.backfill import list_publishes
from tasks.versions.factory import open_store
from tasks.versions.local.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore((tmp_path / "lake").as_uri())
    store.create()
    return store


def publish(store: Any, sha256: str, input: str = "flights", partition: str = "2013-01", **metadata: str) -> Commit:
    """Merge a source of that hash, as publishing does."""
    number = sum(1 for _ in store.log())
    branch = f"ingest/{sha256}-{number}"
    store.branch(branch)
    store.upload(branch, f"data/{input}/{partition}/{number}.parquet", f"{input} {sha256}".encode())
    told = {"kind": "ingest", "input": input, "source_sha256": sha256, "source_name": f"{sha256}.csv", **metadata}
    return store.merge(store.commit(branch, "stage", told).id, "main", "ingest", told)


def retract(store: Any, commit: Commit, reason: str = "broken") -> Commit:
    carried = {name: commit.metadata[name] for name in ("input", "source_sha256", "source_name")}
    return store.revert("main", commit.id, "retract", {**carried, "kind": "retract", "reason": reason})


def told(store: Any, ref: str = "main") -> list[tuple[str, str, str, bool]]:
    return [(record.commit.id, record.input, record.sha256, record.live) for record in publish_log(store, ref)]


def test_a_record_says_what_the_commit_says(store: LocalStore) -> None:
    counts = {"rows": "9", "accepted": "5", "rejected": "3", "redelivered": "1"}
    more = {"watermark": "2013-01-02T00:00:00+00:00", "contract_version": "abc", "flow_run": "run-1"}
    commit = publish(store, "a", **counts, **more)
    (record,) = publish_log(store)
    assert (record.commit, record.live, record.retraction, record.reason) == (commit, True, None, "")
    assert (record.input, record.sha256, record.source) == ("flights", "a", "a.csv")
    assert {name: str(getattr(record, name)) for name in counts} == counts
    assert record.watermark == datetime(2013, 1, 2, tzinfo=UTC)
    assert (record.contract_version, record.flow_run) == ("abc", "run-1")


def test_what_an_older_release_did_not_say_is_empty(store: LocalStore) -> None:
    publish(store, "a", watermark="")
    (record,) = publish_log(store)
    assert (record.rows, record.watermark, record.contract_version, record.flow_run) == (0, None, None, "")


def test_each_retraction_takes_back_the_publish_before_it(store: LocalStore) -> None:
    first = publish(store, "a")
    assert told(store) == [(first.id, "flights", "a", True)]
    gone = retract(store, first, "a gauge")
    assert told(store) == [(first.id, "flights", "a", False)]
    again = publish(store, "a")
    assert told(store) == [(again.id, "flights", "a", True), (first.id, "flights", "a", False)]
    assert published.source_states(store) == {("flights", "a"): "published"}
    gone_again = retract(store, again, "no better")
    history = published.source_history(store, "a", "flights")
    assert [(record.commit, record.retraction, record.reason) for record in history] == [
        (again, gone_again, "no better"),
        (first, gone, "a gauge"),
    ]
    assert published.published_source(store, "a", "flights") is None
    assert published.retracted_commits(store) == {first.id, again.id}


def test_the_log_is_read_newest_first_and_knows_other_sources_apart(store: LocalStore) -> None:
    a, b, c = (publish(store, name) for name in "abc")
    retract(store, b)
    assert [record.commit.id for record in publish_log(store)] == [c.id, b.id, a.id]
    assert [record.commit.id for record in live_publishes(store)] == [c.id, a.id]


@pytest.mark.parametrize("retracted", ["flights", "archive"])
def test_the_same_bytes_of_two_inputs_are_two_sources(store: LocalStore, retracted: str) -> None:
    commits = {name: publish(store, "a", name) for name in ("flights", "archive")}
    retract(store, commits[retracted])
    (kept,) = commits.keys() - {retracted}
    assert [(record.input, record.commit) for record in live_publishes(store)] == [(kept, commits[kept])]
    assert published.source_states(store) == {(kept, "a"): "published", (retracted, "a"): "retracted"}
    assert published.published_commit(store, "a", kept) == commits[kept]
    assert published.published_commit(store, "a", retracted) is None


def test_the_newest_live_publish_of_an_input_counts(store: LocalStore) -> None:
    assert newest_publish(store) is None
    first, second, weather = publish(store, "a"), publish(store, "b"), publish(store, "c", "weather")
    retract(store, second)
    assert [newest_publish(store, name).commit for name in (None, "flights", "weather")] == [weather, first, weather]  # type: ignore[union-attr]
    retract(store, first)
    assert newest_publish(store, "flights") is None


def test_what_came_after_a_commit_does_not_count_there(store: LocalStore) -> None:
    commit = publish(store, "a", watermark="2013-01-02T00:00:00+00:00")
    retract(store, commit)
    assert [record.live for record in publish_log(store, commit.id)] == [True]
    assert newest_publish(store, "flights", commit.id)
    assert [published.watermarks(live_publishes(store, ref=ref)) for ref in (commit.id, "main")] == [
        {"flights": datetime(2013, 1, 2, tzinfo=UTC)},
        {},
    ]


def test_the_newest_time_of_each_input_is_found_in_one_walk(store: LocalStore) -> None:
    for number, (name, day) in enumerate([("flights", 2), ("flights", 3), ("flights", 1), ("weather", 1)]):
        publish(store, str(number), name, watermark=f"2013-01-0{day}T00:00:00+00:00")
    publish(store, "lookup", "airports", watermark="")
    counting = Counting(store)
    found = published.watermarks(live_publishes(counting))  # type: ignore[arg-type]
    assert found == {"flights": datetime(2013, 1, 3, tzinfo=UTC), "weather": datetime(2013, 1, 1, tzinfo=UTC)}
    assert counting.walks == 1


class Counting:
    """A store that counts the walks of its log, and the commits that they took."""

    def __init__(self, store: LocalStore) -> None:
        self._store, self.walks, self.commits = store, 0, 0

    def log(self, *args: Any, **options: Any) -> Iterator[Commit]:
        self.walks += 1
        for commit in self._store.log(*args, **options):
            self.commits += 1
            yield commit


def test_a_walk_ends_where_the_answer_is_known(store: LocalStore) -> None:
    for name in "abcd":
        publish(store, name)
    newest = publish(store, "e")
    retract(store, newest)
    counting: Any = Counting(store)
    assert newest_publish(counting, "flights").commit.metadata["source_sha256"] == "d"  # type: ignore[union-attr]
    assert (counting.walks, counting.commits) == (1, 3)


def test_a_range_of_publishes_to_score_holds_live_ones_only(settings: Settings) -> None:
    url = settings.store_url("flights")
    assert list_publishes("flights", url, "2013-01", "2013-12") == []
    store = open_store(url)
    store.create()
    january = publish(store, "a", partition="2013-01")
    retract(store, publish(store, "b", partition="2013-02"))
    march = publish(store, "c", partition="2013-03")
    publish(store, "d", "weather", partition="2013-03")
    units = list_publishes("flights", url, "2013-01", "2013-12")
    assert [(unit.place, unit.name, unit.dates) for unit in units] == [
        (january.id, "a.csv", ("2013-01",)),
        (march.id, "c.csv", ("2013-03",)),
    ]
    assert [unit.place for unit in list_publishes("flights", url, "2013-02", "2013-03")] == [march.id]
