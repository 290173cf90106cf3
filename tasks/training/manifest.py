"""A model's manifest: what it was made from, complete enough to make it again, and nothing that a rerun would change."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import Any

import polars as pl

from schemas.digests import sha256
from schemas.distribution import own_version
from schemas.fitting import Device, Engine
from schemas.model_design import describe_design, design_digest
from schemas.refs import DataRef, ModelRef
from schemas.usecase import Training, UseCase
from tasks import evaluation
from tasks.timestamps import moment
from tasks.training import fit

FORMAT = 2
LIBRARIES = ("xgboost", "xgboost-cpu", "polars", "numpy", "pyarrow")
# The sources that turn rows into bytes, under names that stay when a module moves.
CODE = {
    "calibration": "tasks.models.calibration",
    "distributed": "tasks.training.dask_engine",
    "engines": "tasks.training.engines",
    "features": "tasks.features.engineering",
    "frames": "tasks.datasets.loading",
    "holdout": "tasks.training.holdout",
    "matrices": "tasks.training.dmatrix",
    "moments": "tasks.timestamps",
    "spilling": "tasks.datasets.out_of_core",
    "splitting": "tasks.features.splitting",
    "training": "tasks.training.fit",
}

STATED = {
    "use_case_version": "use-case version",
    "contract_versions": "contract",
    "params": "parameter",
    "seed": "seed",
    "most_rounds": "most rounds",
    "stopping_rounds": "stopping rounds",
    "calibration": "calibration",
    "code_version": "Penstock",
    "code_sha256": "training code",
    "libraries": "library",
}


def build_manifest(
    case: UseCase,
    data: DataRef,
    fitted: fit.Fitted,
    *,
    row_digest: str,
    rows: int,
    fitted_until: datetime | None,
    recipe_of: ModelRef | None = None,
    declared: UseCase | None = None,
    split: Mapping[str, Any] | None = None,
    engine: Engine = "memory",
    device: Device = "cpu",
    search: Mapping[str, Any] | None = None,
    held_out: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of a fitted model: what it was made from, complete enough to make it again.

    Args:
        case: The use case.
        data: Commit of the data, and the repository that it lies in.
        fitted: The fitted model.
        row_digest: What `digest_rows` gave.
        rows: How many rows it was fitted on.
        fitted_until: Event time of the newest of them; None without event times.
        recipe_of: The gated version, where this is its refit.
        declared: The use case as its team wrote it, where a search has changed `case`'s parameters.
        split: What `row_filter` says of a challenger; a model of all rows has none.
        engine: Where the rows lay: `memory`, `external` or `dask`.
        device: Where XGBoost computes, `cpu` or `cuda`.
        search: What the search for parameters came to.
        held_out: What `describe_held_out` says; None, and not written, where rows have event times.

    Returns:
        A document that JSON can hold.
    """
    return {
        "format_version": FORMAT,
        "use_case": case.name,
        **stated(case),
        "use_case_version": (declared or case).version(),
        "design_sha256": design_digest(describe_design(case)),
        "data_store": data.store,
        "data_commit": data.commit,
        "row_digest": row_digest,
        "rows": rows,
        "fitted_until": fitted_until.isoformat() if fitted_until else None,
        "split": split,
        "rounds": fitted.best_rounds,
        "coefficients": list(fitted.calibration) if fitted.calibration else None,
        "search": search,
        "engine": engine,
        "device": device,
        "recipe_of": recipe_of.version if recipe_of else None,
        "model_sha256": sha256(fitted.model),
        **({"held_out": held_out} if held_out else {}),
    }


def row_filter(case: UseCase, after: datetime | None, train: int, stopping: int, holdout: pl.DataFrame) -> dict[str, Any]:
    """Which rows a challenger was fitted on, stopped by and gated on: sizes, bounds, and the champion's newest row.

    Args:
        case: The use case.
        after: Newest event time that the champion was fitted on.
        train: Rows that were fitted on.
        stopping: Rows that stopped the boosting.
        holdout: The rows that the gate judged.

    Returns:
        A document that JSON can hold.
    """
    window = evaluation.event_window(case, holdout)
    return {
        "after": after.isoformat() if after else None,
        "train_rows": train,
        "stopping_rows": stopping,
        "holdout_rows": holdout.height,
        "holdout": [moment.isoformat() for moment in window] if window else None,
    }


def apply_recipe(case: UseCase, made_from: Mapping[str, Any]) -> UseCase:
    """The use case with the parameters, seed and rounds of a manifest.

    Args:
        case: The use case.
        made_from: The manifest.

    Returns:
        The use case; all else is as it is declared now.
    """
    now = case.training
    recipe = Training(
        params=made_from["params"],
        rounds=made_from.get("most_rounds", now.rounds),
        stopping_rounds=made_from.get("stopping_rounds", now.stopping_rounds),
        seed=made_from["seed"],
        calibration=made_from.get("calibration", now.calibration),
    )
    return replace(case, training=recipe)


def stated(case: UseCase) -> dict[str, Any]:
    """What a manifest made here and now would state before it reads a row, by the names in STATED."""
    training = case.training
    return {
        "use_case_version": case.version(),
        "contract_versions": {i.name: i.contract_version() for i in case.inputs},
        "params": dict(training.params),
        "seed": training.seed,
        "most_rounds": training.rounds,
        "stopping_rounds": training.stopping_rounds,
        "calibration": training.calibration,
        "code_version": own_version(),
        "code_sha256": code_digest(),
        "libraries": libraries(),
    }


def coefficients(made_from: Mapping[str, Any]) -> tuple[float, float] | None:
    """Slope and intercept of the calibration in a manifest.

    Args:
        made_from: The manifest.

    Returns:
        The two numbers, or None.
    """
    numbers: Sequence[float] | None = made_from.get("coefficients")
    return (numbers[0], numbers[1]) if numbers else None


def newest_event(case: UseCase, rows: pl.DataFrame, after: datetime | None = None) -> datetime | None:
    """The newest event time of some rows, or `after` where that is newer; None without event times.

    Args:
        case: The use case.
        rows: The rows.
        after: Another moment; None for none.

    Returns:
        The moment, or None.
    """
    if case.time is None:
        return None
    return max((t for t in (moment(rows[case.time].max()), after) if t), default=None)


@cache
def libraries() -> dict[str, str]:
    """Versions of what turns rows into bytes, and of the interpreter."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def code_digest() -> str:
    """SHA-256 over the sources that turn rows into bytes."""
    digest = hashlib.sha256()
    for name, module in CODE.items():
        package, _, file = module.rpartition(".")
        source = files(package).joinpath(f"{file}.py").read_bytes()
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()
