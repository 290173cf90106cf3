"""What Penstock tells MLflow of a model, in MLflow's own words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.digests import canonical_json, sha256
from schemas.score_columns import CATEGORY, prediction_names
from tasks.registry import artifacts
from tasks.registry.mlflow import environment as mlflow_environment
from tasks.registry.protocol import Candidate
from tasks.registry.pyfunc_model import MODEL as MODEL_FILE

with mlflow_environment.importing():
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, DataType, Schema, TensorSpec


def mlmodel(candidate: Candidate, stored: Mapping[str, bytes], run: Any, model: Any) -> bytes:
    """MLflow's description of the model: the stored predictor for anyone, the bare booster for `mlflow.xgboost`."""
    code = next(Path(path).stem for path in stored if path.startswith(f"{artifacts.CODE}/"))
    described = Model(
        artifact_path=model.artifact_location,
        run_id=run.info.run_id,
        utc_time_created=str(datetime.fromtimestamp(run.info.start_time / 1000, UTC).replace(tzinfo=None)),
        signature=_signature(candidate),
        model_uuid=sha256(candidate.model)[:32],
        model_id=model.model_id,
        model_size_bytes=len(candidate.model),
    )
    environment = {"virtualenv": "python_env.yaml"}
    python = artifacts.python_version()
    described.add_flavor("python_function", loader_module=code, code=artifacts.CODE, env=environment, python_version=python)
    described.add_flavor("xgboost", data=MODEL_FILE, model_class="xgboost.core.Booster", model_format="ubj", code=None)
    return bytes(described.to_yaml().encode())


def _signature(candidate: Candidate) -> ModelSignature | None:
    """Numbers are doubles. MLflow's string admits no pandas categories, so that text is `any`; words.json lists it."""
    if not candidate.input_dtypes:
        return None
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType(), name, required=False)  # type: ignore[no-untyped-call]
        if artifacts.is_text(dtype)
        else ColSpec(DataType.double, name)
        for name, dtype in candidate.input_dtypes.items()
    ]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.double, name) for name in prediction_names(candidate)]
    if candidate.kind != "regression":
        outputs.insert(0, ColSpec(DataType.string, CATEGORY))
    return ModelSignature(Schema(inputs), Schema(outputs))


def params(values: Mapping[str, Any]) -> list[Param]:
    """A run's parameters."""
    return [Param(name, str(value)) for name, value in values.items()]


def metrics(values: Mapping[str, float], at: int) -> list[Metric]:
    """A run's metrics at a moment in ms since 1970; what is no finite number is left out."""
    return [Metric(name, value, at, 0) for name, value in values.items() if artifacts.finite(value)]


def dataset(candidate: Candidate) -> DatasetInput:
    """The data commit, as the run's input."""
    commit = candidate.evaluation.data_commit
    source = canonical_json({"store": candidate.manifest.get("data_store"), "commit": commit}).decode()
    data = Dataset(name=candidate.name, digest=commit[:36], source_type="penstock", source=source)
    return DatasetInput(data, [InputTag("mlflow.data.context", "training")])
