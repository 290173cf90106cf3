"""The contract held by the lake itself: a real server asks the hook about every merge, ours and others'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import polars as pl
import pytest

from deployments.lakefs_server.setup import init
from deployments.lakefs_server.webhook import create_app
from schemas.errors import PenstockError, Refused, ServiceUnavailable, StaleCheck, UsageError
from schemas.refs import Guard
from schemas.settings import Settings
from tasks.versions.lakefs import signatures
from tasks.versions.lakefs.client import body
from tasks.versions.lakefs.store import LakeFSStore
from tests.faults.children import together
from tests.services.hook import FEBRUARY, KEY, WRITER, hook_settings, labels, parquet, put, served
from tests.services.server import HOOK_TOKEN, Server, new_repository

SEALED = {"kind": "ingest", "input": "labels", "contract_version": "1"}


@pytest.fixture
def url(lake: Server) -> str:
    """A repository of the platform team's; the use case gets a prefix of it."""
    name = new_repository()
    lake.store(name).create()
    return f"lakefs://{name}"


@pytest.fixture
def hook(url: str) -> Iterator[str]:
    with served(create_app(hook_settings(url))) as address:
        init(hook_settings(url, lake_hook_url=address), "flights", check=False)
        yield address


@pytest.fixture
def ours(url: str, hook: str) -> LakeFSStore:
    """A writer that seals."""
    settings = hook_settings(url)
    return LakeFSStore(settings.store_url("flights"), settings)


@pytest.fixture
def other(url: str, hook: str) -> LakeFSStore:
    """A writer that knows no key, such as a person at the lake's own page."""
    settings = Settings(lake_url=url)
    return LakeFSStore(settings.store_url("flights"), settings)


def guard(store: LakeFSStore, commit: str = "main", *partitions: str) -> Guard:
    names = partitions or ("2013-01",)
    return Guard(commit=store.head(commit), prefixes=tuple(f"data/labels/{name}/" for name in names))


def test_a_sealed_merge_is_let_through_without_an_audit(ours: LakeFSStore) -> None:
    put(ours, "a", b"nothing that an audit would let through")
    merged = ours.merge("a", "main", "publish", SEALED, guard=guard(ours))
    assert ours.head() == merged.id
    assert {**SEALED, "checked_at": merged.parents[0]}.items() <= merged.metadata.items()
    assert KEY not in str(merged)
    assert len(ours.objects("main", "data/")) == 1


def test_a_sealed_merge_whose_check_is_stale_is_told_so(ours: LakeFSStore) -> None:
    checked = guard(ours)
    put(ours, "a", b"1")
    head = ours.merge("a", "main", "publish", SEALED, guard=checked).id
    put(ours, "b", b"2")
    with pytest.raises(StaleCheck, match=r"'data/labels/2013-01/.*has changed since"):
        ours.merge("b", "main", "publish", SEALED, guard=checked)
    assert ours.head() == head
    put(ours, "c", b"3", place="labels/2013-02")
    ours.merge("c", "main", "publish", SEALED, guard=Guard(commit=checked.commit, prefixes=("data/labels/2013-02/",)))
    ours.merge("b", "main", "publish", SEALED, guard=guard(ours))
    assert len(ours.objects("main", "data/")) == 3


def test_a_seal_must_cover_what_is_merged(ours: LakeFSStore) -> None:
    put(ours, "a", b"1")
    with pytest.raises(Refused, match="outside of what its seal covers"):
        ours.merge("a", "main", "publish", SEALED, guard=guard(ours, "main", "2013-02"))
    assert ours.objects("main", "data/") == []


def test_a_merge_without_a_seal_is_audited(other: LakeFSStore) -> None:
    put(other, "good", parquet(labels()), parquet(labels(100)))
    merged = other.merge("good", "main", "by hand", {})
    assert other.head() == merged.id
    put(other, "february", parquet(labels(when=FEBRUARY)), place="labels/2013-02")
    other.merge("february", "main", "by hand", {})
    assert len(other.objects("main", "data/")) == 3


def worse(**columns: Any) -> bytes:
    return parquet(labels(500).with_columns(**columns))


