"""Files that have landed: whose they are, when they are whole, and what main knows of them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.settings import Settings
from tasks.datasets.published import source_states
from tasks.ingestion import landing_zone
from tasks.ingestion.landing_zone import SettlingFiles, locate_landed, scan_landing_zone
from tasks.versions.factory import open_store


def touch(path: Path, content: bytes = b"a,b\n1,2\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_belongs_to_the_use_case_and_input_of_its_folders(tmp_path: Path) -> None:
    file = locate_landed(tmp_path, touch(tmp_path / "flights" / "weather" / "2013" / "03.csv"))
    assert (file.use_case, file.input, file.source) == ("flights", "weather", "weather/2013/03.csv")
    assert len(file.sha256()) == 64


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nobodys/rows/a.csv", "no use case 'nobodys' is registered; there are: flights"),
        ("flights/tickets/a.csv", "has no input 'tickets'"),
        ("flights/a.csv", "files land as"),
        ("../a.csv", "files land as"),
    ],
)
def test_strange_files_are_refused(tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        locate_landed(tmp_path / "landing", touch((tmp_path / "landing" / path).resolve()))


def test_hidden_and_unfinished_names_are_no_deliveries(tmp_path: Path) -> None:
    names = ["b.csv", "a.csv", ".a.csv.Xy12", "c.csv.part", "d.csv~", "e.csv.crdownload", ".hidden/f.csv"]
    for age, name in enumerate(names):
        os.utime(touch(tmp_path / "flights" / "flights" / name), (1000 + age, 1000 + age))
    assert [path.name for path in scan_landing_zone(tmp_path)] == ["b.csv", "a.csv"]  # as they arrived


def settled(settling: SettlingFiles, condition: Callable[[list[Path]], bool] = bool, seconds: float = 20) -> list[Path]:
    """Look until something is whole."""
    deadline = time.monotonic() + seconds
    while not condition(found := settling.pop_complete()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


WRITER = "import sys; f = open(sys.argv[1], 'ab'); print('open', flush=True); input(); f.write(b'end'); f.close()"


def test_a_file_is_whole_when_its_writer_has_closed_it(tmp_path: Path) -> None:
    path, other = touch(tmp_path / "slow.csv"), touch(tmp_path / "quick.csv")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        writer.stdout.readline()
        settling = SettlingFiles()
        settling.observe([path, other])
        assert settled(settling) == [other]
        assert [settling.pop_complete() for _ in range(5)] == [[]] * 5
        assert landing_zone.being_written(path) is True
        writer.communicate("go\n")
    assert settled(settling) == [path]
    assert path.read_bytes().endswith(b"end")
    assert settling.pop_complete() == []  # each is named once


def test_where_nobody_can_tell_a_file_has_to_stand_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landing_zone, "being_written", lambda path: None)
    path = touch(tmp_path / "remote.csv")
    settling = SettlingFiles(quiet_seconds=0.2)
    settling.observe([path])
    assert settling.pop_complete() == []
    begun = time.monotonic()
    assert settled(settling) == [path]
    assert time.monotonic() - begun >= 0.19


def test_a_file_that_goes_away_has_not_landed(tmp_path: Path) -> None:
    path = touch(tmp_path / "gone.csv")
    settling = SettlingFiles()
    settling.observe([path])
    path.unlink()
    assert [settling.pop_complete() for _ in range(3)] == [[], [], []]


def test_what_became_of_a_source_is_read_from_main(settings: Settings) -> None:
    store = open_store(settings.store_url("flights"))
    assert source_states(store) == {}
    store.create()
    for number, (kind, sha) in enumerate([("ingest", "a"), ("ingest", "b"), ("retract", "b"), ("score", "c")]):
        branch = f"x/{number}"
        store.branch(branch)
        store.upload(branch, f"data/{number}", kind.encode() + sha.encode())
        told = {"kind": kind, "input": "flights", "source_sha256": sha} if kind != "score" else {"kind": kind}
        store.merge(store.commit(branch, kind, told).id, "main", kind, told)
    assert source_states(store) == {("flights", "a"): "published", ("flights", "b"): "retracted"}


def test_a_folder_named_like_parquet_is_one_delivery(tmp_path: Path) -> None:
    names = [
        "x.parquet/year=1/0.parquet",
        "x.parquet/year=2/0.parquet",
        "x.parquet/_SUCCESS",
        "y/0.parquet",
        "z.pq.tmp/0.pq",
    ]
    for age, name in enumerate(names):
        os.utime(touch(tmp_path / "flights" / "flights" / name), (1000 + age, 1000 + age))
    found = {str(path.relative_to(tmp_path / "flights" / "flights")) for path in scan_landing_zone(tmp_path)}
    assert found == {"x.parquet", "y/0.parquet"}
    folder = locate_landed(tmp_path, tmp_path / "flights" / "flights" / "x.parquet")
    assert (folder.input, folder.source) == ("flights", "flights/x.parquet")


def test_a_folder_is_whole_when_it_says_so_or_stands_still(tmp_path: Path) -> None:
    folder = tmp_path / "x.parquet"
    touch(folder / "year=1" / "0.parquet")
    settling = SettlingFiles(quiet_seconds=0.3)
    settling.observe([folder])
    begun = time.monotonic()
    assert settled(settling) == [folder]
    assert time.monotonic() - begun >= 0.29
    settling = SettlingFiles(quiet_seconds=60)
    settling.observe([folder])
    assert [settling.pop_complete() for _ in range(3)] == [[], [], []]
    touch(folder / "_SUCCESS")
    assert settled(settling) == [folder]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder / "year=1" / "0.parquet")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout
        writer.stdout.readline()
        assert landing_zone.being_written(folder) is True
        writer.communicate("go\n")
    assert landing_zone.being_written(folder) is False
