"""Watches the landing folder, and a bucket: what is whole starts the lifecycle, once. What it misses, `rescan` finds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client

from flows.rescan import locate_files, start_missed
from schemas.errors import PenstockError, UsageError
from schemas.settings import Settings
from tasks import datasets, ingestion, orchestration
from tasks.ingestion import LandedFile, SettlingFiles, locate_landed
from tasks.versions import open_store

if TYPE_CHECKING:
    from watchfiles import Change

log = logging.getLogger("penstock.watching")
POLL_MS = 250  # between two checks of files that are not whole yet
BUCKET_SECONDS = 10.0  # between two checks of the bucket
RETRY_SECONDS = 10.0  # after which is tried again what could not be started

Start = Callable[[LandedFile], None]


def start(settings: Settings, file: LandedFile) -> None:
    """Start the lifecycle of a file that was delivered just now, unless it is done or somebody is at it."""
    sha256 = file.sha256()
    fate = datasets.source_states(open_store(settings.store_url(file.use_case))).get((file.input, sha256))
    with get_client(sync_client=True) as client:
        attempt = orchestration.attempt_for_delivery(
            orchestration.attempts_at(client, orchestration.arrival_key(file, sha256)), fate
        )
    if attempt is None:
        log.info("%s/%s: nothing new (%s)", file.use_case, file.source, fate or "a run has it")
        return
    run = orchestration.start_arrival(file, sha256, attempt)
    log.info("%s/%s: started %s as attempt %s", file.use_case, file.source, run.id, attempt)


class Watcher:
    """Follows one landing folder. `begin` is called with each file that is whole, in the order of arrival."""

    def __init__(self, folder: Path, begin: Start) -> None:
        self.folder, self._begin = folder, begin
        self._settling = SettlingFiles()
        self._waiting: dict[Path, float] = {}

    def update(self, changed: list[Path]) -> None:
        """Take note of what changed, and start what is whole."""
        files = [path for path in changed if ingestion.is_delivery(self.folder, path) and path.is_file()]
        self._settling.observe(dict.fromkeys(ingestion.delivery_of(self.folder, path) for path in files))
        due = [path for path, when in self._waiting.items() if time.monotonic() >= when]
        for path in due:
            del self._waiting[path]
        self._settling.observe(due)
        for path in self._settling.pop_complete():
            self._take(path)

    def _take(self, path: Path) -> None:
        try:
            self._begin(locate_landed(self.folder, path))
        except UsageError as error:
            log.warning("refused: %s", error)
        except Exception as error:
            why = error if isinstance(error, PenstockError) else f"{type(error).__name__}: {error}"
            log.warning("%s waits: %s", path, why)
            self._waiting[path] = time.monotonic() + RETRY_SECONDS


def watch(settings: Settings, stop: Event, ready: Callable[[], None] = lambda: None) -> None:
    """Watch until `stop` is set. Files that lay there before are started where no run ever took them up."""
    from watchfiles import watch as changes

    folder = settings.landing_dir
    folder.mkdir(parents=True, exist_ok=True)
    watcher = Watcher(folder, lambda file: start(settings, file))
    changed = changes(
        folder,
        watch_filter=None,
        stop_event=stop,
        debounce=100,
        step=50,
        rust_timeout=POLL_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    first = next(changed, set())  # from here on nothing is missed
    ready()
    watcher.update(_changed(first))
    catch_up = 0.0  # when to look at what lay there before; it is asked for until the server answers
    bucket = Bucket(settings.landing_bucket) if settings.landing_bucket else None
    for batch in changed:
        watcher.update(_changed(batch))
        if time.monotonic() >= catch_up:
            catch_up = float("inf") if _start_missed(folder) else time.monotonic() + RETRY_SECONDS
        if bucket:
            bucket.poll()


class Bucket:
    """Follows one prefix of a bucket, which tells nobody what lands there: it is listed again and again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen: set[str] = set()
        self._next = 0.0

    def poll(self) -> None:
        """Start what no run has taken up, once the time has come to look again."""
        if time.monotonic() < self._next:
            return
        try:
            files, strange = ingestion.scan_bucket(self._url)
            fresh = [file for file in files if file.sha256() not in self._seen]
            with get_client(sync_client=True) as client:
                for file in start_missed(client, fresh):
                    log.info("%s: started", file.source)
            for message in set(strange) - self._seen:
                log.warning("refused: %s", message)
            self._seen = {*strange, *(file.sha256() for file in files)}
        except Exception as error:
            log.warning("%s waits: %s", self._url, error)
        self._next = time.monotonic() + BUCKET_SECONDS


def _start_missed(folder: Path) -> bool:
    files, strange = locate_files(
        [path for path in ingestion.scan_landing_zone(folder) if ingestion.being_written(path) is not True]
    )
    try:
        with get_client(sync_client=True) as client:
            for file in start_missed(client, files):
                log.info("%s/%s: started", file.use_case, file.source)
    except Exception as error:
        log.warning("what lies there waits: %s", error)
        return False
    for message in strange:
        log.warning("refused: %s", message)
    return True


def _changed(changes: set[tuple[Change, str]]) -> list[Path]:
    """The files of a batch of changes; one that is gone is no arrival."""
    return [file for _, path in changes for file in _files(Path(path))]


def _files(path: Path) -> list[Path]:
    """A file, or all that lies in a folder: one that was moved here tells of itself only."""
    return [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
