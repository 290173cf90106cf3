"""The landing watcher's loop, without a server: what is whole is begun, what could not be started comes again."""

import time
from pathlib import Path

import pytest

from schemas.errors import ServiceUnavailable
from tasks.ingestion.landing_zone import LandedFile

watching = pytest.importorskip("deployments.landing_watcher", reason="the extra up is not installed")


def look_until(watcher: "watching.Watcher", begun: list[str], count: int) -> None:
    deadline = time.monotonic() + 20
    while len(begun) < count:
        watcher.update([])
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_file_that_could_not_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "RETRY_SECONDS", 0.05)
    begun: list[str] = []

    def begin(file: LandedFile) -> None:
        begun.append(file.source)
        if len(begun) < 3:
            raise ServiceUnavailable("Prefect's server does not answer")

    watcher = watching.Watcher(tmp_path, begin)
    path = tmp_path / "flights" / "weather" / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_text("a\n")
    watcher.update([path, tmp_path / "nobodys" / "x" / "b.csv"])
    look_until(watcher, begun, 3)
    assert begun == ["weather/a.csv"] * 3
    for _ in range(20):
        watcher.update([])
    assert len(begun) == 3


def test_a_strange_file_is_refused_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun: list[str] = []
    watcher = watching.Watcher(tmp_path, lambda file: begun.append(file.source))
    paths = [tmp_path / "nobodys" / "x" / "b.csv", tmp_path / "flights" / "labels" / "c.csv"]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_text("a\n")
    watcher.update(paths)
    look_until(watcher, begun, 1)
    assert begun == ["labels/c.csv"]
    assert "no use case 'nobodys' is registered" in caplog.text


def test_the_files_of_a_folder_begin_one_delivery(tmp_path: Path) -> None:
    begun: list[str] = []
    watcher = watching.Watcher(tmp_path, lambda file: begun.append(file.source))
    folder = tmp_path / "flights" / "weather" / "x.parquet"
    paths = [folder / "month=1" / "0.parquet", folder / "month=2" / "0.parquet", folder / "_SUCCESS"]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a\n")
    watcher.update(paths)
    look_until(watcher, begun, 1)
    for _ in range(20):
        watcher.update([])
    assert begun == ["weather/x.parquet"]
