"""What a model registry offers. The champion's alias moves nowhere but in `promote`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from schemas.history import ChampionState, Move
from schemas.refs import ModelRef, Sha256
from schemas.verdicts import Evaluation, GateVerdict, Kind

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True)
class Actor:
    """Who moves the champion's alias: a flow run or a person, by hand or not, as a rollback or not.

    `before` is the champion according to the history, which stands in where the registry has lost its own.
    """

    who: str = ""
    hand: bool = False
    back: bool = False
    before: ChampionState | None = None


UNKNOWN = Actor()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A fitted model and all that is stored with it.

    `manifest` says what it was made from; its canonical JSON, hashed, names the candidate: the same manifest is registered
    once. Of its keys the registry itself reads `model_sha256` and `data_commit`, which must agree with the model and its
    evaluation where they are there, and `fitted_until` (ISO time of the newest row fitted on), by which models are ordered.
    `documents` are further JSON documents (reference, importances, ...) by file name without suffix.

    The rest serves whoever loads the model with MLflow alone: `input_dtypes` maps features, in order, to polars type names;
    `categories` gives the categories of text features whose type does not list them (an Enum does); `kind`, `classes` and
    `threshold` are those of the target.
    """

    name: str
    model: bytes
    manifest: Mapping[str, Any]
    evaluation: Evaluation
    golden: bytes
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, Any] = field(default_factory=dict)
    input_dtypes: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kind: Kind = "binary"
    classes: tuple[str, ...] = ()
    threshold: float = 0.5
    description: str = ""


@runtime_checkable
class ModelRegistry(Protocol):
    """Registered versions of models. Raises ServiceUnavailable where the registry does not answer."""

    @property
    def url(self) -> str:
        """The URL that `open_registry` takes to open the same registry."""
        ...

    def record(self, candidate: Candidate) -> ModelRef:
        """Register a candidate, once per manifest: a second call finds the first version. Sets the challenger alias."""
        ...

    def champion(self, name: str) -> ModelRef | None:
        """The champion, or None."""
        ...

    def challenger(self, name: str) -> ModelRef | None:
        """The challenger, or None."""
        ...

    def version(self, name: str, version: int) -> ModelRef:
        """One version. Raises NotFound."""
        ...

    def versions(self, name: str) -> list[ModelRef]:
        """All versions, oldest first."""
        ...

    def tags(self, ref: ModelRef) -> dict[str, str]:
        """Tags of a version: lineage and state."""
        ...

    def model_bytes(self, ref: ModelRef) -> bytes:
        """The model, hash-checked before anything reads it. Raises IntegrityError."""
        ...

    def document(self, ref: ModelRef, name: str) -> Any:
        """A JSON document stored with a version. Raises NotFound, IntegrityError."""
        ...

    def golden(self, ref: ModelRef) -> bytes:
        """Golden rows with their expected scores, as Parquet, hash-checked."""
        ...

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock under which a model's aliases change; whoever holds it may call `promote` and the rest."""
        ...

    def promote(
        self,
        ref: ModelRef,
        verdict: GateVerdict | None,
        *,
        expected: ModelRef | None,
        override: str | None = None,
        by: Actor = UNKNOWN,
    ) -> bool:
        """Make a version champion if the verdict says so and the champion still is `expected`.

        The verdict is stored with the version either way, the challenger alias goes, and the tag `penstock.state` says
        what became of it: `champion` (and `archived` for the one it replaces, `rolled back` where that was a rollback),
        `refused` (the verdict says no, or says yes with a number missing: `penstock.why`), or `superseded` (the champion
        was fitted on newer rows: the champion never goes back). A version that was rolled back does not return by a
        training that comes late: only a person (`by.hand`) brings it back, and asks for no age either. `override` is a
        person's reason to promote regardless of verdict and age; it is kept in the tag `penstock.override`; a rollback
        needs no verdict. Before the alias moves, the version's tag says what is about to happen (`intended`).

        Returns whether the alias moved; False too where the version is champion already. Raises StaleCheck, with nothing
        changed, where the champion is neither `expected` nor this version.
        """
        ...

    def repair_aliases(self, name: str) -> ModelRef | None:
        """Do again what follows a move of the alias, where a kill came between. Returns the champion."""
        ...

    def intended(self, ref: ModelRef) -> Move | None:
        """The last move that made, or was about to make, a version champion."""
        ...

    def anchor(self, name: str, text: str | None = None) -> str:
        """What was kept of the history of a model, '' if nothing was; a text is kept first, where the model is there."""
        ...

    def verdict(self, ref: ModelRef, sha256: Sha256) -> Any:
        """A verdict stored with a version, by its hash. Raises IntegrityError, also where it is gone."""
        ...

    def attach_card(self, ref: ModelRef, pages: Mapping[str, bytes], text: str) -> None:
        """Keep a version's card, by suffix (md, html), and describe the version by `text` and a link to it."""
        ...

    def card(self, ref: ModelRef, suffix: str) -> bytes | None:
        """A version's card, hash-checked; None where there is none."""
        ...

    def begin_study(self, name: str, study: str, params: Mapping[str, Any]) -> tuple[str, Any]:
        """The id of the run that a search's trials lie under, one a study, and the result where it has ended before."""
        ...

    def record_trial(
        self, parent: str, number: int, params: Mapping[str, Any], metrics: Mapping[str, float], *, pruned: bool
    ) -> str:
        """The id of a trial's run, a child of the study's; a trial is recorded once. Called from any thread."""
        ...

    def end_study(self, parent: str, result: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Keep a search's result and metrics with its run, and finish it."""
        ...

    def unnotified(self, name: str) -> list[ModelRef]:
        """Versions that became champion, and still are, or were refused, and nobody was told of it."""
        ...

    def mark_notified(self, ref: ModelRef) -> None:
        """Note that people were told what became of a version."""
        ...

    def supersede_with_refit(self, ref: ModelRef, verdict: GateVerdict, *, by: ModelRef) -> None:
        """Keep the verdict with a gated challenger whose refit ships in its place; the challenger alias goes."""
        ...
