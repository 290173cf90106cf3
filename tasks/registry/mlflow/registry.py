"""The registry's rules over MLflow: one version a manifest, bytes checked before use, a champion that only `promote` moves.

MLflow's aliases know no compare-and-swap, so whoever changes something holds a lock for the model. Every step looks up
what is there already: after a kill or a lost reply the same call again ends where an undisturbed one does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock, Timeout

from schemas.digests import sha256
from schemas.errors import NotFound, ServiceUnavailable, StaleCheck, UsageError
from schemas.history import ChampionState, Move, MoveKind
from schemas.refs import ModelRef
from schemas.verdicts import GateVerdict
from tasks.fault_injection import fault_point
from tasks.registry import artifacts, promotion_rules
from tasks.registry.locks import Lock, outer_lock
from tasks.registry.mlflow.reader import Reader, shown
from tasks.registry.protocol import CHALLENGER, CHAMPION, UNKNOWN, Actor, Candidate
from tasks.registry.tags import (
    ANCHOR,
    ARCHIVED,
    CARD,
    MANIFEST,
    MODEL,
    MOVE,
    OVERRIDE,
    RECORD,
    ROLLED_BACK,
    STATE,
    UNNOTIFIED,
    VERDICT,
    WHY,
)

LINEAGE = ("use_case", "use_case_version", "data_store", "data_commit", "fitted_until", "code_version", "recipe_of")
PATIENCE = 120


class MlflowRegistry(Reader):
    """A ModelRegistry.

    `lock` takes a model's name and gives what is held while its aliases change; the default excludes the processes of one
    machine. `timeout`: s that MLflow may take to answer one request; `attempts`: how often an exchange is tried.
    """

    def __init__(self, url: str, *, lock: Lock | None = None, timeout: int = 15, attempts: int = 3) -> None:
        super().__init__(url, timeout=timeout, attempts=attempts)
        self._lock = lock or self._lock_of_this_machine
        self._held = threading.local()

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Hold the lock under which a model's aliases change; in one thread it may be held within itself."""
        held: set[str] = self._held.__dict__.setdefault("names", set())
        if name in held:
            yield
            return
        with outer_lock(name), self._lock(name):
            held.add(name)
            try:
                yield
            finally:
                held.discard(name)

    def record(self, candidate: Candidate) -> ModelRef:
        """Register a candidate, once per manifest. It becomes the challenger, unless the gate has spoken on it before."""
        files = artifacts.files(candidate)
        digest = sha256(files[artifacts.MANIFEST])
        with self.exclusive(candidate.name):
            entry = self._store.recorded(candidate.name, digest) or self._register(candidate, files, digest)
            if entry.tags.get(STATE) == CHALLENGER:
                self._store.set_alias(candidate.name, CHALLENGER, int(entry.version))
                fault_point("registry.after_alias")
        return self._ref(entry)

    def _register(self, candidate: Candidate, files: Mapping[str, bytes], digest: str) -> Any:
        from tasks.registry.mlflow.model_metadata import mlmodel

        run = self._store.run(candidate, digest)
        model = self._store.logged_model(run, digest)
        record = run.data.tags.get(RECORD) if run.info.status == "FINISHED" else None
        if record is None:
            files = {**files, artifacts.MLMODEL: mlmodel(candidate, files, run, model)}
            hashes = artifacts.record(files)
            record = sha256(hashes)
            self._store.write(model.artifact_location, {**files, artifacts.RECORD: hashes})
            self._store.finish(candidate, run, model, {**candidate.tags, RECORD: record})
        fault_point("registry.after_log")
        tags = {
            **candidate.tags,
            **{f"penstock.{key}": str(candidate.manifest[key]) for key in LINEAGE if candidate.manifest.get(key)},
            MANIFEST: digest,
            MODEL: sha256(candidate.model),
            RECORD: record,
            STATE: CHALLENGER,
        }
        entry = self._store.register(candidate, run, model, tags)
        fault_point("registry.after_register")
        return entry

    def begin_study(self, name: str, study: str, params: Mapping[str, Any]) -> tuple[str, Any]:
        """The id of the run that a search's trials lie under, one a study, and the result where it has ended before."""
        with self.exclusive(name):
            return self._store.study(name, study, params)

    def record_trial(
        self, parent: str, number: int, params: Mapping[str, Any], metrics: Mapping[str, float], *, pruned: bool
    ) -> str:
        """The id of a trial's run, a child of the study's; a trial is recorded once. Called from any thread."""
        return self._store.trial(parent, number, params, metrics, pruned=pruned)

    def end_study(self, parent: str, result: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Keep a search's result and metrics with its run, and finish it."""
        self._store.end_study(parent, result, metrics)

    def promote(
        self,
        ref: ModelRef,
        verdict: GateVerdict | None,
        *,
        expected: ModelRef | None,
        override: str | None = None,
        by: Actor = UNKNOWN,
    ) -> bool:
        """Make a version champion if the verdict says so and the champion still is `expected`; the protocol says more."""
        with self.exclusive(ref.name):
            champion = self.champion(ref.name)
            if _same(champion, ref):
                self.repair_aliases(ref.name)
                return False
            if not _same(champion, expected):
                raise StaleCheck(
                    f"cannot promote {shown(ref)}: the champion is {shown(champion)}, the gate saw {shown(expected)};"
                    " gate it again"
                )
            state, why = self._decision(ref, verdict, champion, override, by)
            evidence = self._keep(ref, verdict, {WHY: why, UNNOTIFIED: state} | ({OVERRIDE: override} if override else {}))
            if state != CHAMPION:
                self._store.tag(ref.name, ref.version, {STATE: state})
                self._drop_challenger(ref)
                return False
            self._announce(ref, ChampionState.of(champion) or by.before, _kind(override, by), by.who, why, evidence)
            self._store.set_alias(ref.name, CHAMPION, ref.version)
            fault_point("registry.after_promote")
            self.repair_aliases(ref.name)
            return True

    def _announce(
        self, ref: ModelRef, before: ChampionState | None, kind: MoveKind, who: str, why: str, evidence: str | None
    ) -> None:
        """Mark a version with the move that is about to be made: what a killed process leaves for the history."""
        now, after = datetime.now(UTC), ChampionState.of(ref)
        move = Move(kind=kind, when=now, who=who, why=why, before=before, after=after, evidence=evidence)
        self._store.tag(ref.name, ref.version, {MOVE: move.model_dump_json(by_alias=True)})
        fault_point("registry.before_promote")

    def unnotified(self, name: str) -> list[ModelRef]:
        """Versions that became champion, and still are, or were refused, and nobody was told of it."""
        entries = self._reads.search(name)
        return [
            self._ref(each) for each in entries if (state := each.tags.get(UNNOTIFIED)) and state == each.tags.get(STATE)
        ]

    def mark_notified(self, ref: ModelRef) -> None:
        """Note that people were told what became of a version."""
        self._store.tag(ref.name, ref.version, {UNNOTIFIED: ""})

    def supersede_with_refit(self, ref: ModelRef, verdict: GateVerdict, *, by: ModelRef) -> None:
        """Keep the verdict with a gated challenger whose refit ships in its place."""
        with self.exclusive(ref.name):
            self._keep(ref, verdict, {STATE: "refitted", WHY: f"{verdict.why}; ships refitted as v{by.version}"})
            self._drop_challenger(ref)

    def _decision(
        self, ref: ModelRef, verdict: GateVerdict | None, champion: ModelRef | None, override: str | None, by: Actor
    ) -> tuple[str, str]:
        self.model_bytes(ref)
        if override:
            return CHAMPION, override
        if verdict is None:
            raise UsageError(f"cannot promote {shown(ref)} without a verdict: give the reason for an override")
        if self.tags(ref).get(STATE) == ROLLED_BACK and not by.hand:
            return ROLLED_BACK, f"It was rolled back: penstock promote {ref.name} {ref.version} brings it back."
        if why := promotion_rules.objection(verdict, self.document(ref, "evaluation"), ref, against=champion):
            return "refused", why
        manifests = [self.document(each, "manifest") for each in (ref, champion) if each and not by.hand]
        if len(manifests) == 2 and (why := promotion_rules.too_old(*manifests)):
            return "superseded", why
        return CHAMPION, verdict.why

    def _keep(self, ref: ModelRef, verdict: GateVerdict | None, tags: Mapping[str, str]) -> str | None:
        """Store a verdict and tags with a version. Returns the hash of the verdict it has now."""
        entry = self._entry(ref)
        digest: str | None = entry.tags.get(VERDICT)
        if verdict is not None:
            data = artifacts.wrapped(verdict)
            digest = sha256(data)
            self._store.write(entry.source, {artifacts.verdict_path(digest): data})
        self._store.tag(ref.name, ref.version, {**({VERDICT: digest} if digest else {}), **tags})
        return digest

    def repair_aliases(self, name: str) -> ModelRef | None:
        """Do what follows a move of the alias, as often as it takes. Returns the champion."""
        with self.exclusive(name):
            champion = self.champion(name)
            if champion is None:
                return None
            states = {int(entry.version): entry.tags.get(STATE) for entry in self._reads.search(name)}
            if states.get(champion.version) != CHAMPION:
                self._store.tag(name, champion.version, {STATE: CHAMPION})
            move = self.intended(champion)
            replaced = move.before.version if move and move.before else None
            left = ROLLED_BACK if move and move.kind == "rollback" else ARCHIVED
            for version, state in states.items():
                if version == replaced and state not in (ARCHIVED, ROLLED_BACK):
                    self._store.tag(name, version, {STATE: left})
                elif state == CHAMPION and version != champion.version:
                    self._store.tag(name, version, {STATE: ARCHIVED})
            self._drop_challenger(champion)
            return champion

    def anchor(self, name: str, text: str | None = None) -> str:
        """What was kept of the history of a model, '' if nothing was; a text is kept first, where the model is there."""
        if text is not None:
            with suppress(NotFound):
                self._store.set_model_tag(name, ANCHOR, text)
        return self._reads.model_tag(name, ANCHOR)

    def attach_card(self, ref: ModelRef, pages: Mapping[str, bytes], text: str) -> None:
        """Keep a version's card, by suffix (md, html), and describe the version by `text` and a link to it."""
        digests = {suffix: sha256(page) for suffix, page in pages.items()}
        files = {artifacts.card_path(digests[suffix], suffix): page for suffix, page in pages.items()}
        self._store.write(self._entry(ref).source, files)
        link = self._store.page(ref.run_id, artifacts.card_path(digests["html"], "html"))
        self._store.describe(ref.name, ref.version, f"{text}\n\n[Model card]({link})")
        self._store.tag(ref.name, ref.version, {CARD + suffix: digest for suffix, digest in digests.items()})

    def _drop_challenger(self, ref: ModelRef) -> None:
        if self._reads.aliases(ref.name).get(CHALLENGER) == ref.version:
            self._store.drop_alias(ref.name, CHALLENGER)

    @contextmanager
    def _lock_of_this_machine(self, name: str) -> Iterator[None]:
        path = self._at.lock(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(path, timeout=PATIENCE)
            lock.acquire()
        except Timeout:
            raise ServiceUnavailable(
                f"{name} has been locked for {PATIENCE} s by another process ({path}): try later"
            ) from None
        except OSError as error:
            raise UsageError(f"cannot lock {name} ({error}): the folder {path.parent} must be writable") from error
        try:
            yield
        finally:
            lock.release()


def _same(one: ModelRef | None, other: ModelRef | None) -> bool:
    """Whether two references name one version, however each spells the registry's URL."""
    return _identity(one) == _identity(other)


def _identity(ref: ModelRef | None) -> tuple[str, int, str] | None:
    return None if ref is None else (ref.name, ref.version, ref.sha256)


def _kind(override: str | None, by: Actor) -> MoveKind:
    return "promoted" if not override else "rollback" if by.back else "override"