BAD: dict[str, tuple[list[bytes], str, str]] = {
    "a broken rule": ([worse(outcome=pl.lit("lost"))], "labels/2013-01", "outcome isin"),
    "NaN": ([worse(arr_delay=pl.lit(float("nan")))], "labels/2013-01", "break the contract of labels"),
    "a key twice in one file": ([parquet(pl.concat([labels(500), labels(500)]))], "labels/2013-01", "break the contract"),
    "a key twice in two files": ([parquet(labels(500)), worse(arr_delay=pl.lit(1.0))], "labels/2013-01", "redelivered"),
    "a key that is there": ([parquet(labels(1, 3))], "labels/2013-01", "redelivered"),
    "another partition": ([parquet(labels(500, when=FEBRUARY))], "labels/2013-01", "partition '2013-02'"),
    "a column more": ([worse(more=pl.lit(1))], "labels/2013-01", "more"),
    "a column less": ([parquet(labels(500).drop("outcome"))], "labels/2013-01", "outcome"),
    "no Parquet": ([b"time_hour,carrier\n"], "labels/2013-01", "cannot be read as Parquet"),
    "too many rows": ([parquet(labels(500, 300))], "labels/2013-01", "more than the 250 that are audited here"),
    "no such input": ([parquet(labels(500))], "nonsense/2013-01", "is no data/<input>"),
    "no partition": ([parquet(labels(500))], "labels", "is no data/<input>"),
}


@pytest.fixture
def strict(url: str) -> Iterator[LakeFSStore]:
    """A writer without a key; the hook audits 250 rows at most. 20 rows are there."""
    with served(create_app(hook_settings(url, lake_audit_rows=250))) as address:
        init(hook_settings(url, lake_hook_url=address), "flights", check=False)
        store = LakeFSStore(f"{url}/flights", Settings())
        put(store, "first", parquet(labels()))
        store.merge("first", "main", "by hand", {})
        yield store


@pytest.mark.parametrize("name", BAD)
def test_a_merge_that_breaks_the_contract_is_refused(strict: LakeFSStore, name: str) -> None:
    files, place, why = BAD[name]
    tip, head = put(strict, "bad", *files, place=place), strict.head()
    with pytest.raises(Refused, match=why) as refused:
        strict.merge("bad", "main", "by hand", {})
    assert "\n" not in str(refused.value)
    assert (strict.head(), strict.head("bad")) == (head, tip)


def test_a_path_keeps_its_content(strict: LakeFSStore) -> None:
    (there,) = strict.objects("main", "data/")
    strict.branch("b")
    strict.upload("b", there.path, parquet(labels(500)))
    strict.commit("b", "replace", {})
    with pytest.raises(Refused, match="gets another content"):
        strict.merge("b", "main", "by hand", {})


def test_what_lies_beside_the_data_is_not_audited(other: LakeFSStore) -> None:
    other.branch("b")
    other.upload("b", "rejected/labels/2013-01/x.parquet", b"anything")
    other.commit("b", "m", {})
    other.merge("b", "main", "by hand", {})


