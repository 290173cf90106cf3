"""Tasks of batch scoring."""

from __future__ import annotations

from prefect import task

from schemas.errors import NotFound
from schemas.refs import CommitId, DataRef, Source
from schemas.results import Beginning, RowsToScore, Scores
from schemas.usecase import resolve
from schemas.verdicts import GateVerdict
from tasks import datasets, inference, parsing
from tasks.orchestration import LONG_TASK_OPTIONS, TASK_OPTIONS
from tasks.registry import open_registry
from tasks.versions import open_store


@task(**TASK_OPTIONS, tags={"lake"})
def data_at(store_url: str, commit: str | None) -> DataRef:
    """A commit of the data.

    Args:
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        commit: Any ref; None for the head of main.

    Returns:
        The repository and the commit's id.

    Raises:
        NotFound: There is no such ref.
    """
    return datasets.data_at(store_url, commit)


@task(**LONG_TASK_OPTIONS, tags={"score", "lake", "registry"})
def score_commit(use_case: str, data: DataRef, rows: RowsToScore, registry_url: str, log_url: str, flow_run: str) -> Scores:
    """Score the rows that one publish brought, seen as of `data`, and publish the predictions.

    One cause (model, rows) is published once; a second call answers "already done".

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit of the data, and the repository that it lies in.
        rows: Which rows: the publish that brought them, None for the newest, and from which moment on.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        flow_run: Id of the flow run that does it; it is kept with the commit. May be empty.

    Returns:
        Where the predictions lie, how many, and by which model.

    Raises:
        NotEnoughEvidence: There is no champion.
        NotFound: No rows were published.
    """
    return inference.score_commit(use_case, data, rows, registry_url, log_url, flow_run)


@task(**LONG_TASK_OPTIONS, tags={"score", "lake", "registry"})
def score_file(
    use_case: str, data: DataRef, source: Source, registry_url: str, log_url: str, flow_run: str, limits: parsing.Limits
) -> Scores:
    """Score the rows of a file that lies in no repository, audited by the rows' contract, and publish the predictions.

    Outcomes may be missing. A file is refused as a whole as an ingested one would be; otherwise its rejected rows lie beside
    the predictions of the others. One cause (model, file) is published once.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        data: Commit at which other inputs are looked up.
        source: The file, with its size in bytes and its SHA-256.
        registry_url: URL of the model registry.
        log_url: URL of the use case's log repository, `<use case>-log`.
        flow_run: Id of the flow run that does it; it is kept with the commit. May be empty.
        limits: Memory in MiB and time in seconds that the reading child process may use.

    Returns:
        Where the predictions lie, how many, by which model, and the audit's verdict.

    Raises:
        NotEnoughEvidence: There is no champion.
        Refused: The file cannot be read, or too many of its rows are rejected.
    """
    return inference.score_file(use_case, data, source, registry_url, log_url, flow_run, limits)


@task(**TASK_OPTIONS, tags={"score", "lake", "registry"})
def unscored_first_window(
    use_case: str, arrival: CommitId, registry_url: str, store_url: str, log_url: str
) -> Beginning | None:
    """What a run that was killed between the first promotion and its scoring left to do.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        arrival: Commit that published the rows at hand.
        registry_url: URL of the model registry.
        store_url: URL of the repository with the use case's data, `file://` or `lakefs://`.
        log_url: URL of the use case's log repository, `<use case>-log`.

    Returns:
        The commit and the moment to score from; None where the champion replaced another, was not trained on what `arrival`
            brought, or has scored its rows.
    """
    case, registry, log = resolve(use_case), open_registry(registry_url), open_store(log_url)
    store, champion = open_store(store_url), registry.champion(case.name)
    if champion is None or not log.exists():
        return None
    try:
        verdict = GateVerdict.model_validate(registry.document(champion, "verdict"))
    except NotFound:  # made champion by hand
        return None
    commit = registry.tags(champion)["data_commit"]
    if verdict.champion is not None or all(entry.id != arrival for entry in store.log(commit, first_parent=True)):
        return None
    since = verdict.window[0] if verdict.window else None
    newest = datasets.newest_publish(store, case.rows, commit)
    rows = RowsToScore(arrival=newest.commit.id if newest else None, since=since)
    if inference.already_scored(log, rows, inference.scoring_cause(champion, rows)):
        return None
    return Beginning(commit=commit, since=since)
