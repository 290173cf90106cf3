"""Rescan: what landed and no run took up, and runs that died, are started; what was published or refused is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError

from schemas.errors import PenstockError, UsageError
from schemas.results import Rescan
from schemas.settings import in_force
from tasks import datasets, ingestion, orchestration, reporting
from tasks.orchestration import penstock_flow, refuse_shadows
from tasks.versions import open_store


@penstock_flow("rescan", "rescan the landing folder")
def rescan() -> Rescan:
    """Find landed files that no run took up, and runs that died, and start their lifecycle.

    Runs of one file have one key each: asking again starts nothing twice.

    Returns:
        The runs that were started, those that were started again, and one sentence on each file or run that was left.

    Raises:
        ServiceUnavailable: Prefect or the lake does not answer.
        UsageError: A package in the working directory hides one of ours, or there is no such deployment.
    """
    refuse_shadows()
    with get_client(sync_client=True) as client:
        orchestration.give_up_pending(client)
        again, given_up = retry_lost_runs(client)
        whole = [
            path for path in ingestion.scan_landing_zone(in_force().landing_dir) if ingestion.being_written(path) is not True
        ]
        files, strange = locate_files(whole)
        started = [file.source for file in start_missed(client, files)]
        if bucket := in_force().landing_bucket:
            objects, others = ingestion.scan_bucket(bucket)
            started += [file.source for file in start_missed(client, objects)]
            files, strange = [*files, *objects], [*strange, *others]
    result = Rescan(started=tuple(started), again=tuple(again), strange=(*given_up, *strange), files=len(files))
    orchestration.log_step(reporting.rescan_line(result))
    return result


def retry_lost_runs(client: SyncPrefectClient) -> tuple[list[str], list[str]]:
    """The runs that were lost and are started again, and a sentence on each that the server does not take any more.

    Args:
        client: Client of the Prefect server.

    Returns:
        Names of the new runs, and the sentences.

    Raises:
        PrefectHTTPStatusError: The server refuses for another reason.
    """
    again, given_up = [], []
    for run in orchestration.lost_runs(client):
        try:
            again.append(orchestration.retry_lost_run(run).name)
        except UsageError as error:
            given_up.append(f"{run.name} cannot be taken up again: {error}")
        except PrefectHTTPStatusError as error:
            if error.response.status_code not in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
                raise
            given_up.append(f"{run.name} cannot be taken up again: its deployment does not take its parameters any more")
    return again, given_up


def locate_files(paths: list[Path]) -> tuple[list[ingestion.LandedFile], list[str]]:
    """The files of registered use cases, and a sentence on each other."""
    files, strange = [], []
    for path in paths:
        try:
            files.append(ingestion.locate_landed(in_force().landing_dir, path))
        except UsageError as error:
            strange.append(str(error))
    return files, strange


def start_missed(client: SyncPrefectClient, files: list[ingestion.LandedFile]) -> Iterator[ingestion.LandedFile]:
    """Start the files that never had a run, and that main does not know; those are the ones returned."""
    fates = {
        name: datasets.source_states(open_store(in_force().store_url(name))) for name in {file.use_case for file in files}
    }
    for file in files:
        try:
            sha256 = file.sha256()
        except PenstockError:
            continue  # it went away
        known = (file.input, sha256) in fates[file.use_case]
        if not known and not orchestration.attempts_at(client, orchestration.arrival_key(file, sha256)):
            orchestration.start_arrival(file, sha256, attempt=1)
            yield file
