"""A home with published flights and recorded models, and a real server process on a port of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import httpx
import polars as pl
import pytest
from filelock import FileLock

from schemas.digests import sha256
from schemas.refs import DataRef, ModelRef
from schemas.settings import Settings
from schemas.usecase import UseCase, resolve
from schemas.verdicts import Evaluation, GateVerdict
from tasks import flow_tasks
from tasks.datasets import loading
from tasks.evaluation import metrics
from tasks.ingestion import files
from tasks.models import booster
from tasks.parsing import parse
from tasks.registry.factory import open_registry
from tasks.registry.protocol import Candidate
from tasks.replay import nycflights13
from tasks.training import engines, fit, manifest, packaging
from tasks.versions.factory import open_store

ROOT = Path(__file__).parents[1]
TOKEN = "a-token-for-the-tests-0123456789"
LIMITS = parse.Limits()
DAYS = 8


def flights_of_january(days: int = DAYS) -> dict[str, pl.DataFrame]:
    """The first days of 2013 by input."""
    until = datetime(2013, 1, 1 + days, 5, tzinfo=UTC)
    return {name: rows.filter(pl.col("time_hour") < until) for name, rows in nycflights13.flights_of_the_year().items()}


def publish(settings: Settings, name: str, input: str, rows: pl.DataFrame, folder: Path) -> None:
    """Ingest rows the way a delivered file goes."""
    source = parse.fingerprint(files.frame_source(rows, folder, f"{input}-{len(list(folder.glob('*')))}"))
    url = settings.store_url(resolve(name).name)
    flow_tasks.already_published.fn(url, input, source.sha256)
    staged = flow_tasks.audit_on_branch.fn(name, input, source, url, "", LIMITS)
    assert staged.verdict.publishable, staged.verdict
    flow_tasks.publish.fn(name, input, source, staged, url)


def whole_candidate(
    case: UseCase, data: DataRef, fitted: fit.Fitted, rows: pl.DataFrame, evaluated: Evaluation
) -> Candidate:
    """A model fitted on all of `rows` with its manifest, golden rows, reference and tags, ready to be recorded."""
    made_from = manifest.build_manifest(
        case,
        data,
        fitted,
        row_digest=engines.digest_rows(rows),
        rows=rows.height,
        fitted_until=manifest.newest_event(case, rows),
    )
    return packaging.build_candidate(case, made_from, fitted, rows, evaluated)


def record(settings: Settings, name: str, rounds: int) -> ModelRef:
    """Fit all labelled rows for some rounds and record the model; it becomes the challenger."""
    case = resolve(name)
    url = settings.store_url(case.name)
    data = DataRef(store=url, commit=open_store(url).head())
    rows = loading.load_training_rows(case, data)
    fitted = fit.refit_booster(case, rows, rounds, threads=1)
    scores = booster.predict_scores(case, booster.load_booster(fitted.model), rows)
    evaluated = metrics.evaluate(case, sha256(fitted.model), data.commit, rows, scores)
    return open_registry(settings.registry_url).record(whole_candidate(case, data, fitted, rows, evaluated))


def promote(settings: Settings, ref: ModelRef) -> None:
    """Make a version champion, whatever a gate would say."""
    registry = open_registry(settings.registry_url)
    verdict = GateVerdict(promoted=True, why="promoted by a test", metric="log_loss")
    registry.promote(ref, verdict, expected=registry.champion(ref.name), override="a test wants it")


@dataclass(frozen=True)
class Home:
    """A home, and the models recorded in it."""

    settings: Settings
    models: tuple[ModelRef, ...]

    def copy(self, folder: Path) -> Home:
        """The same lake and registry in another folder; the models' files stay where they are and are only read."""
        shutil.copytree(self.settings.root, folder)
        settings = Settings(home=folder, api_token=TOKEN)
        models = tuple(ref.model_copy(update={"registry": settings.registry_url}) for ref in self.models)
        return Home(settings, models)


