"""Write, audit, publish on a real lakeFS server, by turns and by the hook: killed, raced, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from deployments.lakefs_server.setup import init
from deployments.lakefs_server.webhook import create_app
from schemas.errors import Refused
from schemas.refs import Commit
from schemas.usecases.flights import FLIGHTS
from tasks.datasets import published
from tasks.datasets.published import PublishRecord
from tasks.flow_tasks import already_published, audit_on_branch
from tasks.flow_tasks import publish as publish_task
from tasks.maintenance import stale_branches
from tasks.parsing.parse import Limits, fingerprint
from tasks.publishing import publish, retract
from tasks.versions.factory import open_store
from tests.faults.children import killed, run, said, together
from tests.services.hook import FEBRUARY, KEY, hook_settings, labels, served
from tests.services.server import Server, new_repository

INGEST = """
import sys
from pathlib import Path
from schemas.errors import StaleCheck
from tasks.flow_tasks import already_published, audit_on_branch, delete_published_branch, publish
from tasks.parsing import Limits, fingerprint
url, path = sys.argv[1:3]
if sys.argv[3:]:
    print("ready", flush=True)
    input()
source = fingerprint(Path(path))
for attempt in range(100):
    if done := already_published.fn(url, "labels", source.sha256):
        delete_published_branch.fn(url, done.id)
        print("already done")
        break
    try:
        staged = audit_on_branch.fn("flights", "labels", source, url, "", Limits())
        if staged.verdict.publishable:
            delete_published_branch.fn(url, publish.fn("flights", "labels", source, staged, url).id)
        print("published" if staged.verdict.publishable else "rejected")
        break
    except StaleCheck:
        pass
"""
RETRACT = """
import sys
from schemas.usecases.flights import FLIGHTS
from tasks import publishing
from tasks.versions import open_store
store = open_store(sys.argv[1])
newest = publishing.find_publish(store, FLIGHTS, sys.argv[2], None)
if newest.live:
    publishing.revert_publish(store, newest, "wrong month", "")
print("taken back" if newest.live else "was taken back")
"""
POINTS = [
    "store.after_upload", "publishing.after_upload", "store.before_commit", "store.after_commit", "store.before_merge",
    "store.after_merge", "publishing.after_publish",
]  # fmt: skip


KILLED = [*(("turns", point) for point in POINTS), ("hook", "store.before_merge"), ("hook", "store.after_merge")]


@pytest.fixture(params=["turns", "hook"])
def url(request: pytest.FixtureRequest, lake: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Makes places for the use case, with and without the hook."""
    name = new_repository()
    lake.store(name).create()
    if request.param == "turns":
        yield lambda: f"lakefs://{name}/flights"
        return
    monkeypatch.setenv("PENSTOCK_LAKE_SIGNING_KEY", KEY)
    with served(create_app(hook_settings(f"lakefs://{name}"))) as address:
        init(hook_settings(f"lakefs://{name}", lake_hook_url=address), "flights", check=False)
        yield lambda: f"lakefs://{name}/flights"


def written(folder: Path, name: str, *frames: pl.DataFrame) -> str:
    path = folder / f"{name}.parquet"
    pl.concat(frames).write_parquet(path)
    return str(path)


def flights(url: str) -> list[int]:
    """The published flights, in order."""
    store = open_store(url)
    return sorted(published.inputs_at(store, store.head(), FLIGHTS)["labels"].collect()["flight"])


def publishes(url: str) -> list[Commit]:
    return [commit for commit in open_store(url).log(first_parent=True) if commit.metadata.get("kind") == "ingest"]


@pytest.mark.parametrize(("url", "point"), KILLED, indirect=["url"])
def test_killed_at_a_named_point_a_rerun_ends_as_if_nothing_had_been(
    url: Callable[[], str], tmp_path: Path, point: str
) -> None:
    file = written(tmp_path, "labels", labels(1), labels(100, when=FEBRUARY), labels(200).with_columns(arr_delay=-1e6)[:1])
    assert killed(run(INGEST, url(), file, kill_point=point))
    assert flights(url()) in ([], expected := [*range(1, 21), *range(100, 120)])
    first = said(run(INGEST, url(), file))
    assert first == ("already done" if point in ("store.after_merge", "publishing.after_publish") else "published")
    assert said(run(INGEST, url(), file)) == "already done"
    assert flights(url()) == expected
    assert open_store(url()).branches() == ["main"]
    (commit,) = publishes(url())
    assert (commit.metadata["rows"], commit.metadata["accepted"], commit.metadata["rejected"]) == ("41", "40", "1")


