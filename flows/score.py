"""Score: the rows that a commit brought, or a file's, by the champion as it stands, published with receipts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import polars as pl
from pydantic import Field, PrivateAttr

from schemas.errors import StaleCheck, UsageError
from schemas.refs import DataRef
from schemas.results import RowsToScore, Scores
from schemas.settings import in_force
from schemas.usecase import resolve
from tasks import flow_tasks, inference, orchestration
from tasks.inference import prediction_paths
from tasks.ingestion import fetched, locate
from tasks.orchestration import penstock_flow, require_data
from tasks.parsing import Limits
from tasks.versions import open_store

ATTEMPTS = 5


class ScoreResult(Scores):
    """What became of a scoring, with the predictions at hand."""

    _asked: str = PrivateAttr(default="")  # as the caller named the use case: short, or module:NAME

    def frame(self) -> pl.DataFrame:
        """The predictions with their receipts, one row a scored row. Raises UsageError where there are none."""
        return self.scan().collect()

    def scan(self) -> pl.LazyFrame:
        """The same, read in place: predictions may be more than memory holds."""
        if self.predictions is None or self.path is None:
            raise UsageError(f"this scoring made no predictions ({self.why})")
        log, commit = open_store(self.predictions.store), self.predictions.commit
        return log.scan(commit, prediction_paths(log, commit, self.path))

    def write(self, path: str | Path, *, reasons: bool = False) -> Path:
        """Write the predictions to a file of your own, whole or not at all, in the rows' order.

        Args:
            path: A file in a folder that is there; its name says the format: .csv, .parquet or .jsonl.
            reasons: Whether to add the three features that moved each prediction most.

        Returns:
            The path.

        Raises:
            UsageError: There are no predictions, the name claims no format, or the folder takes no file.
        """
        inference.check_destination(Path(path))
        predictions = self.scan()
        with TemporaryDirectory(prefix="penstock-") as scratch:
            why = (
                inference.explain_predictions(resolve(self._asked or self.use_case), self, Path(scratch))
                if reasons
                else None
            )
            inference.write_predictions(predictions, Path(path), why)
        return Path(path)


@penstock_flow("score", "score {use_case}", checks=[require_data])
def score(
    use_case: Annotated[str, Field(min_length=1)],
    arrival: str | None = None,
    commit: str | None = None,
    since: datetime | None = None,
    once: bool = False,
    file: str | None = None,
) -> ScoreResult:
    """Score the rows that one publish brought, or those of a file, with the champion; publish the predictions to the log.

    Of any number of rows. A run that was killed goes on where it was when it is started again on the same data commit.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        arrival: Commit of main whose rows are scored; the newest publish of rows where it is left out.
        commit: Data commit at which other inputs are looked up; the head of main where it is left out.
        since: Score only rows whose event time is this or later.
        once: Leave rows alone that any model has scored before.
        file: Path of one file of rows to score instead, also lakefs:// or s3://. It is audited, and not ingested.

    Returns:
        Where the predictions lie, how many, by which model; `.frame()` reads them.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
        NotFound: No rows were published.
        StaleCheck: The log kept changing meanwhile.
        Refused: The file cannot be read, or too many of its rows are rejected.
    """
    if file and (arrival or since or once):
        raise UsageError("a file is scored as a whole: leave out arrival, since and once")
    case = orchestration.begin_flow(use_case)
    settings = in_force()
    data = flow_tasks.data_at(settings.store_url(case.name), commit)
    log = settings.store_url(f"{case.name}-log")
    rows = RowsToScore(arrival=arrival, since=since, once=once)
    targets = (settings.registry_url, log, orchestration.flow_run_id())
    for _ in range(ATTEMPTS):
        try:
            scores = (
                _score_file(use_case, data, file, *targets)
                if file
                else flow_tasks.score_commit(use_case, data, rows, *targets)
            )
        except StaleCheck:
            continue  # another run published these predictions in between: the next look finds them
        flow_tasks.report_scores(case, scores)
        orchestration.record_predictions_asset(case, scores)
        result = ScoreResult(**dict(scores))
        result._asked = use_case
        return result
    raise StaleCheck(f"{case.name}: the predictions kept changing while they were published; score again")


def _score_file(use_case: str, data: DataRef, file: str, registry: str, log: str, flow_run: str) -> Scores:
    settings = in_force()
    limits = Limits(memory_mb=settings.parse_memory_mb, seconds=settings.parse_seconds)
    with fetched(file) as pattern:
        files = locate(pattern)
        if len(files) > 1:
            raise UsageError(f"cannot score {file!r}: it names {len(files)} files; score them one by one")
        return flow_tasks.score_file(use_case, data, flow_tasks.fingerprint(files[0]), registry, log, flow_run, limits)
