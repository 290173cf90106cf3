"""Lineage: sources, data, model and predictions of a use case as Prefect assets, each with what it was made from.

An asset is one for all time; each materialization tells its commit, version or hash, so that the events are the history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.assets import Asset, AssetProperties, add_asset_metadata
from prefect.cache_policies import NO_CACHE
from prefect.tasks import MaterializingTask

from schemas.results import Delivery, Scores, Training
from schemas.usecase import UseCase


def record_data_asset(case: UseCase, done: Delivery) -> None:
    """Rows that were published: an input of the data, from its sources.

    Args:
        case: The use case.
        done: What became of a source.
    """
    if done.status != "published":
        return
    metadata = {"commit": done.commit, "source": done.source, "source_sha256": done.sha256, "what": done.why}
    source = _asset(case, f"sources/{done.input}", f"files of {done.input}")
    _materialize(_data(case, done.input), [source], metadata)


def record_model_asset(case: UseCase, result: Training) -> None:
    """A version that was recorded, champion or not, from the data of one commit.

    Args:
        case: The use case.
        result: What became of a training.
    """
    if result.model is None or result.data is None or result.status not in ("promoted", "refused"):
        return
    metadata = {"version": result.model.version, "sha256": result.model.sha256, "commit": result.data.commit}
    inputs = [_data(case, spec.name) for spec in case.inputs]
    _materialize(_model(case), inputs, {**metadata, "what": f"{result.status}: {result.why}"})


def record_predictions_asset(case: UseCase, scores: Scores) -> None:
    """Predictions that were published, from the model and the rows that it scored.

    Args:
        case: The use case.
        scores: What became of a scoring.
    """
    if scores.status != "published" or scores.predictions is None or scores.model is None:
        return
    metadata = {
        "commit": scores.predictions.commit,
        "version": scores.model.version,
        "rows": scores.rows,
        "what": scores.why,
    }
    asset = _asset(case, "predictions", f"predictions of {case.name}")
    _materialize(asset, [_model(case), _data(case, case.rows)], metadata)


def _asset(case: UseCase, path: str, name: str) -> Asset:
    return Asset(key=f"penstock://{case.name}/{path}", properties=AssetProperties(name=name))


def _data(case: UseCase, input: str) -> Asset:
    return _asset(case, f"data/{input}", f"{input} of {case.name}")


def _model(case: UseCase) -> Asset:
    return _asset(case, "model", f"model of {case.name}")


def _materialize(asset: Asset, of: Sequence[Asset], metadata: Mapping[str, Any]) -> None:
    def tell() -> None:
        add_asset_metadata(asset, dict(metadata))

    MaterializingTask(
        fn=tell,
        name=f"record {asset.key}",
        assets=[asset],
        asset_deps=list(of),
        materialized_by="penstock",
        cache_policy=NO_CACHE,
        persist_result=False,
    )()
