"""The record of what monitoring saw: one JSON object a window and state of knowledge, in the log repository.

A window seen again with the same evidence (predictions, drift, estimates, labels, policy) is found and not written again;
when labels come, another record follows. Each holds the decision made with what was known then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from schemas.digests import sha256, sorted_json
from schemas.errors import NotFound, StaleCheck
from schemas.refs import Commit
from schemas.results import Monitoring
from schemas.usecase import UseCase
from tasks import versions
from tasks.versions import MAIN, VersionStore

MONITORING_KIND = "monitor"
FOLDER = "monitoring"
FORMAT = 1
DIGITS = 8  # sums over threads differ in their last bits
ATTEMPTS = 5


def append_monitoring(case: UseCase, log: VersionStore, result: Monitoring) -> None:
    """Keep what was seen, unless this evidence is on record. Raises StaleCheck where others keep writing the same."""
    digest = evidence(case, result)
    folder = f"{FOLDER}/{digest[:32]}/"
    document = {"format_version": FORMAT, "evidence": digest, **result.model_dump(mode="json")}
    payload = json.dumps(document, sort_keys=True, allow_nan=False).encode()  # no sorted_json: NaN is refused
    for _ in range(ATTEMPTS):
        checked_at = log.head(MAIN)
        if log.objects(checked_at, folder):
            return
        with suppress(StaleCheck):
            _write(case, log, folder, payload, checked_at)
            return
    raise StaleCheck(f"{case.name}: the record of monitoring kept changing; monitor again")


def read_monitoring_log(log: VersionStore) -> list[Monitoring]:
    """All that is on record, oldest first. Records of another format are left out.

    Args:
        log: The use case's log repository.

    Returns:
        The records.
    """
    if not log.exists():
        return []
    entries = [entry for entry in log.log(MAIN, first_parent=True) if entry.metadata.get("kind") == MONITORING_KIND]
    records = (_read(log, entry) for entry in reversed(entries))
    return [record for record in records if record is not None]


def newest_by_window(records: list[Monitoring]) -> list[Monitoring]:
    """Of each window the last record, windows in the order of their first row's time.

    Args:
        records: The records, oldest first.

    Returns:
        One record a window.
    """
    last = {(m.arrival, m.model.version if m.model else 0, m.window): m for m in records}
    return sorted(last.values(), key=lambda m: (m.window is not None, m.window or ()))


def evidence(case: UseCase, result: Monitoring) -> str:
    """Digest of what a decision rests on; of neither the decision nor where reports lie."""
    parts = {
        "arrival": result.arrival,
        "model": result.model.sha256 if result.model else None,
        "window": [str(moment) for moment in result.window or ()],
        "rows": result.rows,
        "drift": result.drift.model_dump(mode="json", exclude={"report", "why"}) if result.drift else None,
        "estimate": result.estimate.model_dump(mode="json") if result.estimate else None,
        "realized": result.realized.model_dump(mode="json", exclude={"data_commit"}) if result.realized else None,
        "coverage": result.coverage,
        "policy": vars(case.monitor),
    }
    return sha256(sorted_json(_rounded(parts)).encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _write(case: UseCase, log: VersionStore, folder: str, payload: bytes, checked_at: str) -> None:
    digest = sha256(payload)
    path = f"{folder}{digest}.json"
    metadata = {"format_version": str(FORMAT), "kind": MONITORING_KIND, "use_case": case.name, "path": path}
    versions.commit_and_merge(
        log, f"{MONITORING_KIND}/{digest[:32]}", folder, checked_at, {path: payload}, f"monitoring of {case.name}", metadata
    )


def _read(log: VersionStore, entry: Commit) -> Monitoring | None:
    try:
        document = json.loads(log.read(entry.id, entry.metadata["path"]))
    except NotFound:
        return None
    if document.pop("format_version", None) != FORMAT:
        return None
    document.pop("evidence", None)
    return Monitoring.model_validate(document)
