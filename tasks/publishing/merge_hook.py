"""What the lake's hook decides: whether a merge into `main` may take place, whoever asks for it.

Only `data/` matters. A merge that carries our seal was audited by its writer: what is left is to see that the seal is
true, that it covers what the merge brings, and that the keys were checked against what is still there. Any other merge is
audited here, in full, up to a number of rows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import polars as pl

from schemas.errors import PenstockError, Refused, ServiceUnavailable, first_line
from schemas.refs import Change, Commit, CommitId, Guard
from schemas.row_key import ROW_VALUE
from schemas.usecase import Input, UseCase
from schemas.verdicts import AuditVerdict
from tasks import contracts, datasets, parsing
from tasks.parsing import Limits
from tasks.publishing.publish import key_tells_partition
from tasks.versions.lakefs import hooks, signatures
from tasks.versions.lakefs.store import LakeFSStore

DATA = re.compile(r"data/(?P<input>[^/]+)/(?P<partition>[^/]+)/[^/]+\.parquet")
HOOK_SECONDS = 45  # lakeFS gives a hook a minute


@dataclass(frozen=True)
class Ruling:
    """What was decided, and why in one sentence."""

    verdict: Literal["admitted", "stale", "refused"]
    why: str


@dataclass(frozen=True)
class IncomingMerge:
    """A merge that is asked for: what it would bring from `source` into a branch, and its metadata."""

    source: CommitId
    into: str
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class MergeRules:
    """How to judge: the key of the seals, and what an audit here may use."""

    key: str | None
    rows: int
    limits: Limits = Limits(seconds=HOOK_SECONDS)  # noqa: RUF009


def admit_merge(store: LakeFSStore, case: UseCase, arrival: IncomingMerge, rules: MergeRules) -> Ruling:
    """Whether a merge may take place.

    Args:
        store: The repository with the use case's data.
        case: The use case.
        arrival: The merge that is asked for.
        rules: Memory, time and the signing key.

    Returns:
        Whether it may, and why.

    Raises:
        ServiceUnavailable: The lake does not answer.
    """
    base = store.history.base(arrival.source, arrival.into)
    changes, brings = store.history.brings(arrival.source, base)
    data = [change for change in changes if change.path.startswith("data/")]
    if not data:
        return Ruling("admitted", "it brings no data")
    guard = sealed(store, arrival, brings, rules.key)
    if guard:
        return _as_sealed(store, arrival.into, guard, data)
    return _audited(store, case, arrival, data, rules)


@dataclass(frozen=True)
class PastMergeAudit:
    """What a merge that took place brought without our seal: inputs it touched, and what is wrong with it, or ''."""

    why: str
    inputs: tuple[str, ...] = ()
    refused: str = ""


def audit_past_merges(
    store: LakeFSStore, case: UseCase, merge: Commit, metadata: Mapping[str, str], rules: MergeRules, into: str
) -> PastMergeAudit:
    """Look at a merge that took place. One whose source lacked the hook was let through unasked: it is audited now.

    Args:
        store: The repository with the use case's data.
        case: The use case.
        merge: The commit of main.
        metadata: Metadata of the merge.
        rules: Memory, time and the signing key.
        into: The branch that was merged into.

    Returns:
        What the merge brought, by input, and what is wrong with it.
    """
    if len(merge.parents) < 2:
        return PastMergeAudit("it is no merge")
    before, source = merge.parents[:2]
    changes, brings = store.history.brings(source, store.history.base(source, before))
    data = [change for change in changes if change.path.startswith("data/")]
    if not data or sealed(store, IncomingMerge(source, into, metadata), brings, rules.key):
        return PastMergeAudit("it brings no data" if not data else "it is ours")
    inputs = tuple(sorted({change.path.split("/")[1] for change in data}))
    if hooks.in_force(store.lake, store.place, source):
        return PastMergeAudit("it was audited before", inputs)
    ruling = _audited(store, case, IncomingMerge(source, before, metadata), data, rules)
    return PastMergeAudit(ruling.why, inputs, ruling.why if ruling.verdict == "refused" else "")


def sealed(store: LakeFSStore, arrival: IncomingMerge, brings: str, key: str | None) -> Guard | None:
    """What the seal of a merge says was relied on; None where there is no true seal."""
    guard = signatures.read_guard(arrival.metadata)
    signature = arrival.metadata.get(signatures.SIGNATURE, "")
    if not (guard and key and signature):
        return None
    contract = arrival.metadata.get("contract_version", "")
    document = signatures.merge_document(store.url, arrival.into, arrival.source, brings, contract, guard)
    return guard if signatures.holds(key, document, signature) else None


def _as_sealed(store: LakeFSStore, into: str, guard: Guard, data: Sequence[Change]) -> Ruling:
    outside = [change.path for change in data if not change.path.startswith(guard.prefixes)]
    if outside:
        return Ruling("refused", f"{outside[0]!r} lies outside of what its seal covers")
    if path := store.history.moved(guard, into):
        return Ruling("stale", f"{path!r} has changed since {guard.commit}, which was checked: check again, then merge")
    return Ruling("admitted", "its seal is true and its check is fresh")


def admit_revert(store: LakeFSStore, branch: str, metadata: Mapping[str, str], rules: MergeRules) -> Ruling:
    """Whether a revert may take place: only ours, since a revert of a retraction brings data back without an audit.

    Args:
        store: The repository with the use case's data.
        branch: The branch that is reverted on.
        metadata: Metadata of the revert.
        rules: Memory, time and the signing key.

    Returns:
        Whether it may, and why.
    """
    reverts, upon = metadata.get(signatures.REVERTS, ""), metadata.get(signatures.UPON, "")
    document = signatures.revert_document(store.url, branch, reverts, upon)
    if rules.key and signatures.holds(rules.key, document, metadata.get(signatures.SIGNATURE, "")):
        fresh = store.head(branch) == upon
        return Ruling("admitted", "its seal is true") if fresh else Ruling("stale", f"{branch!r} has moved on since {upon}")
    return Ruling("refused", f"{branch!r} is changed by merges; to take a published source back, use penstock retract")


def _audited(store: LakeFSStore, case: UseCase, arrival: IncomingMerge, data: Sequence[Change], rules: MergeRules) -> Ruling:
    try:
        return _audit(store, case, arrival, data, rules)
    except ServiceUnavailable:
        raise
    except PenstockError as error:
        return Ruling("refused", str(error))


def _audit(store: LakeFSStore, case: UseCase, arrival: IncomingMerge, data: Sequence[Change], rules: MergeRules) -> Ruling:
    """Audit every file of a merge that no seal covers, as if it were a source."""
    replaced = [change.path for change in data if change.kind == "changed"]
    if replaced:
        return Ruling("refused", f"{replaced[0]!r} gets another content: a path of data/ has one content for ever")
    added = [change.path for change in data if change.kind == "added"]
    rows = sum(_rows(store, arrival.source, path) for path in added)
    if rows > rules.rows:
        why = f"it brings {rows:,} rows, more than the {rules.rows:,} that are audited here: use penstock ingest"
        return Ruling("refused", why)
    until, removed = time.monotonic() + rules.limits.seconds, {change.path for change in data if change.kind == "removed"}
    for number, path in enumerate(added):
        left = int(until - time.monotonic())
        if left < 1:
            raise Refused(f"its audit takes longer than the {rules.limits.seconds} s a hook has: use penstock ingest")
        _audit_file(store, case, arrival, path, added[:number], removed, replace(rules.limits, seconds=left))
    return Ruling("admitted", f"{rows:,} rows in {len(added)} files keep their contracts")


def _rows(store: LakeFSStore, commit: CommitId, path: str) -> int:
    try:
        return int(store.scan(commit, [path]).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise Refused(f"{path!r} cannot be read as Parquet: {first_line(error)}") from None


def _audit_file(
    store: LakeFSStore,
    case: UseCase,
    arrival: IncomingMerge,
    path: str,
    before: Sequence[str],
    removed: Collection[str],
    limits: Limits,
) -> None:
    """Raises Refused where a row breaks the contract, repeats a key, or lies in another partition than its path says."""
    spec, partition = _belongs(case, path)
    known = _known(store, arrival, spec, partition, before, removed)
    with TemporaryDirectory(prefix="penstock-") as name:
        scratch = Path(name)
        file = scratch / "source.parquet"
        file.write_bytes(store.read(arrival.source, path))
        parsed = parsing.parse_source(parsing.fingerprint(file), spec.contract, scratch / "parsed", limits, spec.reader)
        if spec.by_row and (wrong := sum(contracts.wrong_row_values(pl.read_parquet(p), spec) for p in parsed.parts)):
            raise Refused(
                f"{path!r} has {wrong:,} rows whose {ROW_VALUE} is not what their values give: use penstock ingest"
            )
        audited = contracts.audit_parts(parsed, spec, scratch / "audited", known)
        for fault in _faults(audited.verdict, {part.partition for part in audited.accepted}, partition):
            raise Refused(f"{path!r} {fault}")


def _known(
    store: LakeFSStore, arrival: IncomingMerge, spec: Input, partition: str, before: Sequence[str], removed: Collection[str]
) -> pl.LazyFrame:
    """The keys that a file must not repeat: of what stays on the branch, and of the merge's files that came `before`."""
    head, types = store.head(arrival.into), spec.contract.dtypes()
    paths = datasets.data_paths(store, head, spec.name, [partition] if key_tells_partition(spec) else None)
    remaining, beside = [path for path in paths if path not in removed], [p for p in before if p.split("/")[1] == spec.name]
    scans = store.scan(head, remaining, types), store.scan(arrival.source, beside, types)
    return pl.concat([scan.select(spec.key) for scan in scans])


def _belongs(case: UseCase, path: str) -> tuple[Input, str]:
    match = DATA.fullmatch(path)
    inputs = {spec.name: spec for spec in case.inputs}
    if not match or match["input"] not in inputs:
        raise Refused(f"{path!r} is no data/<input>/<partition>/<name>.parquet of {', '.join(sorted(inputs))}")
    return inputs[match["input"]], match["partition"]


def _faults(verdict: AuditVerdict, partitions: set[str], partition: str) -> Iterator[str]:
    if verdict.rejected:
        reasons = "; ".join(f"{reason.column or 'rows'} {reason.check} ({reason.rows:,})" for reason in verdict.reasons[:3])
        yield f"has {verdict.rejected:,} of {verdict.rows:,} rows that break the contract of {verdict.input}: {reasons}"
    if verdict.redelivered:
        yield f"has {verdict.redelivered:,} rows whose keys are there already"
    if partitions - {partition}:
        yield f"holds rows of the partition {min(partitions - {partition})!r}"
