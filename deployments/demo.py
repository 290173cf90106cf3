"""The demo: a year of flights lived through month by month, by the same flows that a deployment runs."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from schemas.errors import PenstockError, UsageError
from schemas.refs import ModelRef
from schemas.results import Delivery, Loop, Monitoring, Training
from schemas.settings import Settings
from schemas.usecase import UseCase, resolve
from tasks.orchestration import stop_server

FIRST, LAST, QUICK_LAST = 3, 12, 5
BAD_MONTH, BAD_ROWS = 4, 40
INPUTS = ("weather", "flights", "labels")


@dataclass(frozen=True, kw_only=True)
class Month:
    """One month of the loop beside the champion that was never retrained."""

    name: str
    accepted: int
    rejected: int
    monitored: Monitoring | None
    trained: Training | None
    loop: dict[str, float]
    never: dict[str, float]
    rows: int


def fresh_home(home: Path, command: str = "demo") -> Path:
    """An empty folder of the demo's (or replay's) own. Raises UsageError where the folder holds something else."""
    marker = f".penstock-{command}"
    if home.exists() and any(home.iterdir()):
        if not (home / marker).exists():
            raise UsageError(f"{home} is not a {command}'s folder and is not empty: choose another with --home")
        stop_server(home.resolve(), force=True)
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / marker).write_text(f"This folder belongs to `penstock {command}`, which makes it anew each time.\n")
    return home


def land(settings: Settings, last: int) -> dict[int, dict[str, Path]]:
    """Cut the year into one file a month and input; one month's flights get bad rows."""
    from tasks.replay import land_flights

    files = land_flights(settings.landing_dir, range(1, last + 1))
    files_by_month = {m: {i: _file(files, i, m) for i in INPUTS} for m in range(1, last + 1)}
    if BAD_MONTH in files_by_month:
        spoil(files_by_month[BAD_MONTH]["flights"])
    return files_by_month


def spoil(path: Path, rows: int = BAD_ROWS, seed: int = 4) -> None:
    """Break some rows of a CSV file, each in one of four ways."""
    head, *lines = path.read_text().splitlines()
    columns = head.split(",")
    for n, at in enumerate(random.Random(seed).sample(range(len(lines)), rows)):
        cells = lines[at].split(",")
        column, value = [("origin", "XXX"), ("distance", "-5"), ("minute", "soon"), ("carrier", "")][n % 4]
        cells[columns.index(column)] = value
        lines[at] = ",".join(cells)
    path.write_text("\n".join([head, *lines]) + "\n")


def live(settings: Settings, last: int) -> Iterator[str | Month | Training]:
    """Run the loop and tell what happens: a line before each step, a Training for the first champion, a Month for each."""
    from flows.ingest import ingest
    from flows.lifecycle import lifecycle
    from flows.train import train

    case = resolve("flights")
    yield "cutting the year into dated files"
    files = land(settings, last)
    for month in (1, 2):
        for name in INPUTS:
            yield f"ingesting {files[month][name].name}"
            _published(ingest("flights", str(files[month][name]), input=name).deliveries)
    yield "training the first champion on January and February"
    first = train("flights")
    yield first
    if first.status != "promoted" or first.model is None:
        raise PenstockError(f"the first model was not promoted: {first.why}")
    for month in range(FIRST, last + 1):
        loops = {}
        for name in INPUTS:
            yield f"2013-{month:02d}: {name} arrive"
            loops[name] = lifecycle("flights", str(files[month][name]), input=name)
            _published(loops[name].ingested.deliveries)
        yield f"2013-{month:02d}: looking back"
        yield _month(case, settings, f"2013-{month:02d}", loops, first.model)


def _month(case: UseCase, settings: Settings, name: str, loops: dict[str, Loop], first: ModelRef) -> Month:
    labelled = loops["labels"].monitored
    drifted = loops["flights"].monitored
    realized = labelled[-1].realized if labelled else None
    arrival = loops["flights"].ingested.deliveries[0].commit
    trained = [t for step in ("flights", "labels") for t in loops[step].trained]
    last = labelled[-1].model_copy(update={"drift": drifted[-1].drift}) if labelled and drifted else None
    return Month(
        name=name,
        accepted=sum(loop.ingested.accepted for loop in loops.values()),
        rejected=sum(loop.ingested.rejected for loop in loops.values()),
        monitored=last,
        trained=trained[-1] if trained else None,
        loop=dict(realized.metrics) if realized else {},
        never=never_retrained(case, settings, first, arrival),
        rows=realized.rows if realized else 0,
    )


def never_retrained(case: UseCase, settings: Settings, first: ModelRef, arrival: str | None) -> dict[str, float]:
    """Metrics of the first champion on the rows that an arrival brought, with the labels known by now."""
    from tasks import datasets, evaluation, features, models
    from tasks.registry import open_registry
    from tasks.versions import open_store

    if arrival is None:
        return {}
    data = datasets.data_at(settings.store_url(case.name), None)
    paths = datasets.paths_added_by(open_store(data.store), arrival, case.rows)
    labelled = features.with_labels(case, datasets.load_designed_rows(case, data, paths), datasets.load_labels(case, data))
    rows = labelled.filter(pl.col(features.TARGET).is_not_null()).collect()
    booster = models.load_booster(open_registry(first.registry).model_bytes(first))
    return dict(
        evaluation.evaluate(case, first.sha256, data.commit, rows, models.predict_scores(case, booster, rows)).metrics
    )


def _published(deliveries: tuple[Delivery, ...]) -> None:
    for delivery in deliveries:
        if delivery.status == "rejected":
            raise PenstockError(f"{delivery.source} was refused: {delivery.why}")


def _file(files: list[Path], input: str, month: int) -> Path:
    return next(f for f in files if f.name.startswith(f"{input}-2013-{month:02d}"))
