"""Ingest, as a person calls it: from Python, on files and frames, good and bad."""

import subprocess
from pathlib import Path

import polars as pl
import pytest

from flows.ingest import ingest
from schemas.errors import UsageError
from schemas.settings import Settings
from schemas.usecase import resolve
from tasks.alerting.rules import alerts_of_delivery
from tasks.replay.nycflights13 import land_flights
from tasks.versions.factory import open_store


@pytest.fixture(scope="session")
def january(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    files = land_flights(tmp_path_factory.mktemp("landing"), [1])
    return {path.parent.name: path for path in files}


def published(settings: Settings) -> list[str]:
    history = settings.root / "lake" / "flights" / "history.git"
    command = ["git", "-C", str(history), "log", "--first-parent", "--format=%s", "main"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_every_input_is_published_once(settings: Settings, january: dict[str, Path]) -> None:
    for name, path in january.items():
        result = ingest("flights", str(path))
        assert [d.status for d in result.deliveries] == ["published"], result
        assert result.deliveries[0].input == name
        audit = result.deliveries[0].audit
        assert audit
        assert audit.rows == audit.accepted + audit.rejected + audit.redelivered
    commits = len(published(settings))
    again = ingest("flights", str(january["flights"]))
    assert again.deliveries[0].status == "already done"
    assert len(published(settings)) == commits == 4


def test_a_frame_is_a_source_like_any_other(settings: Settings, january: dict[str, Path]) -> None:
    frame = pl.read_parquet(january["weather"]) if january["weather"].suffix == ".parquet" else None
    assert frame is not None, "the landing step delivers weather as Parquet"
    assert ingest("flights", frame, input="weather").accepted == frame.height
    assert ingest("flights", frame.to_pandas(), input="weather").deliveries[0].status == "already done"


def test_a_source_with_too_many_bad_rows_stays_on_its_branch(
    settings: Settings, january: dict[str, Path], tmp_path: Path
) -> None:
    head, *lines = january["flights"].read_text().splitlines()
    spoilt = [line.replace("EWR", "XXX") for line in lines[:1000]]
    path = tmp_path / "flights-spoilt.csv"
    path.write_text("\n".join([head, *spoilt]) + "\n")
    result = ingest("flights", str(path), input="flights")
    delivery = result.deliveries[0]
    assert delivery.status == "rejected"
    assert delivery.audit
    assert delivery.audit.rejected > 100
    assert delivery.audit.reasons[0].column == "origin"
    store = open_store(settings.store_url("flights"))
    assert delivery.branch in store.branches()
    assert not store.objects("main", "data/")
    assert len(store.objects(str(delivery.branch), "rejected/")) > 0


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("empty.csv", b"", "skipped"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\x00\x00", "rejected"),
        ("broken.parquet", b"PAR1 this is not Parquet PAR1", "rejected"),
        ("columns.csv", b"a,b\n1,2\n", "rejected"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused_and_stays(
    settings: Settings, tmp_path: Path, name: str, content: bytes, status: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    delivery = ingest("flights", str(path), input="flights").deliveries[0]
    assert delivery.status == status, delivery
    assert "\n" not in delivery.why
    alerts = [alert.cause for alert in alerts_of_delivery(resolve("flights"), delivery)]
    assert alerts == (["source.unreadable.flights"] if status == "rejected" else [])
    assert path.read_bytes() == content
    assert not open_store(settings.store_url("flights")).objects("main", "data/")


@pytest.mark.parametrize(
    ("use_case", "source", "says"),
    [("flights", "nowhere.csv", "nowhere.csv"), ("flight", "x.csv", "registered"), ("flights", ".", "folder|directory")],
)
def test_what_cannot_be_is_a_usage_error(settings: Settings, use_case: str, source: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ingest(use_case, source, input="flights")