def test_files_with_common_keys_bring_each_key_once(url: Callable[[], str], tmp_path: Path) -> None:
    files = [written(tmp_path, f"labels-{me}", labels(1 + 10 * me, 21)) for me in range(3)]
    for done in together(INGEST, [[url(), file, "wait"] for file in files]):
        assert done.returncode == 0, done.stderr
    found = flights(url())
    assert len(found) == len(set(found))
    assert len(publishes(url())) + len([b for b in open_store(url()).branches() if b != "main"]) == 3


def test_one_file_delivered_twice_at_once_is_one_commit(url: Callable[[], str], tmp_path: Path) -> None:
    file = written(tmp_path, "labels", labels())
    for done in together(INGEST, [[url(), file, "wait"]] * 3):
        assert done.returncode == 0, done.stderr
    assert len(publishes(url())) == 1
    assert flights(url()) == list(range(1, 21))


def test_a_refused_source_stays_on_its_branch(url: Callable[[], str], tmp_path: Path) -> None:
    file = written(tmp_path, "labels", labels(1, 9), labels(100, 9).with_columns(outcome=pl.lit("lost")))
    assert said(run(INGEST, url(), file)) == "rejected"
    store = open_store(url())
    branch = publish.branch_name(fingerprint(Path(file)))
    assert store.branches() == [branch, "main"]
    assert {found.path.split("/")[0] for found in store.objects(branch)} >= {"data", "rejected"}
    assert publishes(url()) == []


def test_what_was_retracted_meanwhile_is_not_published(url: Callable[[], str], tmp_path: Path) -> None:
    source = fingerprint(Path(written(tmp_path, "labels", labels())))
    already_published.fn(url(), "labels", source.sha256)
    staged = audit_on_branch.fn("flights", "labels", source, url(), "", Limits())
    merged = publish_task.fn("flights", "labels", source, staged, url())
    retract.revert_publish(open_store(url()), PublishRecord(merged), "wrong month", "")
    assert flights(url()) == []
    with pytest.raises(Refused, match="retracted"):
        publish_task.fn("flights", "labels", source, staged, url())
    again = audit_on_branch.fn("flights", "labels", source, url(), "", Limits())
    publish_task.fn("flights", "labels", source, again, url())
    assert flights(url()) == list(range(1, 21))
    newest = retract.find_publish(open_store(url()), FLIGHTS, source.sha256[:10], None)
    assert newest.live


@pytest.mark.parametrize("point", ["store.before_revert", "store.after_revert", "retraction.after_revert"])
def test_a_retraction_killed_and_repeated_is_one(url: Callable[[], str], tmp_path: Path, point: str) -> None:
    file = written(tmp_path, "labels", labels())
    run(INGEST, url(), file)
    assert killed(run(RETRACT, url(), file, kill_point=point))
    assert said(run(RETRACT, url(), file)) in ("taken back", "was taken back")
    assert said(run(RETRACT, url(), file)) == "was taken back"
    assert flights(url()) == []
    assert [c.metadata["kind"] for c in open_store(url()).log(first_parent=True) if "kind" in c.metadata] == [
        "retract",
        "ingest",
    ]
    assert said(run(INGEST, url(), file)) == "published"
    assert flights(url()) == list(range(1, 21))


def test_a_sweep_removes_what_is_stale(url: Callable[[], str], tmp_path: Path) -> None:
    run(INGEST, url(), written(tmp_path, "labels", labels(1, 9), labels(100, 9).with_columns(outcome=pl.lit("lost"))))
    assert [found.what for found in stale_branches.sweep_branches(url(), 1, dry_run=False)] == ["kept"]
    assert [found.what for found in stale_branches.sweep_branches(url(), 0, dry_run=False)] == ["stale"]
    assert open_store(url()).branches() == ["main"]
