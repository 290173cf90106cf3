"""What the lakeFS adapter does beyond what every store does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from schemas.errors import IntegrityError, NotFound, PenstockError, ServiceUnavailable, StoreError, UsageError
from schemas.refs import Guard
from schemas.settings import Settings
from tasks.versions.factory import open_store
from tasks.versions.lakefs.client import Lake, body
from tasks.versions.lakefs.store import LakeFSStore
from tests.contract.stores import commit, contents, publish
from tests.faults.children import run, said
from tests.services.server import Server, new_repository


def test_odd_metadata_of_an_object_survives_the_server(store: LakeFSStore) -> None:
    metadata = {
        "Rows": "3",
        "süß": "5 µm\n",  # noqa: RUF001
        "percent": "100 %41",
        "blank": " x ",
        "blanks": "  ",
        "empty": "",
        "quote": '"\\',
    }
    store.branch("b")
    assert store.upload("b", "data/x", b"1", metadata).metadata == {**metadata, "path": "data/x"}
    assert store.objects("b", staged=True)[0].metadata == {**metadata, "path": "data/x"}


def test_every_object_carries_its_path_and_hash(store: LakeFSStore) -> None:
    publish(store, "b", data__x=b"1")
    (found,) = store.lake.sdk.objects_api.list_objects(store.place.repository, "main").results
    assert found.metadata == {"path": "data/x", "content-sha256": hashlib.sha256(b"1").hexdigest()}


def test_two_use_cases_share_a_repository_and_see_only_their_own(lake: Server) -> None:
    name = new_repository()
    lake.store(name).create()
    one, two = lake.store(f"{name}/team/one"), lake.store(f"{name}/team/two")
    for number, store in enumerate((one, two)):
        store.create()
        publish(store, "ingest/a", data__x=b"%d" % number)
        store.tag("v/1", "main")
    assert (contents(one), contents(two)) == ({"data/x": b"0"}, {"data/x": b"1"})
    assert one.branches() == two.branches() == ["ingest/a", "main"]
    assert one.tags().keys() == two.tags().keys() == {"v/1"}
    assert one.tags() != two.tags()
    assert [c.message for c in one.log(first_parent=True)] == ["merge ingest/a"]
    assert [c.path for c in two.diff("v/1", "ingest/a")] == []
    assert [c.path for c in one.diff("v/1", "main")] == []
    assert {o.path for o in lake.store(name).objects("main")} == {"team/one/data/x", "team/two/data/x"}
    with pytest.raises(UsageError, match="Penstock makes none"):
        lake.store(f"{new_repository()}/team").create()


def test_branches_that_others_made_are_shown_under_names_that_work(store: LakeFSStore) -> None:
    create = store.lake.sdk.branches_api.create_branch
    for name in ("Team--x", "a-_b", "a---b", "_x", "x-"):
        create(store.place.repository, body("BranchCreation", name=name, source="main"))
    assert store.branches() == sorted(["Team/x", "a.b", "a/-b", "_x", "x-", "main"])
    store.delete_branch("Team/x")
    assert "Team/x" not in store.branches()


@pytest.mark.parametrize("ref", ["head", "begin"])
def test_the_beginning_of_a_commit_id_is_no_ref(store: LakeFSStore, ref: str) -> None:
    head = store.head()
    with pytest.raises(NotFound):
        store.head(head[:12] if ref == "begin" else head[:1])


def test_a_repository_is_protected_before_the_first_write(lake: Server) -> None:
    store = lake.store()
    store.create()
    assert store.repository.protected()
    assert [
        rule.pattern for rule in store.lake.sdk.repositories_api.get_branch_protection_rules(store.place.repository)
    ] == ["main"]


def test_an_interrupted_creation_is_finished(lake: Server) -> None:
    store = lake.store()
    store.repository._make()
    assert not store.repository.protected()
    store.create()
    assert store.repository.protected()


def test_nothing_is_published_to_an_unprotected_main(lake: Server) -> None:
    store = lake.store()
    store.repository._make()
    store.branch("b")
    head = commit(store, "b", data__x=b"1")
    with pytest.raises(StoreError, match=r"not protected.*penstock lake init"):
        store.merge("b", "main", "publish", {})
    assert (store.objects("main"), store.head("b")) == ([], head)


@pytest.mark.parametrize(
    ("namespace", "suggested", "expected"),
    [
        ("s3://bucket/lake", "local://", "s3://bucket/lake/flights"),
        ("s3://bucket/lake/", None, "s3://bucket/lake/flights"),
        (None, "local://", "local://flights"),
        (None, "gs://bucket/x", "gs://bucket/x/flights"),
        (None, None, None),
    ],
)
def test_a_new_repository_has_a_place_for_its_objects(
    lake: Server, namespace: str | None, suggested: str | None, expected: str | None
) -> None:
    store = lake.store("flights", lake_namespace=namespace)
    store.lake.config.storage_config.default_namespace_prefix = suggested
    if expected:
        assert store.repository.namespace == expected
    else:
        with pytest.raises(UsageError, match="PENSTOCK_LAKE_NAMESPACE"):
            _ = store.repository.namespace


def test_credentials_come_from_lakefs_own_settings(
    lake: Server, store: LakeFSStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in lake.environment:
        monkeypatch.delenv(name)
    file = tmp_path / "lakectl.yaml"
    monkeypatch.setenv("LAKECTL_CONFIG_FILE", str(file))
    with pytest.raises(UsageError, match="LAKECTL_SERVER_ENDPOINT_URL"):
        Lake().ask(Lake().sdk.config_api.get_config)
    secret, key = lake.environment["LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"], "AKIAPENSTOCKTESTS000"
    file.write_text(
        f"server: {{endpoint_url: '{lake.url}'}}\ncredentials: {{access_key_id: {key}, secret_access_key: {secret}}}\n"
    )
    assert LakeFSStore(store.url).head() == store.head()


WRONG = [
    pytest.param({"password": "wrong"}, UsageError, "does not know these credentials", id="credentials"),
    pytest.param({"host": "http://127.0.0.1:9"}, ServiceUnavailable, "does not answer", id="nobody there"),
]


@pytest.mark.parametrize(("told", "error", "message"), WRONG)
def test_a_wrong_setting_is_told_in_one_line(
    lake: Server, store: LakeFSStore, told: dict[str, str], error: type[PenstockError], message: str
) -> None:
    store.branch("b")
    other = LakeFSStore(store.url, Settings(), lake.lake(**{"url": told.pop("host", None), **told}))
    for ask in (other.head, other.create, lambda: other.upload("b", "data/x", b"1"), lambda: other.commit("b", "m", {})):
        with pytest.raises(error, match=message) as raised:
            ask()
        assert "\n" not in str(raised.value)
        assert lake.environment["LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"] not in str(raised.value)


def test_a_missing_repository_is_not_found(lake: Server) -> None:
    with pytest.raises(NotFound, match="repository not found"):
        lake.store().branch("b")


def test_damage_on_the_server_is_noticed(lake: Server, store: LakeFSStore) -> None:
    publish(store, "b", data__x=b"right")
    blocks = [path for path in lake.home.rglob("data/*/*") if store.place.repository in str(path) and path.is_file()]
    (block,) = [path for path in blocks if path.read_bytes() == b"right"]
    block.write_bytes(b"wrong")
    with pytest.raises(IntegrityError, match="damaged"):
        store.read("main", "data/x")


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    rows = pl.int_range(1000, eager=True)
    carrier = pl.Series(["AA", None, "UA", "UA"] * 250, dtype=pl.Enum(["AA", "UA"]))
    times = pl.datetime_range(pl.datetime(2013, 1, 1), pl.datetime(2013, 1, 1, 16, 39), "1m", eager=True)
    return pl.DataFrame({"row": rows, "carrier": carrier, "time": times, "delay": rows / 7})


@pytest.mark.parametrize("schema", [True, False], ids=["schema", "no schema"])
def test_the_api_reads_what_the_gateway_reads(
    lake: Server, store: LakeFSStore, frame: pl.DataFrame, tmp_path: Path, schema: bool
) -> None:
    store.branch("b")
    for number, part in enumerate(frame.iter_slices(300)):
        part.write_parquet(tmp_path / "part.parquet", row_group_size=100)
        store.upload("b", f"data/{number}", tmp_path / "part.parquet")
    store.commit("b", "parts", {})
    told = {**frame.schema, "lacking": pl.String()} if schema else None
    paths = [f"data/{number}" for number in range(4)]
    expected = frame.with_columns(lacking=pl.lit(None, pl.String)) if schema else frame
    gateway, api = (lake.store(store.place.repository, lake_gateway=way) for way in (lake.url, "none"))
    for other in (gateway, api):
        lazy = other.scan("b", paths, told)
        assert_frame_equal(lazy.collect(), expected)
        late = [pl.col("row") >= 250, pl.col("carrier") == "UA"]
        picked = lazy.filter(late).select("delay", "carrier").collect()
        assert_frame_equal(picked, expected.filter(late).select("delay", "carrier"))
        assert lazy.head(320).collect().height == 320
        assert lazy.select(pl.len()).collect().item() == 1000


def test_a_store_is_opened_by_its_url(store: LakeFSStore) -> None:
    assert isinstance(open_store(store.url), LakeFSStore)
    assert open_store(store.url).head() == store.head()


def test_the_newest_state_decides_a_guard_with_many_prefixes(store: LakeFSStore) -> None:
    checked = store.head()
    publish(store, "a", data__f__1=b"1")
    store.branch("b")
    commit(store, "b", data__g__1=b"1")
    prefixes = tuple(f"data/{name}/" for name in "ghijk")
    assert store.merge("b", "main", "m", {}, guard=Guard(commit=checked, prefixes=prefixes)).id == store.head()


LARGE = """
import resource, sys
from pathlib import Path
from tasks.versions import open_store
store, file = open_store(sys.argv[1]), Path(sys.argv[2])
store.branch("b")
store.upload("b", "small", b"1")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with file.open("wb") as sparse:
    sparse.truncate(256 << 20)
store.upload("b", "data/large", file)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_a_large_file_is_streamed(store: LakeFSStore, tmp_path: Path) -> None:
    assert int(said(run(LARGE, store.url, str(tmp_path / "large")))) < 32, "MiB of memory for 256 MiB of file"
    assert [stored.size for stored in store.objects("b", "data/", staged=True)] == [256 << 20]
