"""What a person reads in the log of a run, from Prefect's API: the numbers that matter, in few lines, and no row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, LogFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort, LogSort
from prefect.logging.handlers import APILogWorker

from flows.backfill import backfill
from flows.ingest import ingest
from flows.lifecycle import lifecycle
from flows.monitor import monitor
from flows.promote import promote
from flows.replay import replay
from flows.rescan import rescan
from flows.retract import retract
from flows.rollback import rollback
from flows.score import score
from flows.sweep import sweep
from flows.train import train
from schemas.results import Loop
from schemas.settings import Settings
from tasks.orchestration import run_log
from tasks.promotion import champion as promotion
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tests.commands_kit import penstock
from tests.modelling_kit import START
from tests.orders_kit import ORDERS, deliver, files_of, named, of_days

pytestmark = pytest.mark.timeout(900)  # a whole life in one fixture

NAME = named(ORDERS)
SECRET = "hunter2-4111111111111111"
OF_PREFECT = ("Beginning ", "Finished in state ", "View at ")
FLOWS = ("ingest", "train", "score", "monitor", "lifecycle", "retract", "backfill", "promote", "rollback", "sweep", "rescan")


def runs_of(flow: str) -> list[FlowRun]:
    """Runs of a flow, oldest first."""
    with get_client(sync_client=True) as client:
        wanted = FlowFilter.model_validate({"name": {"any_": [flow]}})
        return client.read_flow_runs(flow_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_ASC)


def started_by(run: FlowRun) -> list[FlowRun]:
    """The runs that a run started."""
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [run.id]}})
        return client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_ASC)


def log_of(*runs: UUID) -> list[tuple[int, str]]:
    """Level and text of the lines of these runs, in order, as the server has them."""
    APILogWorker.drain_all(timeout=30)
    with get_client(sync_client=True) as client:
        wanted = LogFilter.model_validate({"flow_run_id": {"any_": list(runs)}})
        return [(line.level, line.message) for line in client.read_logs(wanted, sort=LogSort.TIMESTAMP_ASC)]


def lines_of(*runs: FlowRun) -> list[str]:
    """Our lines at INFO; Prefect's own are told by how they begin."""
    found = log_of(*[run.id for run in runs])
    return [text for level, text in found if level == 20 and not text.startswith(OF_PREFECT)]


@dataclass
class Told:
    """What the flows returned, and the newest run of each right after it."""

    settings: Settings
    results: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, FlowRun] = field(default_factory=dict)

    def keep(self, flow: str, result: Any) -> Any:
        self.results[flow], self.runs[flow] = result, runs_of(flow)[-1]
        return result

    def lines(self, flow: str) -> list[str]:
        return lines_of(self.runs[flow])


def spoiled(rows: pl.DataFrame, path: Path) -> Path:
    """Orders as CSV; the size of one is no number, and neither that nor its key may be shown to anybody."""
    first = pl.int_range(pl.len()) == 0
    shop, size = pl.col("shop").cast(pl.String), pl.col("size").cast(pl.String)
    rows = rows.with_columns(
        shop=pl.when(first).then(pl.lit(f"shop-{SECRET}")).otherwise(shop),
        size=pl.when(first).then(pl.lit(SECRET)).otherwise(size),
        at=pl.col("at").dt.to_string("iso:strict"),
    )
    rows.write_csv(path)
    return path


