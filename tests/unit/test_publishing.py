"""Write, audit, publish on the embedded store: each source once, each key once, whoever else is at work."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.errors import Refused, StaleCheck
from schemas.refs import Commit, CommitId, Source
from schemas.usecase import Input
from schemas.verdicts import AuditVerdict
from tasks.contracts.audit import audit_parts, touched_partitions
from tasks.datasets import published
from tasks.datasets.published import published_commit, watermark
from tasks.publishing import publish as publishing
from tasks.publishing.publish import branch_name, guard, key_tells_partition, known_keys, publish_commit, stage
from tasks.versions.local.store import LocalStore
from tasks.versions.protocol import MAIN
from tests.unit.trades import parsed

Row = tuple[int, int, int]  # id, month, day


class Visit(Contract):
    id: int = column(ge=0)
    at: Annotated[pl.Datetime, "us", "UTC"] = column()

    class Config:
        unique = ["id", "at"]


class Visitor(Visit):
    """Keyed by a column that does not tell the month."""

    class Config:
        unique = ["id"]


MONTH = pl.col("at").dt.strftime("%Y-%m")
SPEC = Input(name="visits", contract=Visit, time="at", partition=MONTH, max_rejected_share=1.0)
VISITORS = dataclasses.replace(SPEC, contract=Visitor)
KEEP = dataclasses.replace(SPEC, on_redelivery="keep_first")
REPLACE = dataclasses.replace(SPEC, on_redelivery="replace_partition")
JANUARY = [(1, 1, 5), (2, 1, 6)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore((tmp_path / "lake").as_uri())
    store.create()
    return store


@dataclass
class Delivery:
    """A source between its audit and its publication."""

    store: LocalStore
    spec: Input
    source: Source
    branch: str
    commit: CommitId
    checked_at: CommitId
    partitions: list[str]
    verdict: AuditVerdict

    def publish(self) -> Commit:
        return publish_commit(self.store, self.spec, self.source, self.branch, self.commit, self.checked_at, self.partitions)


def audited(
    store: LocalStore, folder: Path, rows: Sequence[Row], name: str = "a.csv", spec: Input = SPEC, at: CommitId = ""
) -> Delivery:
    """Audit rows as a source of that name against a commit (the head of main), and stage it."""
    folder.mkdir(exist_ok=True)
    source = Source(path=f"/landing/{name}", name=name, sha256=name.encode().hex().ljust(64, "0"), size=len(rows))
    data = [(number, datetime(2013, month, day, tzinfo=UTC)) for number, month, day in rows]
    frame = pl.DataFrame(data, schema=Visit.dtypes(), orient="row")
    found = dataclasses.replace(parsed(folder / "parts", frame), source_sha256=source.sha256)
    checked_at = at or store.head()
    partitions = touched_partitions(found, spec)
    done = audit_parts(found, spec, folder / "audit", known_keys(store, checked_at, spec, partitions))
    branch, commit = stage(store, spec, source, done, "run-1", checked_at)
    return Delivery(store, spec, source, branch, commit, checked_at, partitions, done.verdict)


def rows_at(store: LocalStore, ref: str = MAIN) -> list[Row]:
    frame = store.scan(ref, published.data_paths(store, ref, "visits"), Visit.dtypes()).collect()
    return sorted((row["id"], row["at"].month, row["at"].day) for row in frame.iter_rows(named=True))


def publishes(store: LocalStore) -> list[str]:
    return [c.metadata["source_name"] for c in store.log(first_parent=True) if c.metadata.get("kind") == "ingest"]


def retract(store: LocalStore, commit: Commit) -> None:
    told = {key: commit.metadata[key] for key in ("source_sha256", "source_name", "input")}
    store.revert(MAIN, commit.id, "retract", {**told, "kind": "retract"})


def test_a_source_becomes_one_commit_of_main_with_all_its_evidence(store: LocalStore, tmp_path: Path) -> None:
    staged = audited(store, tmp_path / "a", [*JANUARY, (3, 2, 1), (-1, 2, 2), (4, 3, 1), (4, 3, 1)])
    assert rows_at(store) == []
    commit = staged.publish()
    assert rows_at(store) == [*JANUARY, (3, 2, 1)]
    assert {k: v for k, v in commit.metadata.items() if k not in ("content", "flow_run", "contract_version")} == {
        "format_version": "1",
        "kind": "ingest",
        "input": "visits",
        "source_sha256": staged.source.sha256,
        "source_name": "a.csv",
        "rows": "6",
        "accepted": "3",
        "rejected": "3",
        "redelivered": "0",
        "watermark": "2013-02-01T00:00:00+00:00",
        "branch": staged.branch,
        "checked_at": staged.checked_at,
    }
    assert commit.metadata["contract_version"] == Visit.version()
    kinds = ["/".join(found.path.split("/")[:3]) for found in store.objects(MAIN)]
    assert kinds[1:] == [
        f"{kind}/visits/{month}"
        for kind, month in (("data", "2013-01"), ("data", "2013-02"), ("rejected", "2013-02"), ("rejected", "2013-03"))
    ]
    told = json.loads(store.read(MAIN, store.objects(MAIN, "audits/visits/")[0].path))
    assert AuditVerdict.model_validate({k: v for k, v in told.items() if k in AuditVerdict.model_fields}) == staged.verdict
    assert publishing.unnotified_publish(store, commit) == staged.verdict
    publishing.delete_published_branch(store, commit)
    assert staged.branch not in store.branches()
    assert publishing.unnotified_publish(store, commit) is None
    assert publishes(store) == ["a.csv"]


def test_every_step_done_twice_is_done_once(store: LocalStore, tmp_path: Path) -> None:
    first = audited(store, tmp_path / "a", JANUARY)
    again = audited(store, tmp_path / "b", JANUARY)
    assert (again.branch, again.commit) == (first.branch, first.commit)
    assert first.publish() == again.publish() == published_commit(store, first.source.sha256, "visits")
    assert publishes(store) == ["a.csv"]
    assert published_commit(store, first.source.sha256, "another") is None


def test_two_sources_that_share_keys_publish_each_key_once(store: LocalStore, tmp_path: Path) -> None:
    first = audited(store, tmp_path / "a", JANUARY)
    second = audited(store, tmp_path / "b", [(2, 1, 6), (5, 1, 7)], "b.csv")
    other_month = audited(store, tmp_path / "c", [(2, 4, 6)], "c.csv")
    first.publish()
    other_month.publish()
    with pytest.raises(StaleCheck):
        second.publish()
    repeated = audited(store, tmp_path / "b", [(2, 1, 6), (5, 1, 7)], "b.csv")
    assert repeated.commit != second.commit
    with pytest.raises(StaleCheck):  # what was checked before is not made good by a later audit
        second.publish()
    repeated.publish()
    assert rows_at(store) == [(1, 1, 5), (2, 1, 6), (2, 4, 6), (5, 1, 7)]
    assert [r.check for r in repeated.verdict.reasons] == ["redelivered"]
    assert publishes(store) == ["b.csv", "c.csv", "a.csv"]


def test_what_was_checked_is_published_not_what_the_branch_holds_by_now(store: LocalStore, tmp_path: Path) -> None:
    before = store.head()
    audited(store, tmp_path / "b", [(2, 1, 6)], "b.csv").publish()
    checked = audited(store, tmp_path / "a", JANUARY)
    outdated = audited(store, tmp_path / "slow", JANUARY, at=before)  # a slow run of the same source
    assert (checked.verdict.accepted, outdated.verdict.accepted) == (1, 2)
    with pytest.raises(StaleCheck):
        outdated.publish()
    checked.publish()
    assert rows_at(store) == JANUARY


def test_a_key_that_does_not_tell_the_partition_is_checked_against_all(store: LocalStore, tmp_path: Path) -> None:
    audited(store, tmp_path / "a", JANUARY, spec=VISITORS).publish()
    waiting = audited(store, tmp_path / "b", [(3, 3, 1)], "b.csv", VISITORS)
    moved = audited(store, tmp_path / "c", [(1, 2, 1), (9, 2, 1)], "c.csv", VISITORS)
    assert (moved.verdict.accepted, moved.verdict.rejected) == (1, 1)
    moved.publish()
    with pytest.raises(StaleCheck):
        waiting.publish()


def test_rows_delivered_before_are_dropped_where_the_first_is_kept(store: LocalStore, tmp_path: Path) -> None:
    audited(store, tmp_path / "a", JANUARY, spec=KEEP).publish()
    more = audited(store, tmp_path / "b", [*JANUARY, (3, 1, 7)], "b.csv", KEEP)
    assert (more.verdict.accepted, more.verdict.redelivered) == (1, 2)
    more.publish()
    nothing_new = audited(store, tmp_path / "c", JANUARY, "c.csv", KEEP)
    commit = nothing_new.publish()
    assert published_commit(store, nothing_new.source.sha256, "visits") == commit
    assert (commit.metadata["accepted"], commit.metadata["redelivered"], commit.metadata["watermark"]) == ("0", "2", "")
    assert rows_at(store) == [*JANUARY, (3, 1, 7)]
    assert watermark(store, KEEP) == datetime(2013, 1, 7, tzinfo=UTC)


def test_a_partition_is_replaced_whole_and_no_other(store: LocalStore, tmp_path: Path) -> None:
    audited(store, tmp_path / "a", [*JANUARY, (3, 2, 1)], spec=REPLACE).publish()
    audited(store, tmp_path / "b", [(2, 1, 6), (7, 1, 8)], "b.csv", REPLACE).publish()
    assert rows_at(store) == [(2, 1, 6), (3, 2, 1), (7, 1, 8)]
    by_id = dataclasses.replace(VISITORS, on_redelivery="replace_partition")
    third = audited(store, tmp_path / "c", [(3, 1, 1), (7, 1, 2)], "c.csv", by_id)
    third.publish()
    assert rows_at(store) == [(3, 2, 1), (7, 1, 2)], "3 is known from February, 7 only from what is replaced"
    assert len(published.data_paths(store, MAIN, "visits", {"2013-01"})) == 1


def test_a_retracted_source_can_come_back(store: LocalStore, tmp_path: Path) -> None:
    late = audited(store, tmp_path / "late", [(8, 6, 1)], "late.csv")
    staged = audited(store, tmp_path / "a", JANUARY)
    commit = staged.publish()
    late.publish()
    assert watermark(store, SPEC) == datetime(2013, 6, 1, tzinfo=UTC)
    retract(store, commit)
    assert published_commit(store, staged.source.sha256, "visits") is None
    assert rows_at(store) == [(8, 6, 1)]
    with pytest.raises(Refused, match="was retracted"):
        staged.publish()
    again = audited(store, tmp_path / "a", JANUARY)
    assert again.branch != staged.branch
    again.publish()
    assert rows_at(store) == [*JANUARY, (8, 6, 1)]
    assert published_commit(store, staged.source.sha256, "visits")


def test_the_watermark_is_the_newest_time_that_stands(store: LocalStore, tmp_path: Path) -> None:
    assert watermark(store, SPEC) is None
    audited(store, tmp_path / "a", [(1, 3, 1)]).publish()
    newest = audited(store, tmp_path / "b", [(1, 5, 1)], "b.csv").publish()
    audited(store, tmp_path / "c", [(1, 4, 1)], "c.csv").publish()
    assert watermark(store, SPEC) == datetime(2013, 5, 1, tzinfo=UTC)
    retract(store, newest)
    assert watermark(store, SPEC) == datetime(2013, 4, 1, tzinfo=UTC)
    assert watermark(store, dataclasses.replace(SPEC, name="other")) is None


@pytest.mark.parametrize("left", [b"of another audit", None])
def test_what_a_killed_run_left_on_the_branch_is_not_published(
    store: LocalStore, tmp_path: Path, left: bytes | None
) -> None:
    branch = f"ingest/{b'a.csv'.hex().ljust(64, '0')}"
    store.branch(branch)
    store.upload(branch, "data/visits/2013-09/leftover.parquet", left or b"x")
    if left is None:
        store.commit(branch, "an earlier stage", {"kind": "ingest", "content": "other"})
    audited(store, tmp_path / "a", JANUARY).publish()
    assert rows_at(store) == JANUARY


@pytest.mark.parametrize("meddle", ["stage more", "stage less", "commit more", "delete"])
def test_a_second_run_of_the_same_source_in_between_is_noticed(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meddle: str
) -> None:
    def meddling(*args: Any) -> Commit:
        branch = args[0]
        if meddle == "delete":
            store.delete_branch(branch)
        elif meddle == "stage less":
            store.remove(branch, next(o.path for o in store.objects(branch, "data/", staged=True)))
        else:
            store.upload(branch, "data/visits/2013-01/other.parquet", b"other")
        return commit(*args) if meddle != "commit more" else (commit(branch, "theirs", {}) and commit(*args))

    commit = store.commit
    monkeypatch.setattr(store, "commit", meddling)
    with pytest.raises(StaleCheck):
        audited(store, tmp_path / "a", JANUARY)
    monkeypatch.undo()
    audited(store, tmp_path / "a", JANUARY).publish()
    assert rows_at(store) == JANUARY


def test_a_branch_that_went_away_after_staging_is_published_all_the_same_or_audited_again(
    store: LocalStore, tmp_path: Path
) -> None:
    staged = audited(store, tmp_path / "a", JANUARY)
    store.delete_branch(staged.branch)
    try:
        staged.publish()
    except StaleCheck:
        audited(store, tmp_path / "a", JANUARY).publish()
    assert rows_at(store) == JANUARY


def test_a_source_has_a_branch_of_its_own_after_each_retraction() -> None:
    source = Source(path="/landing/a.csv", name="a.csv", sha256="a" * 64, size=1)
    assert [branch_name(source, count) for count in (0, 1, 2)] == [f"ingest/{'a' * 64}{end}" for end in ("", "-1", "-2")]


def test_a_publish_relies_on_the_partitions_that_its_keys_can_lie_in() -> None:
    assert key_tells_partition(SPEC)
    assert not key_tells_partition(VISITORS)
    assert key_tells_partition(dataclasses.replace(SPEC, partition=pl.lit("all")))  # one partition for all
    months = guard(SPEC, "c0ffee", ["2013-02", "2013-01"])
    assert (months.commit, months.prefixes) == ("c0ffee", ("data/visits/2013-01/", "data/visits/2013-02/"))
    assert guard(VISITORS, "c0ffee", ["2013-02"]).prefixes == ("data/visits/",)


def test_known_keys_are_those_of_the_touched_partitions_where_the_key_tells_them(store: LocalStore, tmp_path: Path) -> None:
    audited(store, tmp_path / "a", [*JANUARY, (3, 2, 1)]).publish()

    def ids(spec: Input, *partitions: str) -> list[int]:
        return sorted(known_keys(store, store.head(), spec, partitions).collect()["id"])

    assert ids(SPEC, "2013-01") == [1, 2]
    assert ids(SPEC, "2013-01", "2013-02") == [1, 2, 3]
    assert ids(SPEC, "2013-03") == []
    assert ids(VISITORS, "2013-02") == [1, 2, 3]  # a visitor of January may come again in February
    by_id = dataclasses.replace(VISITORS, on_redelivery="replace_partition")
    assert ids(by_id, "2013-02") == [1, 2]  # what is about to be replaced may be repeated
    assert ids(REPLACE, "2013-01") == []


def test_what_is_replaced_goes_with_the_commit_that_replaces_it(store: LocalStore, tmp_path: Path) -> None:
    audited(store, tmp_path / "a", [*JANUARY, (3, 2, 1)], spec=REPLACE).publish()
    old = published.data_paths(store, MAIN, "visits", {"2013-01"})
    commit = audited(store, tmp_path / "b", [(9, 1, 9)], "b.csv", REPLACE).publish()
    changes = {change.path: change.kind for change in store.diff(commit.parents[0], commit.id)}
    assert {path for path, kind in changes.items() if kind == "removed"} == set(old)
    assert sorted(path.split("/")[0] for path, kind in changes.items() if kind == "added") == ["audits", "data"]


def test_a_second_source_of_the_same_rows_where_partitions_are_replaced_changes_only_the_files(
    store: LocalStore, tmp_path: Path
) -> None:
    audited(store, tmp_path / "a", JANUARY, spec=REPLACE).publish()
    again = audited(store, tmp_path / "b", JANUARY, "b.csv", REPLACE)
    assert (again.verdict.accepted, again.verdict.rejected) == (2, 0)
    again.publish()
    assert rows_at(store) == JANUARY
    assert len(published.data_paths(store, MAIN, "visits")) == 1


def test_a_verdict_is_notified_while_the_branch_of_its_publish_is_there(store: LocalStore, tmp_path: Path) -> None:
    first = audited(store, tmp_path / "a", [*JANUARY, (-1, 1, 7)])
    commit = first.publish()
    second = audited(store, tmp_path / "b", [(8, 1, 8)], "b.csv")
    second.publish()
    assert publishing.unnotified_publish(store, commit) == first.verdict
    publishing.delete_published_branch(store, commit)
    assert publishing.unnotified_publish(store, commit) is None
    assert second.branch in store.branches()


def test_a_commit_says_how_new_its_rows_are_where_the_input_has_a_time(store: LocalStore, tmp_path: Path) -> None:
    timed = audited(store, tmp_path / "a", [(1, 1, 9), (2, 1, 5)]).publish()
    assert timed.metadata["watermark"] == "2013-01-09T00:00:00+00:00"
    untimed = dataclasses.replace(SPEC, time=None)
    assert audited(store, tmp_path / "b", [(3, 1, 7)], "b.csv", untimed).publish().metadata["watermark"] == ""


def test_a_stage_is_taken_as_it_is_only_with_all_of_its_files(store: LocalStore, tmp_path: Path) -> None:
    """The content that its commit claims is not believed: a file that is gone makes the stage anew."""
    first = audited(store, tmp_path / "a", JANUARY)
    claimed = store.get(first.commit).metadata
    store.remove(first.branch, next(o.path for o in store.objects(first.branch, "data/")))
    store.commit(first.branch, "tidied", claimed)
    again = audited(store, tmp_path / "b", JANUARY)
    again.publish()
    assert rows_at(store) == JANUARY
