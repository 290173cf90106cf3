"""Lifecycle: the closed loop for one arrival. With backfill and replay, the only flows that call others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from flows.ingest import ingest
from flows.monitor import monitor
from flows.score import score
from flows.train import train
from schemas.errors import UsageError
from schemas.refs import CommitId
from schemas.results import Beginning, IngestResult, Loop, Monitoring, Scores, Training
from schemas.settings import in_force
from schemas.usecase import UseCase
from schemas.verdicts import Decision
from tasks import flow_tasks, orchestration
from tasks.fault_injection import fault_point
from tasks.orchestration import penstock_flow, require_source, run_name_from_source, wait_for_turn


def require_one(source: str | None, published: str | None) -> None:
    """Raise UsageError unless just one says what arrived."""
    if (source is None) == (published is None):
        raise UsageError("lifecycle: say either source, a file that arrived, or published, a commit of main")


@penstock_flow("lifecycle", run_name_from_source, checks=[require_one, require_source])
def lifecycle(
    use_case: Annotated[str, Field(min_length=1)],
    source: Annotated[str, Field(min_length=1)] | None = None,
    input: str | None = None,
    train_by: Literal["call", "event"] = "call",
    published: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] | None = None,
) -> Loop:
    """Take in an arrival and do what follows from it: score and monitor rows, reconcile labels, retrain when wanted.

    A delivery that was published before goes through the same steps, each of which finds what it has done already: a run
    that died half way is finished by running it again.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        source: A path or a glob, also lakefs:// and s3://; Parquet, CSV or JSON Lines, or a query <name>.sql. A
            deployment reads paths below its landing folder only, and takes them from there: flights/2013-04.csv.
        input: Which input the source delivers; told by the file's folder or name where it is left out.
        train_by: call trains in this process; event asks for it by penstock.retrain.requested.
        published: In place of a source, a commit of main that others brought to the lake: the loop goes on from there.

    Returns:
        What each step came to: deliveries, predictions, windows, trainings; `why` is the sentence of the last.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
    """
    case = orchestration.begin_flow(use_case)
    require_one(source, published)
    with wait_for_turn("lifecycle", case.name), orchestration.collect_headlines():
        ingested = ingest(use_case, source, input=input) if source else IngestResult(use_case=case.name, deliveries=())
        arrival = _Arrival(use_case, case, train_by)
        for name, commit, new in arrived(case, ingested, input, published):
            arrival.follow(name, commit, new)
    return arrival.loop(ingested)


def arrived(
    case: UseCase, ingested: IngestResult, input: str | None, published: str | None
) -> list[tuple[str, CommitId, bool]]:
    """Inputs, the commits of main that brought them, and whether this run did. Raises UsageError for an unnamed input."""
    if published:
        name = case.choose_input(input, "the commit").name
        orchestration.log_step(f"Commit {published[:12]} of main brought {name}: scored and monitored as it lies there.")
        return [(name, published, False)]
    return [(done.input, done.commit, done.status == "published") for done in ingested.deliveries if done.commit]


class _Arrival:
    """What one arrival sets in motion, collected step by step."""

    def __init__(self, use_case: str, case: UseCase, train_by: str) -> None:
        self.use_case, self.case, self.train_by = use_case, case, train_by
        self.scored: list[Scores] = []
        self.monitored: list[Monitoring] = []
        self.trained: list[Training] = []

    def follow(self, input: str, commit: CommitId, new: bool) -> None:
        """Rows are scored and monitored, labels reconciled; an input that is only looked up asks for nothing more.

        `new`: this run published it, so that no run before was killed on the way.
        """
        brings_rows = input == self.case.rows
        if not brings_rows and input != self.case.label_input.name:
            return
        if not new:
            flow_tasks.report_unnotified_versions(self.case)
        if not self._has_champion():
            self._first_champion()
        elif not new and (
            left := flow_tasks.unscored_first_window(self.use_case, commit, in_force().registry_url, *self._places())
        ):
            self._begin(left)
        elif brings_rows:
            self._follow_rows(commit)
        else:
            for window in flow_tasks.windows_to_monitor(self.use_case, commit, *self._places()):
                self._watch(window)

    def _follow_rows(self, commit: CommitId) -> None:
        """Score and monitor rows. Those that lack what the champion needs wait for a version that does without."""
        self.scored.append(score(self.use_case, arrival=commit, once=True))
        if self.scored[-1].absent:
            self._retrain(Decision(retrain=True, cause="columns", why=self.scored[-1].why))
            if not self.trained or self.trained[-1].status != "promoted":
                return
            self.scored.append(score(self.use_case, arrival=commit, once=True))
        self._watch(commit)

    def loop(self, ingested: IngestResult) -> Loop:
        """All that happened, as a value."""
        steps = self.trained or self.monitored or self.scored
        return Loop(
            use_case=self.use_case,
            why=steps[-1].why if steps else ingested.why,
            ingested=ingested,
            scored=tuple(self.scored),
            monitored=tuple(self.monitored),
            trained=tuple(self.trained),
        )

    def _watch(self, window: CommitId) -> None:
        result = monitor(self.use_case, arrival=window)
        self.monitored.append(result)
        if result.decision.retrain:
            self._retrain(result.decision)

    def _retrain(self, decision: Decision) -> None:
        if self.train_by == "event":
            flow_tasks.request_training(self.case, decision)
        else:
            self.trained.append(train(self.use_case))

    def _first_champion(self) -> None:
        """With no champion yet: train on what is labelled, then score and monitor the gate's window."""
        first = train(self.use_case)
        self.trained.append(first)
        if first.status == "promoted" and first.verdict:
            fault_point("lifecycle.first_champion")
            assert first.data
            window = first.verdict.window
            self._begin(Beginning(commit=first.data.commit, since=window[0] if window else None))

    def _begin(self, rows: Beginning) -> None:
        self.scored.append(score(self.use_case, commit=rows.commit, since=rows.since))
        self.monitored.append(monitor(self.use_case))

    def _has_champion(self) -> bool:
        return flow_tasks.current_champion(self.case.name, in_force().registry_url) is not None

    def _places(self) -> tuple[str, str]:
        settings = in_force()
        return settings.store_url(self.case.name), settings.store_url(f"{self.case.name}-log")
