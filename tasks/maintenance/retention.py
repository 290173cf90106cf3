"""Receipts that are older than a use case keeps them leave the head of its log repository: online by day, batch by scoring.

What monitoring recorded of them stays, and so does the log's history, which holds the receipts until the store collects its
garbage. Predictions that nobody has monitored are kept: their window would never be judged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from schemas.errors import StaleCheck
from schemas.refs import Commit
from schemas.results import SweptReceipts
from tasks import inference, monitoring, versions
from tasks.versions import MAIN, VersionStore, open_store

KIND, FORMAT = "expiry", 1
ATTEMPTS = 5


def expire_logs(log_url: str, older_than_days: float, dry_run: bool) -> tuple[SweptReceipts, ...]:
    """Remove receipts older than a number of days from the head of a log repository.

    Args:
        log_url: URL of the use case's log repository, `<use case>-log`.
        older_than_days: Age in days from which something goes.
        dry_run: Only say what would go.

    Returns:
        One entry a path: what went and what is kept.

    Raises:
        StaleCheck: Others keep publishing in between: sweep again.
    """
    log = open_store(log_url)
    if not log.exists():
        return ()
    limit = datetime.now(UTC) - timedelta(days=older_than_days)
    return (*_repeated(lambda: _online(log, limit.date(), dry_run)), *_repeated(lambda: _batch(log, limit, dry_run)))


def _repeated(action: Callable[[], list[SweptReceipts]]) -> list[SweptReceipts]:
    for _ in range(ATTEMPTS - 1):
        with suppress(StaleCheck):
            return action()
    return action()


def _online(log: VersionStore, before: date, dry_run: bool) -> list[SweptReceipts]:
    expired = list(_days(log, before))
    if not dry_run:
        inference.expire_receipts(log, before)
    return expired


def _batch(log: VersionStore, limit: datetime, dry_run: bool) -> list[SweptReceipts]:
    scorings = list(_scorings(log, limit))
    if not dry_run:
        _remove(log, [each.path for each in scorings if each.what == "let go"], limit)
    return scorings


def expired_summary(log: VersionStore) -> str:
    """What a log says of receipts that it let go, as the end of a sentence; empty where it let none go.

    Args:
        log: The use case's log repository.

    Returns:
        The end of a sentence, or an empty text.
    """
    for entry in log.log(MAIN, first_parent=True) if log.exists() else ():
        if entry.metadata.get("kind") == KIND:
            before = entry.metadata["before"][:10]
            return f"; receipts before {before} were let go, and only the history of {log.url} may hold them still"
    return ""


def _days(log: VersionStore, before: date) -> Iterator[SweptReceipts]:
    days = Counter(inference.segment_day(stored.path) for stored in log.objects(MAIN, inference.RECEIPTS_FOLDER))
    for day, objects in sorted(days.items()):
        if day < before:
            path = f"{inference.RECEIPTS_FOLDER}{day}/"
            yield SweptReceipts(store=log.url, path=path, objects=objects, what="let go", why=f"answers of {day}")


def _scorings(log: VersionStore, limit: datetime) -> Iterator[SweptReceipts]:
    """Batch predictions older than the limit that lie at the head still, oldest first."""
    lie: defaultdict[str, int] = defaultdict(int)
    for stored in log.objects(MAIN, inference.PREDICTIONS_FOLDER):
        lie[_folder(stored.path)] += 1
    if not lie:
        return
    monitored = {record.arrival for record in monitoring.read_monitoring_log(log)}
    for entry in reversed(list(log.log(MAIN, first_parent=True))):
        if entry.metadata.get("kind") not in (inference.SCORE_KIND, inference.SCORE_FILE_KIND) or entry.time >= limit:
            continue
        folder = _folder(entry.metadata["path"])
        if objects := lie.pop(folder, 0):
            yield _judged(log, entry, folder, objects, monitored)


def _judged(log: VersionStore, entry: Commit, folder: str, objects: int, monitored: set[str | None]) -> SweptReceipts:
    why = f"{int(entry.metadata['rows']):,} predictions of {entry.time:%Y-%m-%d}"
    if entry.metadata["kind"] == inference.SCORE_KIND and entry.metadata["arrival"] not in monitored:
        why += f", not monitored yet: penstock monitor --arrival {entry.metadata['arrival']}"
        return SweptReceipts(store=log.url, path=folder, objects=objects, what="kept", why=why)
    return SweptReceipts(store=log.url, path=folder, objects=objects, what="let go", why=why)


def _folder(path: str) -> str:
    return path if path.endswith("/") else f"{path.rpartition('/')[0]}/"


def _remove(log: VersionStore, folders: Sequence[str], limit: datetime) -> None:
    """Take predictions, and the rejected rows beside them, off the head of main in one commit."""
    rejected = [folder.replace(inference.PREDICTIONS_FOLDER, inference.REJECTED, 1) for folder in folders]
    head = log.head(MAIN)
    paths = [stored.path for folder in [*folders, *rejected] for stored in log.objects(head, folder)]
    if paths:
        metadata = {"format_version": str(FORMAT), "kind": KIND, "before": str(limit), "objects": str(len(paths))}
        message = f"predictions before {limit:%Y-%m-%d} let go"
        versions.commit_and_merge(
            log, f"{inference.RECEIPTS_KIND}/predictions", inference.PREDICTIONS_FOLDER, head, {}, message, metadata, paths
        )
