"""The first champion's beginning: the rows on which the gate judged it are scored, by whichever run comes to it."""

from __future__ import annotations

from schemas.errors import NotFound
from schemas.refs import CommitId
from schemas.results import Beginning, RowsToScore
from schemas.usecase import resolve
from schemas.verdicts import GateVerdict
from tasks import datasets, inference
from tasks.registry import open_registry
from tasks.versions import open_store


def unscored(use_case: str, arrival: CommitId, registry_url: str, store_url: str, log_url: str) -> Beginning | None:
    """What a run that was killed between first promotion and scoring left to do.

    None where the champion replaced another, was not trained on what `arrival` brought, or has scored its rows.
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
    rows = RowsToScore(arrival=datasets.newest_publish(store, case.rows, commit), since=since)
    if inference.already_scored(log, rows, inference.scoring_cause(champion, rows)):
        return None
    return Beginning(commit=commit, since=since)
