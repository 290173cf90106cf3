"""Lifecycle: the closed loop for one arrival. With backfill and replay, the only flows that call others."""

from __future__ import annotations

from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from flows.ingest import ingest
from flows.monitor import monitor
from flows.score import score
from flows.train import train
from schemas.refs import CommitId
from schemas.results import Delivery, IngestResult, Loop, Monitoring, Scores, Training
from schemas.settings import in_force
from schemas.usecase import UseCase
from tasks import catalog


@flow(name="lifecycle", flow_run_name="lifecycle {use_case} {source}")
def lifecycle(
    use_case: Annotated[str, Field(min_length=1)],
    source: Annotated[str, Field(min_length=1)],
    input: str | None = None,
    train_by: Literal["call", "event"] = "call",
) -> Loop:
    """Take in an arrival and do what follows from it: score and monitor rows, reconcile labels, retrain when wanted.

    A delivery that was published before goes through the same steps, each of which finds what it has done already: a run
    that died half way is finished by running it again.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        source: A path or a glob; Parquet, CSV or JSON Lines, plain or compressed; or a query <name>.sql.
        input: Which input the source delivers; told by the file's folder or name where it is left out.
        train_by: call trains in this process; event asks for it by penstock.retrain.requested.
    """
    case = catalog.begin(use_case)
    ingested = ingest(use_case, source, input=input)
    arrival = _Arrival(use_case, case, train_by)
    for delivery in ingested.deliveries:
        if delivery.commit:
            arrival.follow(delivery, delivery.commit)
    return arrival.loop(ingested)


class _Arrival:
    """What one arrival sets in motion, collected step by step."""

    def __init__(self, use_case: str, case: UseCase, train_by: str) -> None:
        self.use_case, self.case, self.train_by = use_case, case, train_by
        self.scored: list[Scores] = []
        self.monitored: list[Monitoring] = []
        self.trained: list[Training] = []

    def follow(self, delivery: Delivery, commit: CommitId) -> None:
        """Rows are scored and monitored, labels reconciled; an input that is only looked up asks for nothing more."""
        brings_rows = delivery.input == self.case.rows
        if not brings_rows and delivery.input != self.case.label_input.name:
            return
        if not self._has_champion():
            self._first_champion()
        elif brings_rows:
            self.scored.append(score(self.use_case, arrival=commit, once=True))
            self._watch(commit)
        else:
            for window in catalog.windows_of(self.use_case, commit, *self._places()):
                self._watch(window)

    def loop(self, ingested: IngestResult) -> Loop:
        """All that happened, as a value."""
        last = (self.trained or self.monitored or self.scored or ingested.deliveries)[-1]
        return Loop(
            use_case=self.use_case,
            why=last.why,
            ingested=ingested,
            scored=tuple(self.scored),
            monitored=tuple(self.monitored),
            trained=tuple(self.trained),
        )

    def _watch(self, window: CommitId) -> None:
        seen = monitor(self.use_case, arrival=window)
        self.monitored.append(seen)
        if not seen.decision.retrain:
            return
        if self.train_by == "event":
            catalog.request_training(self.case, seen.decision)
        else:
            self.trained.append(train(self.use_case))

    def _first_champion(self) -> None:
        """With no champion yet: train on what is labelled, then score and monitor the gate's window."""
        first = train(self.use_case)
        self.trained.append(first)
        if first.status == "promoted" and first.verdict:
            since = first.verdict.window[0] if first.verdict.window else None
            self.scored.append(score(self.use_case, since=since))
            self.monitored.append(monitor(self.use_case))

    def _has_champion(self) -> bool:
        return catalog.champion(self.case.name, in_force().registry_url) is not None

    def _places(self) -> tuple[str, str]:
        settings = in_force()
        return settings.store_url(self.case.name), settings.store_url(f"{self.case.name}-log")
