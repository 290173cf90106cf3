"""A use case's life: its files through the loop one by one, as they should come, late, or with every fault around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl
from prefect.settings import PREFECT_API_URL

from flows.lifecycle import lifecycle
from schemas.refs import DataRef, ModelRef
from schemas.results import Loop
from schemas.settings import Settings
from schemas.usecase import UseCase, resolve
from tasks.datasets import published as datasets
from tasks.inference import prediction_store
from tasks.registry.factory import open_registry
from tasks.replay import retraining_schedules
from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN
from tests.faults.children import killed, run

SCRIPT = """
import sys
from deployments.prefect_server.in_process import silence_third_parties, in_process
silence_third_parties()
from flows.ingest import ingest
from flows.lifecycle import lifecycle
with in_process():
    {flow}(*sys.argv[1:3], input=sys.argv[3])
"""
Part = Mapping[str, Path]  # what arrives in one period, by input
Delivery = tuple[int, str, Path]  # of which part, input, file


def dies(flow: str, point: str, settings: Settings, path: Path, input: str, use_case: str) -> None:
    """A flow in a child that is killed at a point."""
    told = {"PENSTOCK_HOME": str(settings.root)}
    if server := PREFECT_API_URL.value():
        told["PREFECT_API_URL"] = server
    done = run(SCRIPT.format(flow=flow), use_case, str(path), input, kill_point=point, environment=told)
    assert killed(done), f"{point} was not reached: {done.stdout[-500:]} {done.stderr[-2000:]}"


def in_order(parts: Sequence[Part]) -> list[Delivery]:
    """Every file when it is due."""
    return [(at, name, path) for at, part in enumerate(parts) for name, path in part.items()]


def late(deliveries: Sequence[Delivery], at: int, input: str, after: int) -> list[Delivery]:
    """One file after everything of a later part."""
    [mine] = [each for each in deliveries if each[:2] == (at, input)]
    rest = [each for each in deliveries if each != mine]
    place = max(number for number, each in enumerate(rest) if each[0] == after) + 1
    return [*rest[:place], mine, *rest[place:]]


@dataclass
class Life:
    """One life in a home of its own. `seen` are champion and watermark after each delivery."""

    use_case: str
    settings: Settings
    seen: list[tuple[int, datetime | None]] = field(default_factory=list)
    trained: list[Delivery] = field(default_factory=list)

    @property
    def case(self) -> UseCase:
        """What lives."""
        return resolve(self.use_case)

    def loop(self, path: Path, input: str) -> Loop:
        """One arrival and what follows."""
        with self.settings.active():
            return lifecycle(self.use_case, str(path), input=input)

    def live(self, deliveries: Sequence[Delivery], faults: Faults | None = None) -> None:
        """All deliveries, with what goes wrong before and after each."""
        for each in deliveries:
            at, name, path = each
            if faults:
                faults.before(self, at, name, path)
            if any(training.made_a_model for training in self.loop(path, name).trained):
                self.trained.append(each)
            if faults:
                faults.after(self, at, name, path)
            champion = self.champion()
            self.seen.append((champion.version if champion else 0, self._watermark()))

    def never_went_back(self) -> bool:
        """Whether champion and watermark only ever moved on."""
        versions, marks = [v for v, _ in self.seen], [mark for _, mark in self.seen if mark]
        return versions == sorted(versions) and marks == sorted(marks)

    def champion(self) -> ModelRef | None:
        """Who answers."""
        return open_registry(self.settings.registry_url).champion(self.case.name)

    def _watermark(self) -> datetime | None:
        return datasets.watermark(open_store(self.url()), self.case.input(self.case.rows))

    def published(self) -> dict[str, pl.DataFrame]:
        """The rows on main, by input, in one order."""
        store = open_store(self.url())
        rows = datasets.inputs_at(store, store.head(), self.case)
        return {name: found.sort(found.columns) for name, frame in rows.items() for found in [frame.collect()]}

    def predicted(self) -> pl.DataFrame:
        """All predictions: what was predicted and by which model's bytes."""
        log = open_store(self.url("-log"))
        told = [c for c in log.log(MAIN, first_parent=True) if c.metadata.get("kind") == "score"]
        made = pl.concat(prediction_store.published_predictions(log, commit).collect() for commit in told)
        key = list(self.case.key)
        return made.select(*key, "probability", "category", "model_sha256").sort(*key, "model_sha256")

    def url(self, suffix: str = "") -> str:
        """Its store of data, or with a suffix another."""
        return self.settings.store_url(f"{self.case.name}{suffix}")


