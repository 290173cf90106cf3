"""Sources that lie in a lake or a bucket."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from schemas.errors import ServiceUnavailable, UsageError
from tasks.ingestion.files import locate
from tasks.ingestion.remote import fetched
from tasks.parsing.parse import fingerprint
from tasks.versions.lakefs.store import LakeFSStore
from tests.faults.proxy import FaultProxy, drop_reply
from tests.services.server import KEY_ID, SECRET, Server

LARGE = random.Random(0).randbytes(17 << 20)


@pytest.fixture
def filled(store: LakeFSStore) -> str:
    store.branch("work/b")
    for path, content in {
        "in/flights/1.csv": b"one",
        "in/flights/2.csv": LARGE,
        "in/flights/deep/3.csv": b"",
        "0.csv": b"",
    }.items():
        store.upload("work/b", path, content)
    store.commit("work/b", "m", {})
    return store.place.repository


@pytest.fixture
def aws(lake: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """lakeFS's S3 gateway in the part of S3."""
    told = {
        "AWS_ENDPOINT_URL": lake.url,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("start", ["lakefs", "s3"])
@pytest.mark.parametrize(
    ("path", "contents"),
    [
        ("in/flights/1.csv", [b"one"]),
        ("in/flights/*.csv", [b"one", LARGE]),
        ("in/flights/deep/3.csv", [b""]),
        ("0.csv", [b""]),
    ],
)
@pytest.mark.usefixtures("aws")
def test_a_remote_source_becomes_files(filled: str, start: str, path: str, contents: list[bytes]) -> None:
    with fetched(f"{start}://{filled}/work--b/{path}") as source:
        files = locate(source)
        assert [file.read_bytes() for file in files] == contents
        assert fingerprint(files[0]).name == path.rpartition("/")[2].replace("*", "1")
        assert files[0].parent.name == (Path(path).parent.name or ("source" if start == "lakefs" else "work--b"))
    assert not files[0].exists()


@pytest.mark.parametrize("start", ["lakefs", "s3"])
@pytest.mark.usefixtures("aws")
def test_a_source_that_is_not_there_is_told_so(filled: str, start: str) -> None:
    for path in (
        "",
        f"{filled}",
        f"{filled}/",
        f"{filled}/work--b/in/absent.csv",
        f"{filled}/absent/in/x.csv",
        "no-such-repository/main/x/y",
    ):
        with pytest.raises(UsageError, match=f"cannot read '{start}://"), fetched(f"{start}://{path}"):
            pass


def test_a_commit_is_a_ref_too(filled: str, store: LakeFSStore) -> None:
    with fetched(f"lakefs://{filled}/{store.head('work/b')}/in/flights/1.csv") as source:
        assert locate(source)[0].read_bytes() == b"one"


def test_a_reply_that_is_lost_half_way_costs_a_part(filled: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", proxy.url)
    rule = proxy.on(drop_reply, path="/objects\\?", skip=1, times=1)
    store = LakeFSStore(f"lakefs://{filled}")
    monkeypatch.setattr("tasks.ingestion.remote.open_store", lambda _: store)
    with fetched(f"lakefs://{filled}/work--b/in/flights/2.csv") as source:
        assert locate(source)[0].read_bytes() == LARGE
    assert rule.hits == 1


def test_a_bucket_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ServiceUnavailable, match="cannot read 's3://bucket"), fetched("s3://bucket/x.csv"):
        pass