def flights_home(folder: Path) -> Home:
    """Eight days of flights, weather and labels, and three models, the first of them champion, the last challenger."""
    settings = Settings(home=folder / "home", api_token=TOKEN)
    for name, rows in flights_of_january().items():
        publish(settings, "flights", name, rows, folder / "sources")
    models = tuple(record(settings, "flights", rounds) for rounds in (10, 20, 30))
    promote(settings, models[0])
    return Home(settings, models)


def shared_home(factory: pytest.TempPathFactory) -> Home:
    """One home for all test processes of a run: made by the first that asks."""
    own = factory.getbasetemp()  # of a worker, it lies in the run's
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "serving-home"
    told = folder.with_suffix(".json")
    with FileLock(folder.with_suffix(".lock")):
        if not told.exists():
            made = flights_home(folder)
            told.write_text(json.dumps([ref.model_dump() for ref in made.models]))
    models = tuple(ModelRef(**ref) for ref in json.loads(told.read_text()))
    return Home(Settings(home=folder / "home", api_token=TOKEN), models)


class Running:
    """A server process and a client with its token."""

    def __init__(self, process: subprocess.Popen[str], url: str, settings: Settings, errors: IO[str]) -> None:
        self.process, self.url, self.settings, self._errors = process, url, settings, errors
        self.client = httpx.Client(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=30)

    def predict(self, content: Any, **options: Any) -> httpx.Response:
        """POST /predict."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"content-type": "application/json", **options.pop("headers", {})}
        return self.client.post("/predict", content=body, headers=headers, **options)

    def version(self) -> int | None:
        """The version that answers, or None."""
        answer = self.client.get("/model")
        return answer.json()["version"] if answer.status_code == 200 else None

    def until(self, condition: Callable[[], object], seconds: float = 150) -> None:
        """Wait for a condition."""
        wait_for(condition, seconds, lambda: self.process.poll() is None)

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End the process by a signal and return what it wrote to standard error."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=120)
        return written(self._errors)


def written(errors: IO[str]) -> str:
    """What lies in a file."""
    errors.seek(0)
    return errors.read()


def wait_for(condition: Callable[[], object], seconds: float = 150, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until a condition holds; fails after `seconds` or when what is waited for is gone."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert alive(), "the server has ended"
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


@contextmanager
def serving(
    settings: Settings,
    use_case: str = "flights",
    *,
    ready: bool = True,
    environment: Mapping[str, str] | None = None,
    publish_seconds: float = 1,
) -> Iterator[Running]:
    """A running server; ends with the block."""
    variables = {"PENSTOCK_HOME": str(settings.root), "PENSTOCK_API_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
    arguments = ["serve", use_case, "--port", "0", "--poll", "0.2", "--publish", f"{publish_seconds:g}", "--json"]
    with tempfile.TemporaryFile("w+") as errors:  # a pipe that nobody reads would hold up a server that says much
        process = subprocess.Popen(
            [sys.executable, "-c", "from deployments.cli import main; main()", *arguments],
            cwd=ROOT,
            env={**os.environ, **variables, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout
        running = None
        try:
            line = process.stdout.readline()
            assert line, written(errors)
            running = Running(process, json.loads(line)["url"].rstrip("/"), settings, errors)
            running.until(lambda: _answers(running, "/readyz" if ready else "/healthz"))
            yield running
        finally:
            if running is not None:
                running.client.close()
            if process.poll() is None:
                process.kill()
            process.communicate()


def _answers(running: Running, path: str) -> bool:
    try:
        return running.client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def example(settings: Settings, at: int = 0) -> dict[str, Any]:
    """A published flight as a caller sends it."""
    case = resolve("flights")
    store = open_store(settings.store_url("flights"))
    paths = [stored.path for stored in store.objects("main", "data/flights/")]
    return as_json(case, store.scan("main", paths, case.input("flights").contract.dtypes()).slice(at, 1).collect())[0]


def as_json(case: UseCase, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as a caller sends them."""
    found = rows.select(*case.input(case.rows).contract.known("at_prediction")).to_dicts()
    return [{k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in row.items()} for row in found]
