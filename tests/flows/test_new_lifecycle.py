"""From a file to a champion and a drift report in two steps, for each kind of problem; then a broken delivery."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from deployments.scaffold.draft import NewUseCaseOptions
from deployments.scaffold.location import nearby
from deployments.scaffold.new_use_case import new_use_case
from schemas.settings import Settings
from tasks.parsing.parse import Limits
from tests.unit import scaffold_domains as domains

# By name of a use case: the column, the rows and the value that spoil the next delivery.
BROKEN = {
    "gym-churn": ("visits", pl.col("visits") > 7, -1),
    "routing": ("product", pl.col("product") == "app", "unheard of"),
    "houses": ("class", pl.col("class") == "fine", None),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with domains.importing():
        yield tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_two_steps_from_a_file_to_a_champion_and_a_drift_report(folder: Path, settings: Settings, name: str) -> None:
    from flows.ingest import ingest
    from flows.lifecycle import lifecycle

    make, file, target, kind = domains.DOMAINS[name]
    frame = make()
    drafted = new_use_case(name, domains.save(frame, folder / file), NewUseCaseOptions(target), folder, Limits(2048, 120))
    assert drafted.kind == kind
    loop = lifecycle(nearby(name, folder), str(folder / file))
    assert loop.ingested.accepted == frame.height
    assert loop.trained[0].status == "promoted", loop.trained[0].why
    assert loop.scored[0].rows > 0
    seen = loop.monitored[0]
    assert seen.coverage == 1.0
    gated, shipped = loop.trained[0].evaluation, loop.trained[0].model
    assert gated
    assert shipped
    assert seen.realized
    assert seen.realized.rows == gated.rows
    assert seen.realized.metrics == pytest.approx(gated.metrics, rel=1e-6)
    if seen.in_sample == seen.rows:  # a refit: the version that was gated judges the gate's window
        assert seen.judged_by
        assert seen.judged_by.version == shipped.version - 1
        assert seen.realized.model_sha256 == gated.model_sha256 == seen.judged_by.sha256
    assert seen.drift is not None
    assert Path(str(seen.drift.report)).stat().st_size > 100_000

    column, where, value = BROKEN[name]
    whole = make(frame.height + 60).tail(60)
    broken = whole.with_columns(pl.when(where).then(pl.lit(value)).otherwise(column).alias(column))
    planted = whole.filter(where).height
    audit = ingest(nearby(name, folder), str(domains.save(broken, folder / f"next-{file}"))).deliveries[0].audit
    assert audit is not None
    assert (audit.rows, audit.accepted, audit.rejected) == (60, 60 - planted, planted)
    assert {reason.column for reason in audit.reasons} == {column}
    assert planted > 0
