"""Contracts that change over published rows, on every store."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from deployments.commands import contract
from schemas.contract import Contract, column
from schemas.errors import NotFound
from schemas.refs import Source
from schemas.usecase import Input
from tasks.contracts.audit import audit_parts, touched_partitions
from tasks.datasets import published as datasets
from tasks.datasets.published import PublishRecord
from tasks.publishing import publish as publishing
from tasks.publishing.contract_history import contract_evolution
from tasks.publishing.retract import revert_publish
from tasks.publishing.revalidation import revalidate
from tasks.versions.protocol import MAIN, VersionStore
from tests.unit.trades import parsed

Row = tuple[int, str, float]


class Sale(Contract):
    id: int = column(ge=0)
    day: str = column()
    price: float = column(ge=0, le=100)

    class Config:
        unique = ["id", "day"]


class Growing(Sale):
    """As before, with one more column that need not be there."""

    shop: str | None = column(nullable=False)


class Cheap(Growing):
    price: float = column(ge=0, le=10)


class OncePerId(Sale):
    class Config:
        unique = ["id"]


class Coded(Sale):
    id: str = column(str_matches="^[1-9]")


class Demanding(Sale):
    """A column that nothing published has."""

    shop: str = column()


class Dear(Sale):
    """What is sold in one delivery is dear on the whole."""

    @classmethod
    def to_schema(cls):  # type: ignore[no-untyped-def]
        import pandera.polars as pa

        schema = super().to_schema()
        check = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key).mean() > 5), name="dear")
        schema.columns["price"].checks.append(check)
        return schema


SPEC = Input(name="sales", contract=Sale, partition=pl.col("day"), max_rejected_share=1.0)
MONDAY: list[Row] = [(1, "mon", 2.0), (2, "mon", 30.0), (3, "tue", 7.0)]
LATER: list[Row] = [(1, "wed", 1.0), (5, "wed", 2.0)]


def publish(store: VersionStore, folder: Path, rows: Sequence[Row], name: str, spec: Input = SPEC) -> str:
    """Deliver rows, with the shop where the contract knows one. Returns the commit of main."""
    frame = pl.DataFrame(list(rows), schema=Sale.dtypes(), orient="row")
    if "shop" in spec.contract.dtypes():
        frame = frame.with_columns(shop=pl.lit("corner"))
    source = Source(path=name, name=name, sha256=name.encode().hex().ljust(64, "0"), size=1)
    made = dataclasses.replace(parsed(folder / f"parsed-{name}", frame), source_sha256=source.sha256)
    checked_at, partitions = store.head(MAIN), touched_partitions(made, spec)
    audited = audit_parts(made, spec, folder / f"audited-{name}", publishing.known_keys(store, checked_at, spec, partitions))
    branch, commit = publishing.stage(store, spec, source, audited, "run", checked_at)
    return publishing.publish_commit(store, spec, source, branch, commit, checked_at, partitions).id


@pytest.fixture
def first(store: VersionStore, tmp_path: Path) -> str:
    commit = publish(store, tmp_path, MONDAY, "a.csv")
    publish(store, tmp_path, LATER, "b.csv")
    return commit


def to(contract: type[Contract]) -> Input:
    return dataclasses.replace(SPEC, contract=contract)


def test_a_commit_keeps_the_contract_that_it_was_audited_with(store: VersionStore, first: str, tmp_path: Path) -> None:
    same = contract_evolution(store, SPEC)
    assert (same.status, same.old, same.new) == ("same", Sale.version(), Sale.version())
    growing = contract_evolution(store, to(Growing))
    assert (growing.status, growing.commit) == ("compatible", store.head())
    last = publish(store, tmp_path, [(7, "thu", 1.0)], "c.csv", to(Growing))
    cheap = contract_evolution(store, to(Cheap))
    assert (cheap.status, cheap.old, cheap.commit) == ("narrower", Growing.version(), last)
    assert [(change.column, change.what) for change in cheap.changes] == [("price", "at most 10, was at most 100")]
    assert len(contract_evolution(store, to(Cheap), ref=first).changes) == 2
    assert contract_evolution(store, to(Cheap), ref=first, to=last).status == "compatible"


def test_a_retracted_publish_is_not_compared_with(store: VersionStore, first: str, tmp_path: Path) -> None:
    last = PublishRecord(store.get(publish(store, tmp_path, [(7, "thu", 1.0)], "c.csv", to(Growing))))
    assert contract_evolution(store, to(Growing)).status == "same"
    revert_publish(store, last, "the wrong shop", "run")
    growing = contract_evolution(store, to(Growing))
    assert (growing.status, growing.old) == ("compatible", Sale.version())
    assert contract_evolution(store, to(Growing), ref=last.commit.id).status == "same"


def test_nothing_published_is_nothing_to_compare_with(uncreated: VersionStore) -> None:
    assert contract_evolution(uncreated, SPEC).status == "new"
    uncreated.create()
    assert contract_evolution(uncreated, SPEC).status == "new"
    assert revalidate(uncreated, SPEC).rows == 0


@pytest.mark.parametrize(("published", "status", "code"), [(None, "new", 0), ("rows", "unknown", 1), ("audit", "same", 0)])
def test_the_command_ends_with_1_where_it_cannot_compare(
    uncreated: VersionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: str | None, status: str, code: int
) -> None:
    """`rows`: published by a release that kept no contract."""
    monkeypatch.setattr(contract, "_each", lambda use_case, input_name, judge: [judge(uncreated, SPEC)])
    uncreated.create()
    if published == "audit":
        publish(uncreated, tmp_path, MONDAY, "a.csv")
    elif published:
        uncreated.branch("ingest/old")
        uncreated.upload("ingest/old", "data/sales/mon/old.parquet", old_rows(tmp_path))
        uncreated.commit("ingest/old", "old", {})
        uncreated.merge("ingest/old", MAIN, "old", {"kind": datasets.INGEST, "input": SPEC.name, "contract_version": "1"})
    done = CliRunner().invoke(contract.command, ["diff", "sales", "--json"])
    assert (done.exit_code, [one["status"] for one in json.loads(done.stdout)]) == (code, [status]), done.output


def old_rows(folder: Path) -> Path:
    path = folder / "old.parquet"
    pl.DataFrame(MONDAY, schema=Sale.dtypes(), orient="row").write_parquet(path)
    return path


def test_published_rows_that_would_fail_are_counted_and_shown(store: VersionStore, first: str, tmp_path: Path) -> None:
    found = revalidate(store, to(Cheap))
    monday = next(path for path, _ in found.files)
    assert (found.rows, found.failing, found.read) == (5, 1, 3)
    assert monday.startswith("data/sales/mon/")
    (reason,) = found.reasons
    assert (reason.column, reason.check, reason.rows) == ("price", "less_than_or_equal_to(10)", 1)
    assert [(e.file, e.row, e.value) for e in reason.examples] == [(monday, 2, "30.0")]


@pytest.mark.parametrize(
    ("contract", "failing"),
    [(Sale, 0), (Growing, 0), (Cheap, 1), (OncePerId, 2), (Demanding, 5), (Coded, 5), (Dear, 2)],
)
def test_a_published_row_fails_as_a_delivered_one_would(
    store: VersionStore, first: str, contract: type[Contract], failing: int
) -> None:
    assert revalidate(store, to(contract)).failing == failing


def test_rows_are_judged_as_they_were_at_a_commit(store: VersionStore, first: str) -> None:
    assert revalidate(store, to(OncePerId), ref=first).failing == 0
    with pytest.raises(NotFound):
        revalidate(store, SPEC, ref="nonsense")
