"""The registry's rules over MLflow: one version a manifest, bytes checked before use, a champion that only `promote` moves.

MLflow's aliases know no compare-and-swap, so whoever records or promotes holds a lock for the model. Every step looks up
what is there already: after a kill or a lost reply the same call again ends where an undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from filelock import FileLock, Timeout

from schemas.errors import IntegrityError, NotFound, ServiceUnavailable, StaleCheck, UsageError
from schemas.refs import ModelRef
from schemas.verdicts import GateVerdict
from tasks.killpoints import reach
from tasks.registry import contents, promotion
from tasks.registry.location import locate
from tasks.registry.mlflow_store import MANIFEST, MlflowStore, mlmodel
from tasks.registry.predictor import MODEL as MODEL_FILE
from tasks.registry.protocol import CHALLENGER, CHAMPION, Candidate

Lock = Callable[[str], AbstractContextManager[Any]]

MODEL = "penstock.model_sha256"
RECORD = "penstock.hashes_sha256"
VERDICT = "penstock.verdict_sha256"
STATE = "penstock.state"
WHY = "penstock.why"
OVERRIDE = "penstock.override"
LINEAGE = ("use_case", "use_case_version", "data_store", "data_commit", "fitted_until", "code_version", "recipe_of")
PATIENCE = 120


class MlflowRegistry:
    """A ModelRegistry.

    `lock` takes a model's name and gives what is held while its aliases change; the default excludes the processes of one
    machine. `timeout`: s that MLflow may take to answer one request; `attempts`: how often an exchange is tried.
    """

    def __init__(self, url: str, *, lock: Lock | None = None, timeout: int = 15, attempts: int = 3) -> None:
        self._at = locate(url)
        self._store = MlflowStore(self._at, timeout=timeout, attempts=attempts)
        self._lock = lock or self._lock_of_this_machine

    @property
    def url(self) -> str:
        """The registry's URL; a local one's with its absolute path."""
        return self._at.url

    # Reading

    def champion(self, name: str) -> ModelRef | None:
        """The champion, or None."""
        return self._named(name, CHAMPION)

    def challenger(self, name: str) -> ModelRef | None:
        """The challenger, or None."""
        return self._named(name, CHALLENGER)

    def version(self, name: str, version: int) -> ModelRef:
        """One version. Raises NotFound."""
        return self._ref(self._store.entry(name, version))

    def versions(self, name: str) -> list[ModelRef]:
        """All versions that Penstock recorded, oldest first."""
        return [self._ref(entry) for entry in self._store.search(name) if MODEL in entry.tags]

    def tags(self, ref: ModelRef) -> dict[str, str]:
        """Tags of a version: lineage and state."""
        return dict(self._entry(ref).tags)

    def model_bytes(self, ref: ModelRef) -> bytes:
        """The model, checked together with all that MLflow would import beside it; nothing is imported here."""
        entry = self._entry(ref)
        hashes = self._hashes(entry)
        if hashes.get(MODEL_FILE) != ref.sha256:
            raise IntegrityError(f"{_shown(ref)} is not the model with SHA-256 {ref.sha256[:12]} any more: look it up again")
        for path in hashes:
            if path == contents.MLMODEL or path.startswith(f"{contents.CODE}/"):
                self._checked(entry, hashes, path)
        return self._checked(entry, hashes, MODEL_FILE)

    def document(self, ref: ModelRef, name: str) -> Any:
        """A JSON document stored with a version; `verdict` is what the gate said last. Raises NotFound, IntegrityError."""
        entry = self._entry(ref)
        if name == "verdict" and (digest := entry.tags.get(VERDICT)):
            path = contents.verdict_path(digest)
            return contents.unwrapped(self._checked(entry, {path: digest}, path))
        return contents.unwrapped(self._checked(entry, self._hashes(entry), contents.document_path(name)))

    def golden(self, ref: ModelRef) -> bytes:
        """Golden rows with their expected scores, as Parquet, hash-checked."""
        entry = self._entry(ref)
        return self._checked(entry, self._hashes(entry), contents.GOLDEN)

    # Writing

    def record(self, candidate: Candidate) -> ModelRef:
        """Register a candidate, once per manifest. It becomes the challenger, unless the gate has spoken on it before."""
        files = contents.files(candidate)
        digest = contents.sha256(files[contents.MANIFEST])
        with self._lock(candidate.name):
            entry = self._store.recorded(candidate.name, digest) or self._register(candidate, files, digest)
            if entry.tags.get(STATE) == CHALLENGER:
                self._store.set_alias(candidate.name, CHALLENGER, int(entry.version))
                reach("registry.after_alias")
        return self._ref(entry)

    def _register(self, candidate: Candidate, files: Mapping[str, bytes], digest: str) -> Any:
        run = self._store.run(candidate, digest)
        model = self._store.logged_model(run, digest)
        record = run.data.tags.get(RECORD) if run.info.status == "FINISHED" else None
        if record is None:
            files = {**files, contents.MLMODEL: mlmodel(candidate, files, run, model)}
            hashes = contents.record(files)
            record = contents.sha256(hashes)
            self._store.write(model.artifact_location, {**files, contents.RECORD: hashes})
            self._store.finish(candidate, run, model, {**candidate.tags, RECORD: record})
        reach("registry.after_log")
        tags = {
            **candidate.tags,
            **{f"penstock.{key}": str(candidate.manifest[key]) for key in LINEAGE if candidate.manifest.get(key)},
            MANIFEST: digest,
            MODEL: contents.sha256(candidate.model),
            RECORD: record,
            STATE: CHALLENGER,
        }
        entry = self._store.register(candidate, run, model, tags)
        reach("registry.after_register")
        return entry

    def begin_study(self, name: str, study: str, params: Mapping[str, Any]) -> tuple[str, Any]:
        """The id of the run that a search's trials lie under, one a study, and the result where it has ended before."""
        with self._lock(name):
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
        self, ref: ModelRef, verdict: GateVerdict, *, expected: ModelRef | None, override: str | None = None
    ) -> bool:
        """Make a version champion if the verdict says so and the champion still is `expected`; the protocol says more."""
        with self._lock(ref.name):
            champion = self.champion(ref.name)
            if _same(champion, ref):
                self._settle(ref, expected)
                return False
            if not _same(champion, expected):
                raise StaleCheck(
                    f"cannot promote {_shown(ref)}: the champion is {_shown(champion)}, the gate saw {_shown(expected)};"
                    " gate it again"
                )
            state, why = self._decision(ref, verdict, champion, override)
            self._keep(ref, verdict, {WHY: why} | ({OVERRIDE: override} if override else {}))
            if state != CHAMPION:
                self._store.tag(ref.name, ref.version, {STATE: state})
                self._drop_challenger(ref)
                return False
            self._store.set_alias(ref.name, CHAMPION, ref.version)
            reach("registry.after_promote")
            self._settle(ref, champion)
            return True

    def stand_in(self, ref: ModelRef, verdict: GateVerdict, *, by: ModelRef) -> None:
        """Keep the verdict with a gated challenger whose refit ships in its place."""
        with self._lock(ref.name):
            self._keep(ref, verdict, {STATE: "refitted", WHY: f"{verdict.why}; ships refitted as v{by.version}"})
            self._drop_challenger(ref)

    def _decision(
        self, ref: ModelRef, verdict: GateVerdict, champion: ModelRef | None, override: str | None
    ) -> tuple[str, str]:
        self.model_bytes(ref)
        if override:
            return CHAMPION, override
        if why := promotion.objection(verdict, self.document(ref, "evaluation"), ref, against=champion):
            return "refused", why
        if champion and (why := promotion.too_old(self.document(ref, "manifest"), self.document(champion, "manifest"))):
            return "superseded", why
        return CHAMPION, verdict.why

    def _keep(self, ref: ModelRef, verdict: GateVerdict, tags: Mapping[str, str]) -> None:
        data = contents.wrapped(verdict)
        digest = contents.sha256(data)
        self._store.write(self._entry(ref).source, {contents.verdict_path(digest): data})
        self._store.tag(ref.name, ref.version, {VERDICT: digest, **tags})

    def _settle(self, ref: ModelRef, replaced: ModelRef | None) -> None:
        """What follows the alias, done again where a kill came between: the rerun may not know whom it replaced."""
        self._store.tag(ref.name, ref.version, {STATE: CHAMPION})
        former = {int(entry.version) for entry in self._store.search(ref.name, f" and tags.`{STATE}` = '{CHAMPION}'")}
        for version in sorted((former | {replaced.version} if replaced else former) - {ref.version}):
            self._store.tag(ref.name, version, {STATE: "archived"})
        self._drop_challenger(ref)

    def _drop_challenger(self, ref: ModelRef) -> None:
        if self._store.aliases(ref.name).get(CHALLENGER) == ref.version:
            self._store.drop_alias(ref.name, CHALLENGER)

    # Below

    def _named(self, name: str, alias: str) -> ModelRef | None:
        version = self._store.aliases(name).get(alias)
        return None if version is None else self.version(name, version)

    def _entry(self, ref: ModelRef) -> Any:
        return self._store.entry(ref.name, ref.version)

    def _ref(self, entry: Any) -> ModelRef:
        if MODEL not in entry.tags:
            raise IntegrityError(f"{entry.name} {entry.version} was not recorded by Penstock: it has no tag {MODEL}")
        return ModelRef(
            registry=self.url,
            name=entry.name,
            version=int(entry.version),
            sha256=entry.tags[MODEL],
            run_id=entry.run_id,
        )

    def _hashes(self, entry: Any) -> dict[str, str]:
        expected = entry.tags.get(RECORD, "")
        data = self._checked(entry, {contents.RECORD: expected}, contents.RECORD)
        return contents.recorded(data)

    def _checked(self, entry: Any, hashes: Mapping[str, str], path: str) -> bytes:
        what = f"{path} of {entry.name} {entry.version}"
        if path not in hashes:
            raise NotFound(f"there is no {what}; stored are {', '.join(sorted(hashes))}")
        try:
            data = self._store.read(entry.source, path)
        except NotFound:
            raise IntegrityError(f"{what} is gone from {entry.source}: restore it from a backup") from None
        return contents.checked(data, hashes[path], what)

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


def _shown(ref: ModelRef | None) -> str:
    return "none" if ref is None else f"{ref.name} {ref.version}"
