"""Follows the champion's and challenger's aliases and the lake, and swaps what answers in one step.

It runs in a thread of its own. Whatever it cannot reach, verify or load leaves the model that answers in its place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from deployments.serving.lookup_loader import Loader
from deployments.serving.model_cache import Cache
from deployments.serving.model_loader import Deployed, Package, Verifier, fetch, shown
from schemas.errors import PenstockError, ServiceUnavailable
from schemas.refs import CommitId, ModelRef
from schemas.usecase import UseCase
from tasks.fault_injection import fault_point
from tasks.inference.online import Prepared, Tables, table_schema
from tasks.registry import ModelRegistry

log = logging.getLogger("penstock.serving")
RETRY_ROUNDS = 30  # rounds after which a model that failed its smoke test is tried again


@dataclass
class Serving:
    """What answers now. Each attribute is replaced as a whole; a request reads `champion` once."""

    champion: Deployed | None = None
    challenger: Deployed | None = None
    refused: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    swaps: int = 0


class ModelReloader(threading.Thread):
    """One round every `seconds`, or at once when `wake` is set. `sample` holds some rows of the lake.

    `loaded` is called after the first round in which a model answers.
    """

    def __init__(
        self,
        prepared: Prepared,
        registry: Callable[[], ModelRegistry],
        loader: Callable[[], Loader],
        cache: Cache,
        *,
        contract_version: str,
        seconds: float = 2.0,
        with_challenger: bool = True,
    ) -> None:
        super().__init__(name="follower", daemon=True)
        self.serving = Serving()
        self.wake = threading.Event()
        self.loaded: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._prepared, self._registry, self._open_loader, self._cache = prepared, registry, loader, cache
        self._seconds, self._with_challenger = seconds, with_challenger
        self._verifier = Verifier(prepared, contract_version)
        self._loader: Loader | None = None
        self._followed: CommitId | None = None
        self._sampled = False
        self._kept: tuple[UseCase, Tables] | None = None
        self.sample = pl.DataFrame(schema=prepared.columns)
        self._waits: dict[str, int] = {}

    def run(self) -> None:
        """Serve what was kept, then follow until `stop`."""
        self._guarded("the kept model", self._from_cache)
        answers = False
        while not self._stopping.is_set():
            self.round()
            if not answers and self.serving.champion:
                answers = True
                self.loaded()
            self.wake.wait(self._seconds)
            self.wake.clear()

    def stop(self) -> None:
        """End the thread after the round at hand."""
        self._stopping.set()
        self.wake.set()

    def round(self) -> None:
        """Look once at the lake and at both aliases."""
        trouble = self._guarded("the lake", self._follow_lake)
        trouble = self._guarded("the registry", self._follow_registry) or trouble
        if trouble != self.serving.trouble:
            log.warning(trouble or "lake and registry answer again")
        self.serving.trouble = trouble

    def _guarded(self, what: str, action: Callable[[], None]) -> str:
        """Run one part; its failure is told and changes nothing that answers."""
        try:
            action()
        except Exception as error:
            return f"{what}: {' '.join(str(error).split()) or type(error).__name__}"
        return ""

    def _from_cache(self) -> None:
        try:
            kept = self._cache.load(self._verifier.case_of)
        except PenstockError as error:
            log.warning(str(error))
            return
        if kept is None:
            return
        package, tables, sample = kept
        if sample.schema == self.sample.schema:  # another server may have kept it, which took other columns
            self.sample = sample
        self._kept = self._verifier.case_of(package), tables
        self._install(package.ref, lambda: package, keep=False)

    def _follow_lake(self) -> None:
        if self._loader is None:
            self._loader = self._open_loader()
        head = self._loader.refresh()
        if head == self._followed:
            return
        self._kept = None
        loaded = {role: self._newer(role, self._loader) for role in ("champion", "challenger")}
        newer = {role: deployed for role, deployed in loaded.items() if isinstance(deployed, Deployed)}
        if newer or not self._sampled:
            self.sample, self._sampled = self._loader.sample(), True
        for role, deployed in newer.items():
            setattr(self.serving, role, deployed)
        if "champion" in newer:
            self._keep(newer["champion"].package, newer["champion"].tables)
        for problem in loaded.values():
            if isinstance(problem, Exception):
                raise problem
        self._followed = head

    def _newer(self, role: str, loader: Loader) -> Deployed | Exception | None:
        """What answers with newer tables, or why they cannot be had; None where its tables are the newest."""
        deployed: Deployed | None = getattr(self.serving, role)
        if deployed is None:
            return None
        try:
            tables = loader.tables(deployed.use_case, deployed.package.design)
        except Exception as error:
            return error
        same = all(table is deployed.tables.get(name) for name, table in tables.items())
        return None if same else self._verifier.renewed(deployed, tables)

    def _tables(self, case: UseCase, package: Package) -> Tables:
        """What a version looks up: from the lake, or what is kept where the lake has not answered yet."""
        if self._loader is not None and self._loader.head:
            return self._loader.tables(case, package.design)
        if self._kept and _schemas(case) == _schemas(self._kept[0]):
            return self._kept[1]
        raise ServiceUnavailable("no looked-up tables yet")

    def _follow_registry(self) -> None:
        registry = self._registry()
        name = self._prepared.use_case.name
        champion = registry.champion(name)
        if champion and self._wanted(champion, self.serving.champion):
            self._install(champion, lambda: fetch(registry, champion), keep=True)
        challenger = registry.challenger(name) if self._with_challenger else None
        if challenger is None or challenger == champion:
            self.serving.challenger = None
        elif self._wanted(challenger, self.serving.challenger):
            self.serving.challenger = None
            self._install(challenger, lambda: fetch(registry, challenger), keep=False, role="challenger")

    def _wanted(self, ref: ModelRef, deployed: Deployed | None) -> bool:
        """Whether a version is to be loaded: not the one that answers, and not refused a short while ago."""
        if deployed is not None and (deployed.ref.version, deployed.ref.sha256) == (ref.version, ref.sha256):
            return False
        wait = self._waits.get(shown(ref), 0)
        self._waits[shown(ref)] = wait - 1
        return wait <= 0

    def _install(self, ref: ModelRef, get: Callable[[], Package], *, keep: bool, role: str = "champion") -> None:
        """Verify a version and let it answer; one that does not pass is told of and tried again later."""
        try:
            package = get()
            case = self._verifier.case_of(package)
            deployed = self._verifier.deploy(package, case, self._tables(case, package), self.sample)
        except Exception as error:
            if isinstance(error, PenstockError) and error.transient:
                raise
            self._waits[shown(ref)] = RETRY_ROUNDS
            self.serving.refused = {**self.serving.refused, shown(ref): " ".join(str(error).split())}
            log.error("%s does not answer: %s", shown(ref), error)
            return
        if keep:
            self._keep(package, deployed.tables)
            fault_point("serving.before_swap")
        setattr(self.serving, role, deployed)
        self.serving.refused = {name: why for name, why in self.serving.refused.items() if name != shown(ref)}
        self.serving.swaps += role == "champion"
        why = deployed.scorer.why
        log.info("%s %s answers%s", role, shown(ref), f" by the frame path ({why})" if why else "")

    def _keep(self, package: Package, tables: Tables) -> None:
        """Keep what answers for a restart without registry or lake; a disk that is full is no reason not to answer."""
        try:
            self._cache.keep(package, tables, self.sample)
        except OSError as error:
            log.warning("cannot keep %s for a restart: %s", shown(package.ref), error)


def _schemas(case: UseCase) -> dict[str, dict[str, pl.DataType]]:
    return {lookup.input: table_schema(case, lookup.input) for lookup in case.lookups}
