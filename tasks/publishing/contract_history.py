"""Which contract main was published under, and how today's differs from it."""

from __future__ import annotations

import json
from functools import partial

from schemas.contract import version_of
from schemas.errors import NotFound
from schemas.evolution import Evolution
from schemas.usecase import Input
from tasks.contracts import Described, compare_contracts
from tasks.datasets import AUDITS, PublishRecord, newest_publish
from tasks.versions import MAIN, VersionStore


def contract_evolution(store: VersionStore, spec: Input, ref: str = MAIN, to: str | None = None) -> Evolution:
    """How the contract of an input differs from the one its newest live publish at `ref` was audited with.

    The new version is the contract as it is, or the one recorded at the ref `to`.

    Args:
        store: The repository with the use case's data.
        spec: The input, with its contract, key and partitions.
        ref: Branch, tag or commit.
        to: Ref of the newer contract; None for the contract as it is in the code.

    Returns:
        The changes, and whether each narrows or widens the contract.

    Raises:
        NotFound: There is no such ref.
    """
    new = recorded_contract(store, spec.name, to)[1] if to else spec.described()
    if new is None:
        raise NotFound(f"no publish of {spec.name!r} at {to!r} recorded its contract; compare with the contract as it is")
    record, old = recorded_contract(store, spec.name, ref) if store.exists() else (None, None)
    if record is None or old is None:
        return _not_compared(spec.name, record, version_of(new))
    changes = tuple(compare_contracts(old, new))
    narrows = sum(change.effect in ("narrows", "unclear") for change in changes)
    evolution = partial(
        Evolution, input=spec.name, old=version_of(old), new=version_of(new), commit=record.commit.id, changes=changes
    )
    if narrows:
        return evolution(status="narrower", why=f"{narrows} of {len(changes)} changes may reject what was accepted")
    if changes:
        return evolution(status="compatible", why="every row that was accepted still is")
    return evolution(status="same", why="it accepts the same rows")


def _not_compared(input: str, record: PublishRecord | None, new: str) -> Evolution:
    if record is None:
        return Evolution(input=input, status="new", why="nothing was published yet", new=new)
    commit = record.commit.id
    why = f"{commit[:12]} recorded no contract to compare with: it may reject what was accepted"
    return Evolution(input=input, status="unknown", why=why, old=record.contract_version, new=new, commit=commit)


def recorded_contract(store: VersionStore, input: str, ref: str = MAIN) -> tuple[PublishRecord | None, Described | None]:
    """The newest live publish of an input at a ref, and the contract that it was audited with, where it is recorded."""
    record = newest_publish(store, input, ref)
    return record, _contract_of(store, record) if record else None


def _contract_of(store: VersionStore, record: PublishRecord) -> Described | None:
    """The contract in the audit that a publish brought; it has to be the one whose version the commit names."""
    commit = record.commit
    for change in store.diff(commit.parents[0], commit.id):
        if change.kind == "added" and change.path.startswith(f"{AUDITS}/{record.input}/"):
            contract: Described | None = json.loads(store.read(commit.id, change.path)).get("contract")
            if contract is not None and version_of(contract) == record.contract_version:
                return contract
    return None
