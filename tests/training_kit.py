"""A lake and a registry for the orders, and trainings on them without an orchestrator."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl

from schemas.fitting import Plan
from schemas.refs import DataRef, ModelRef
from schemas.results import Challenge
from schemas.settings import Settings
from schemas.usecase import resolve
from tasks import flow_tasks
from tasks.ingestion import files
from tasks.parsing import parse
from tasks.registry.factory import open_registry
from tasks.versions.factory import open_store
from tests.modelling_kit import START, case, shuffled, tables

NAME = "tests.training_kit:ORDERS"
LIMITS = parse.Limits()
SPANS = {"early": (0, 30), "late": (30, 40)}

_PLAIN = case(max_calibration_error=1.0, slice_margin=1.0)
# One feature is a float aggregate over other rows: it must not depend on their order either.
ORDERS = replace(_PLAIN, features={**_PLAIN.features, "usual_size": pl.col("size").mean().over("shop").cast(pl.Float32)})
PLAIN = replace(_PLAIN, name="orders-plain")
CHANGING = replace(case("binary", rule="non_inferiority", margin=0.2, max_calibration_error=1.0), name="orders-changing")
CALIBRATED = replace(PLAIN, name="orders-calibrated", training=replace(PLAIN.training, calibration="sigmoid"))
KINDS = {kind: replace(case(kind), name=f"orders-{kind}") for kind in ("binary", "multiclass", "regression")}
MULTICLASS, REGRESSION = KINDS["multiclass"], KINDS["regression"]


def publish(settings: Settings, span: str, folder: Path, name: str = NAME, order: int | None = None) -> DataRef:
    """Publish the rows of some days, each input as two files; with `order`, files and rows come in another order."""
    use_case = resolve(name)
    url = settings.store_url(use_case.name)
    inputs = zip(use_case.inputs, tables(), strict=True)
    deliveries = [(i.name, part) for i, table in inputs for part in _files(table, span)]
    for name_of_input, rows in deliveries if order is None else reversed(deliveries):
        if rows.is_empty():
            continue
        frame = rows if order is None else shuffled(rows, order)
        publish_rows(settings, name, name_of_input, frame, folder)
    return DataRef(store=url, commit=open_store(url).head())


def publish_rows(settings: Settings, name: str, name_of_input: str, frame: pl.DataFrame, folder: Path) -> DataRef:
    """Publish rows of one input as one file."""
    url = settings.store_url(resolve(name).name)
    source = parse.fingerprint(files.frame_source(frame, folder, f"{name_of_input}-{len(list(folder.glob('*')))}"))
    flow_tasks.already_published.fn(url, name_of_input, source.sha256)
    staged = flow_tasks.audit_on_branch.fn(name, name_of_input, source, url, "", LIMITS)
    assert staged.verdict.publishable, staged.verdict
    published = flow_tasks.publish.fn(name, name_of_input, source, staged, url)
    return DataRef(store=url, commit=published.id)


def _files(table: pl.DataFrame, span: str) -> list[pl.DataFrame]:
    first, last = (START + timedelta(days=day) for day in SPANS[span])
    time = pl.col("at" if "at" in table.columns else "day")
    bounds = [first, first + (last - first) / 2, last]
    bounds = bounds if "at" in table.columns else [moment.date() for moment in bounds]  # type: ignore[misc]
    return [table.filter((time >= low) & (time < high)) for low, high in pairwise(bounds)]


def train(settings: Settings, data: DataRef, name: str = NAME, **plan: object) -> tuple[Challenge, ModelRef]:
    """A training as the flow does it: what was gated, and what ships."""
    registry = settings.registry_url
    told = Plan(**plan)  # type: ignore[arg-type]
    challenged = flow_tasks.train_challenger.fn(name, data, registry, told)
    shipped = challenged.model
    if challenged.verdict.promoted:
        shipped = flow_tasks.refit_challenger.fn(name, challenged, registry, told.device)
        flow_tasks.smoke_test.fn(name, shipped, registry)
    log = settings.store_url(f"{shipped.name}-log")
    flow_tasks.promote_challenger.fn(name, shipped, challenged, registry, log, "a test")
    return challenged, shipped


def manifest(settings: Settings, model: ModelRef) -> dict[str, object]:
    """What a version says that it was made from."""
    told: dict[str, object] = open_registry(settings.registry_url).document(model, "manifest")
    return told
