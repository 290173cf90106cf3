"""Score: the rows that a commit brought, by the champion as it stands, published with receipts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import polars as pl
from pydantic import Field

from flows.entry import entry
from schemas.errors import StaleCheck, UsageError
from schemas.results import RowsToScore, Scores
from schemas.settings import in_force
from tasks import catalog
from tasks.versions import open_store

ATTEMPTS = 5


class ScoreResult(Scores):
    """What became of a scoring, with the predictions at hand."""

    def frame(self) -> pl.DataFrame:
        """The predictions with their receipts, one row a scored row. Raises UsageError where there are none."""
        if self.predictions is None or self.path is None:
            raise UsageError(f"this scoring made no predictions ({self.why})")
        return open_store(self.predictions.store).scan(self.predictions.commit, [self.path]).collect()


@entry("score", "score {use_case}")
def score(
    use_case: Annotated[str, Field(min_length=1)],
    arrival: str | None = None,
    commit: str | None = None,
    since: datetime | None = None,
    once: bool = False,
) -> ScoreResult:
    """Score the rows that one publish brought with the champion, and publish the predictions to the log repository.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        arrival: Commit of main whose rows are scored; the newest publish of rows where it is left out.
        commit: Data commit at which other inputs are looked up; the head of main where it is left out.
        since: Score only rows whose event time is this or later.
        once: Leave rows alone that any model has scored before.
    """
    case = catalog.begin(use_case)
    settings = in_force()
    data = catalog.data_at(settings.store_url(case.name), commit)
    log = settings.store_url(f"{case.name}-log")
    rows = RowsToScore(arrival=arrival, since=since, once=once)
    for _ in range(ATTEMPTS):
        try:
            scores = catalog.score(use_case, data, rows, settings.registry_url, log, catalog.flow_run_id())
        except StaleCheck:
            continue  # another run published these predictions in between: the next look finds them
        catalog.tell_scores(case, scores)
        return ScoreResult(**dict(scores))
    raise StaleCheck(f"{case.name}: the predictions kept changing while they were published; score again")