def dated(folder: Path) -> Path:
    """Eight days that begin with 2 February in one file an input, and a file of the next day that lacks columns."""
    folder.mkdir()
    for name, rows in of_days(32, 40).items():
        rows.write_parquet(folder / f"{name}-2024-02-02.parquet")
    (folder / "orders-2024-02-03.csv").write_text(f"at,shop\n2024-02-03,{SECRET}\n")
    return folder


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A life with each flow in it but the replay."""
    home = tmp_path_factory.mktemp("run-logs")
    with Settings(home=home).active() as settings:
        kept, days = Told(settings), of_days(0, 24)
        ingest(NAME, days["prices"], input="prices")
        kept.keep("ingest", ingest(NAME, str(spoiled(days["orders"], home / "orders-01.csv")), input="orders"))
        kept.keep("lifecycle", lifecycle(NAME, str(files_of(0, 24, home / "first")["outcomes"]), input="outcomes"))
        deliver(ORDERS, 24, 32)
        kept.keep("score", score(NAME))
        kept.keep("monitor", monitor(NAME))
        kept.keep("train", train(NAME))
        kept.keep("backfill", backfill(NAME, "2024-02-02", "2024-02-03", source=f"{dated(home / 'dated')}/*"))
        kept.keep("promote", promote(NAME, 3, by="sam"))
        kept.keep("rollback", rollback(NAME, "the new one costs too much"))
        kept.keep("retract", retract(NAME, "orders-01.csv", "a broken till", input="orders"))
        kept.keep("sweep", sweep(NAME, older_than_days=0))
        (settings.landing_dir / "nobody" / "orders").mkdir(parents=True)
        (settings.landing_dir / "nobody" / "orders" / "x.csv").write_text(SECRET)
        kept.keep("rescan", rescan())
        yield kept


def test_an_ingest_tells_rows_in_accepted_rejected_and_why_and_the_commit(told: Told) -> None:
    [done] = told.results["ingest"].deliveries
    [line] = told.lines("ingest")
    assert (done.audit.rows, done.audit.accepted, done.audit.rejected) == (1440, 1439, 1)
    assert line.startswith("orders-01.csv (orders): 1,440 rows in, 1,439 accepted, 1 rejected (size: must be")
    assert line.endswith(f"1 row). Published to main as commit {done.commit[:12]}.")


def test_a_lifecycle_is_told_in_a_dozen_lines_by_it_and_the_runs_it_started(told: Told) -> None:
    loop: Loop = told.results["lifecycle"]
    assert (loop.trained[0].status, len(loop.scored), len(loop.monitored)) == ("promoted", 1, 1), loop.why
    run = told.runs["lifecycle"]
    below = started_by(run)
    assert [found.name.split()[0] for found in below] == ["ingest", "train", "score", "monitor"]
    assert len(lines_of(run, *below)) <= 12
    own = lines_of(run)
    assert len(own) == 4
    assert own[0].startswith("outcomes-00.parquet (outcomes): 1,440 rows in, 1,440 accepted, 0 rejected.")
    assert own[1].startswith("Promoted v2 to champion: log_loss ")
    assert own[2].startswith(f"{loop.scored[0].rows:,} rows scored by v2 (")
    assert own[3] == f"Decision: keep the champion ({loop.monitored[0].drift.status}): {loop.monitored[0].decision.why}."  # type: ignore[union-attr]
    assert set(own) < {line for found in below for line in lines_of(found)}


def test_a_training_tells_its_rows_the_gates_numbers_the_refit_and_the_outcome(told: Told) -> None:
    result = told.results["train"]
    manifests = {
        version: open_registry(told.settings.registry_url).document(
            open_registry(told.settings.registry_url).version("orders", version), "manifest"
        )
        for version in (3, 4)
    }
    fitted, gate, refit, outcome = told.lines("train")
    verdict = result.verdict
    rows, held = manifests[3]["rows"], verdict.rows
    assert fitted.startswith(
        f"Challenger v3 is fitted on {rows - _stopping(fitted):,} rows of commit {result.data.commit[:12]}"
    )
    assert f"the newest {held:,} are held out for the gate" in fitted
    assert gate.startswith(
        f"Gate passed by v3: log_loss {verdict.challenger:.4f} against {verdict.champion:.4f} of the champion v2"
    )
    assert f"{verdict.baseline:.4f} of the baseline on {held:,} rows held out" in gate
    low, high = verdict.interval
    assert f"interval of the gain over the champion {low:+.4f} to {high:+.4f}" in gate
    assert refit == f"Refit: v4 is the recipe of v3, fitted on all {manifests[4]['rows']:,} labelled rows."
    assert outcome == f"Promoted v4 to champion: {result.why.removeprefix('promoted: ')}."


def _stopping(line: str) -> int:
    return int(line.split("; ")[1].split()[0].replace(",", ""))


def test_a_scoring_tells_rows_model_and_commit(told: Told) -> None:
    result = told.results["score"]
    counts = ", ".join(f"{name}: {n:,}" for name, n in result.categories.items())
    assert told.lines("score") == [
        f"{result.rows:,} rows scored by v2 ({counts}). "
        f"Predictions published to the prediction log as commit {result.predictions.commit[:12]}."
    ]


def test_monitoring_tells_drift_realized_estimated_and_the_decision(told: Told) -> None:
    seen = told.results["monitor"]
    window, decision = told.lines("monitor")
    assert window.startswith(
        f"Window of {seen.rows:,} rows, 2024-01-25 to 2024-02-01, scored by v2. {seen.drift.status.capitalize()}: "
    )
    assert seen.drift.why in window
    assert f"Realized log_loss {seen.realized.metrics['log_loss']:.4f} (labels have come for {seen.coverage:.1%}" in window
    assert f"Estimated without labels log_loss {seen.estimate.metrics['log_loss']:.4f}" in window
    assert decision.startswith("Decision: ")
    assert decision.endswith(f": {seen.decision.why}.")


def test_a_promotion_and_a_rollback_tell_numbers_and_reason(told: Told) -> None:
    verdict = told.results["promote"].verdict
    gate, outcome = told.lines("promote")
    assert gate.startswith(
        f"Gate passed by v3: log_loss {verdict.challenger:.4f} against {verdict.champion:.4f} of the champion v4"
    )
    assert outcome.startswith("Promoted v3 to champion: ")
    tried, back = told.lines("rollback")
    assert tried.startswith("v4 loads and scores its golden rows as recorded")
    assert back == "Promoted v4 to champion: the new one costs too much."


def test_a_backfill_a_retraction_a_sweep_and_a_rescan_tell_counts(told: Told) -> None:
    begun, done = told.lines("backfill")
    assert begun == "Backfill (ingest) of 2024-02-02 to 2024-02-03: 4 partitions, 2 at once."
    assert done == "Backfill (ingest): 3 done, 1 refused, 984 rows. Not done: orders-2024-02-03.csv refused."
    [line] = told.lines("retract")
    assert line.startswith("orders-01.csv (orders): retracted. 1439 rows are gone from orders: a broken till. Commit ")
    assert line.endswith("Models that were fitted on its rows: v1, v2, v3, v4.")
    [line] = told.lines("sweep")
    assert told.results["sweep"].why in line
    [line] = told.lines("rescan")
    assert line.startswith("Landing folder: 0 files, 0 started, 0 runs taken up again. Not taken up: ")


@pytest.mark.parametrize("flow", FLOWS)
def test_no_log_holds_what_a_rejected_row_holds(told: Told, flow: str) -> None:
    lines = log_of(*[run.id for run in runs_of(flow)])
    assert lines
    assert not [text for _, text in lines if SECRET in text or "hunter2" in text]


def test_what_is_held_back_is_told_as_well(told: Told) -> None:
    with told.settings.active() as settings:
        registry, log = open_registry(settings.registry_url), open_store(settings.store_url("orders-log"))
        promotion.set_hold(registry, log, "orders", frozen=True, who="sam", reason="audit week")
        try:
            train(NAME)
            promote(NAME, 1)
        finally:
            promotion.set_hold(registry, log, "orders", frozen=False, who="sam", reason="over")
    for flow in ("train", "promote"):
        [line] = lines_of(runs_of(flow)[-1])
        assert line.startswith("Training skipped: frozen since ")


def test_a_refused_file_is_told_with_its_reasons(told: Told, tmp_path: Path) -> None:
    with told.settings.active():
        orders = of_days(0, 2)["orders"]
        bad = orders.with_columns(size=pl.lit(SECRET)).write_csv
        path = tmp_path / "orders-02.csv"
        bad(path)
        ingest(NAME, str(path), input="orders")
    [line] = lines_of(runs_of("ingest")[-1])
    assert line.startswith("orders-02.csv (orders): 120 rows in, 0 accepted, 120 rejected (")
    assert "Not published: more than 5.00% of the rows were rejected. Branch ingest/" in line
    assert SECRET not in line


@pytest.mark.slow
def test_a_replay_tells_a_line_a_period(tmp_path: Path) -> None:
    files_of(0, 40, tmp_path / "source")
    since, until = START + timedelta(days=32), START + timedelta(days=40)
    with Settings(home=tmp_path / "home").active():
        result = replay(NAME, since, until, "4d", 0, str(tmp_path / "source"))
    begun, *steps, done = lines_of(runs_of("replay")[-1])
    assert begun == "Replay of 2024-02-02 to 2024-02-10 by 4d; labels come 0 days later."
    assert [line.split(" rows")[0] for line in steps] == [
        f"{step.since:%Y-%m-%d} to {step.until:%Y-%m-%d}: {step.accepted:,}" for step in result.steps
    ]
    assert done == f"All {len(steps)} periods: {result.why}."


def test_a_command_sends_its_lines_to_the_server_and_shows_none(tmp_path: Path) -> None:
    path = files_of(0, 2, tmp_path)["prices"]
    done = penstock(tmp_path / "home", "ingest", NAME, str(path), "--input", "prices")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    [line] = lines_of(runs_of("ingest")[-1])
    assert line.startswith("prices-00.parquet (prices): 6 rows in, 6 accepted, 0 rejected. Published to main as commit ")
    assert "rows in" not in done.stdout


def test_a_log_that_collects_others_headlines_ends_at_a_dozen_lines() -> None:
    from prefect import flow

    @flow
    def below(number: int) -> None:
        run_log.log_step(f"step {number}, 100% of it", headline=True)
        run_log.log_step("only below")

    @flow
    def above() -> None:
        with run_log.collect_headlines():
            run_log.log_step("it begins")
            for number in range(14):
                below(number)

    above()
    run = runs_of("above")[-1]
    lines = lines_of(run)
    assert lines == ["it begins", *[f"step {number}, 100% of it" for number in range(10)], run_log.MORE]
    assert lines_of(started_by(run)[-1]) == ["step 13, 100% of it", "only below"]


def test_outside_of_a_run_there_is_silence(capfd: pytest.CaptureFixture[str]) -> None:
    run_log.log_step("nobody asked", headline=True)
    assert capfd.readouterr() == ("", "")