@dataclass
class Faults:
    """Two corrupt files and one of another schema, each before the good one; a file twice; the same rows exported again;
    labels doubled and shuffled; and three kills. By parts: the first has no champion yet.
    """

    folder: Path
    rename: str  # a column of the rows that a changed schema calls otherwise
    parts: tuple[int, int, int]
    seen: list[str] = field(default_factory=list)

    def before(self, life: Life, at: int, input: str, path: Path) -> None:
        """What happens before a file gets through."""
        first, second, third = self.parts
        rows, labels = life.case.rows, life.case.label_input.name
        kills = {
            (0, labels): "lifecycle.first_champion",
            (first, rows): "publishing.after_publish",
            (second, labels): "store.before_merge",
        }
        if point := kills.get((at, input)):
            dies("lifecycle", point, life.settings, path, input, life.use_case)
            self.seen.append("killed")
        if (at, input) == (first, rows):
            self._refused(life, input, path.read_bytes()[:900])
        if (at, input) == (second, labels):
            self._refused(life, input, b"PAR1 this is no Parquet")
        if (at, input) == (third, rows):
            self._deliver(life, input, pl.read_parquet(path).rename({self.rename: "renamed"}), "rejected")

    def after(self, life: Life, at: int, input: str, path: Path) -> None:
        """What comes once a file got through."""
        first, _, third = self.parts
        rows, labels = life.case.rows, life.case.label_input.name
        if (at, input) == (first, rows):
            self.seen.append(life.loop(path, input).ingested.deliveries[0].status)
        if (at, input) == (third, rows):
            self._deliver(life, input, pl.read_parquet(path).reverse())
        if (at, input) == (third, labels):
            told = pl.read_parquet(path)
            self._deliver(life, input, pl.concat([told, told]).sample(fraction=1, shuffle=True, seed=3))

    def _refused(self, life: Life, input: str, content: bytes) -> None:
        path = self._path(input)
        path.write_bytes(content)
        self._loop(life, path, input, "rejected")

    def _deliver(self, life: Life, input: str, rows: pl.DataFrame, status: str = "") -> None:
        path = self._path(input)
        rows.write_parquet(path)
        self._loop(life, path, input, status)

    def _loop(self, life: Life, path: Path, input: str, status: str) -> None:
        found = life.loop(path, input).ingested.deliveries[0].status
        assert not status or found == status, found
        self.seen.append(found)

    def _path(self, input: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{input}-{len(self.seen)}.parquet"


def differences(one: Life, other: Life, parts: Callable[[Life], Mapping[str, object]]) -> Iterator[str]:
    """What two lives end with that is not the same."""
    mine, theirs = parts(one), parts(other)
    for name in sorted({*mine, *theirs}):
        left, right = mine.get(name), theirs.get(name)
        same = left.equals(right) if isinstance(left, pl.DataFrame) and isinstance(right, pl.DataFrame) else left == right
        if not same:
            yield name


def everything(life: Life) -> dict[str, object]:
    """Published rows by input, the champion's bytes, and predictions."""
    champion = life.champion()
    return {**life.published(), "champion": champion and champion.sha256, "predictions": life.predicted()}


def realized(life: Life, span: tuple[datetime, datetime]) -> dict[str, object]:
    """The metrics of the first prediction of each row in a span, by month and in all, and of how many rows."""
    data = DataRef(store=life.url(), commit=open_store(life.url()).head())
    course = retraining_schedules.backtest_loop(life.use_case, data, life.url("-log"), span, span[0])
    return {"metrics": course.total, "months": course.months, "rows": course.rows}