Forge = Callable[[dict[str, str]], dict[str, str]]
FORGERIES: dict[str, Forge] = {
    "another signature": lambda m: {**m, signatures.SIGNATURE: "0" * 64},
    "no ASCII": lambda m: {**m, signatures.SIGNATURE: "ü"},
    "another commit": lambda m: {**m, signatures.CHECKED_AT: "0" * 64},
    "more prefixes": lambda m: {**m, signatures.GUARDED: '["data/"]'},
    "prefixes that are no list": lambda m: {**m, signatures.GUARDED: "5"},
    "another contract": lambda m: {**m, "contract_version": "2"},
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_seal_that_was_changed_is_none(ours: LakeFSStore, other: LakeFSStore, name: str) -> None:
    commit, checked = put(ours, "a", worse(outcome=pl.lit("lost"))), guard(ours)
    sealed = {**SEALED, **ours.merger._seal(commit, checked.commit, "main", SEALED, checked)}
    with pytest.raises(Refused, match="break the contract"):
        other.merge("a", "main", "forged", FORGERIES[name](sealed))
    other.merge("a", "main", "not forged", sealed)


def test_a_seal_serves_no_other_commit(ours: LakeFSStore, other: LakeFSStore) -> None:
    checked = guard(ours)
    commit = put(ours, "a", b"1")
    sealed = {**SEALED, **ours.merger._seal(commit, checked.commit, "main", SEALED, checked)}
    put(other, "b", worse(outcome=pl.lit("lost")))
    with pytest.raises(Refused, match="break the contract"):
        other.merge("b", "main", "stolen", sealed)


def test_a_writer_with_another_key_is_audited(url: str, hook: str) -> None:
    store = LakeFSStore(f"{url}/flights", hook_settings(url, lake_signing_key="another key"))
    put(store, "bad", worse(outcome=pl.lit("lost")))
    with pytest.raises(Refused, match="break the contract"):
        store.merge("bad", "main", "publish", SEALED, guard=guard(store))
    put(store, "good", parquet(labels()))
    store.merge("good", "main", "publish", SEALED, guard=guard(store))


def test_reverts_are_ours_alone(ours: LakeFSStore, other: LakeFSStore) -> None:
    put(ours, "a", parquet(labels()))
    merged = ours.merge("a", "main", "publish", SEALED, guard=guard(ours))
    with pytest.raises(Refused, match="penstock retract"):
        other.revert("main", merged.id, "undo", {})
    retracted = ours.revert("main", merged.id, "undo", {"reason": "wrong file"})
    assert ours.objects("main", "data/") == []
    with pytest.raises(StaleCheck, match="has moved on"):
        other.revert("main", retracted.id, "undo", dict(retracted.metadata))


def test_a_cherry_pick_to_main_is_refused(other: LakeFSStore) -> None:
    commit = put(other, "a", parquet(labels()))
    pick = other.lake.sdk.branches_api.cherry_pick
    with pytest.raises(Refused, match="hook"):
        other.lake.once(pick, other.place.repository, "main", body("CherryPickCreation", ref=commit))
    assert other.objects("main", "data/") == []


def test_a_hook_that_is_down_stops_every_merge(ours: LakeFSStore, url: str) -> None:
    head = ours.head()
    with served(create_app(hook_settings(url))) as address:
        init(hook_settings(url, lake_hook_url=address), "flights", check=False)
    put(ours, "a", b"1")
    with pytest.raises(ServiceUnavailable, match="start the hook's application"):
        ours.merge("a", "main", "publish", SEALED, guard=guard(ours))
    assert ours.objects("main", "data/") == []
    assert ours.head() != head


def ask(address: str, token: str = HOOK_TOKEN, use_case: str = "flights", **told: object) -> httpx.Response:
    event = {"event_type": "pre-merge", "repository_id": "x", "branch_id": "main", **told}
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{address}/lake", params={"use_case": use_case}, json=event, headers=headers, trust_env=False)


def test_the_endpoint_answers_only_who_shows_the_token(hook: str, url: str) -> None:
    assert ask(hook, "wrong").status_code == 401
    assert httpx.post(f"{hook}/lake?use_case=flights", json={"event_type": "x", "repository_id": "x"}).status_code == 401
    assert ask(hook, use_case="nonsense").status_code == 422
    assert ask(hook, use_case="os:path").status_code == 422
    assert ask(hook).json()["penstock"] == "refused"
    assert "mend its use_case" in ask(hook).json()["why"]
    assert ask(hook).headers["connection"] == "close"  # an idle one that is given up just then would cost a merge
    repository = url.removeprefix("lakefs://")
    assert ask(hook, repository_id=repository, event_type="pre-commit").status_code == 403
    assert httpx.get(f"{hook}/health", trust_env=False).json() == {"status": "ok"}
    assert ask(hook, repository_id=repository, source_ref="absent").status_code == 422


def test_the_application_needs_a_token() -> None:
    with pytest.raises(UsageError, match="PENSTOCK_LAKE_HOOK_TOKEN"):
        create_app(Settings(lake_url="lakefs://"))


def test_a_lake_that_is_down_is_no_refusal(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", "http://127.0.0.1:9")
    with served(create_app(hook_settings(url))) as address:
        assert ask(address, repository_id=url.removeprefix("lakefs://"), source_ref="0" * 64).status_code == 503


def test_the_servers_logs_hold_no_secret(lake: Server, ours: LakeFSStore) -> None:
    put(ours, "a", b"1")
    ours.merge("a", "main", "publish", SEALED, guard=guard(ours))
    api, name = ours.lake.sdk.actions_api, ours.place.repository
    outputs = [
        bytes(api.get_run_hook_output(name, run.run_id, hook.hook_run_id)).decode()
        for run in api.list_repository_runs(name).results
        for hook in api.list_run_hooks(name, run.run_id).results
    ]
    assert any("signature" in output for output in outputs)
    assert not any(secret in output for output in outputs for secret in (HOOK_TOKEN, KEY))
    action = LakeFSStore(f"lakefs://{name}").read("main", "_lakefs_actions/penstock-flights.yaml")
    assert HOOK_TOKEN.encode() not in action


def test_errors_are_ours(ours: LakeFSStore) -> None:
    put(ours, "a", b"1")
    with pytest.raises(PenstockError):
        ours.merge("a", "main", "publish", SEALED, guard=Guard(commit="0" * 64, prefixes=("data/labels/2013-01/",)))


def test_five_writers_of_three_files_make_fifteen_commits(ours: LakeFSStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_LAKE_SIGNING_KEY", KEY)
    for done in together(WRITER, [[ours.url, str(me)] for me in range(5)]):
        assert done.returncode == 0, done.stderr
    log = list(ours.log(first_parent=True))
    sources = [commit.metadata["source"] for commit in log if "source" in commit.metadata]
    assert sorted(sources) == [f"ingest/{me}-{number}" for me in range(5) for number in range(3)]
    for commit in log[:15]:
        checked = signatures.read_guard(commit.metadata)
        assert checked
        assert ours.history.moved(checked, commit.parents[0]) is None
    rows = ours.scan("main", [stored.path for stored in ours.objects("main", "data/labels/")]).select("flight").collect()
    assert rows["flight"].n_unique() == rows.height == 15 * 20
