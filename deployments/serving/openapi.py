"""The API's own description, made from the contract: types, ranges, categories and an example, never an outcome."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from schemas.distribution import own_version
from schemas.usecase import Target, UseCase
from tasks.inference import online
from tasks.inference.online import predictable

Document = dict[str, Any]
JSON = "application/json"
PATTERN_DAY = r"^\d{4}-\d{2}-\d{2}"
PATTERN_CLOCK = r"[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
PATTERN_ZONE = r"(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)"


def document(
    use_case: UseCase,
    example: Mapping[str, Any] | None,
    most_rows: int,
    most_bytes: int,
    *,
    wanted: Collection[str] = (),
    targets: Collection[Target] = (),
) -> Document:
    """OpenAPI 3.1. `example` is a row that the contract accepts.

    `wanted` columns may be null and not left out; `targets` are those of the versions that answer, which need not be the
    code's.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Penstock: {use_case.name}",
            "version": own_version(),
            "description": f"{use_case.question} A body holds at most {most_bytes >> 20} MiB.",
        },
        "security": [{"token": []}],
        "paths": {
            "/predict": {"post": _predict(use_case, example)},
            "/model": {"get": _get("The model that answers, what it was made from and how it was judged.", "Model")},
            "/metrics": {"get": _text("Counters and gauges for Prometheus.", "text/plain")},
            "/openapi.json": {"get": _get("This description.", None)},
            "/healthz": {"get": _open(_get("Whether the server runs.", "State", closed=False))},
            "/readyz": {"get": _open(_get("Whether a verified model answers.", "State", closed=False, ready=True))},
            "/": {"get": _open(_text("A page to try a prediction.", "text/html", closed=False))},
        },
        "components": {
            "schemas": _schemas(use_case, most_rows, wanted, targets or (use_case.target,)),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def row_schema(use_case: UseCase, wanted: Collection[str] = ()) -> Document:
    """The schema of one row."""
    contract = use_case.input(use_case.rows).contract
    properties = online.json_properties(contract)
    for name, dtype in predictable(contract).items():
        if pattern := _pattern(dtype):
            properties[name]["pattern"] = pattern
    return {
        "type": "object",
        "properties": properties,
        "required": online.required_fields(contract, wanted),
        "additionalProperties": False,
    }


def _pattern(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Datetime):
        return f"{PATTERN_DAY}{PATTERN_CLOCK}{PATTERN_ZONE if dtype.time_zone else ''}$"
    return f"{PATTERN_DAY}$" if dtype == pl.Date else ""


def _schemas(use_case: UseCase, most_rows: int, wanted: Collection[str], targets: Collection[Target]) -> Document:
    problem = {
        "type": "object",
        "properties": {
            "message": {"type": "string"},
            "row": {"type": "integer"},
            "field": {"type": "string"},
            "allowed": {"type": "object"},
        },
        "required": ["message"],
    }
    rows = {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": most_rows}
    many = {"model_version": {"type": "integer"}, "predictions": {"type": "array", "items": _ref("Prediction")}}
    problems = {"type": "array", "items": _ref("Problem")}
    return {
        "Row": row_schema(use_case, wanted),
        "Rows": _object({"rows": rows}, closed=True),
        "Prediction": _prediction(targets),
        "Predictions": _object(many),
        "Problem": problem,
        "Refusal": _object({"error": {"type": "string"}, "problems": problems}),
        "State": _object({"status": {"type": "string"}}),
        "Model": _object({"name": {"type": "string"}, "version": {"type": "integer"}, "sha256": {"type": "string"}}),
    }


def _prediction(targets: Collection[Target]) -> Document:
    target, classes = next(iter(targets)), list(dict.fromkeys(name for each in targets for name in each.classes))
    number = {"type": "number"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    category = {"type": "string", "enum": classes}
    properties: dict[str, Document] = {
        "binary": {"category": category, "probability": {**share, "description": f"of {target.classes[-1:]}"}},
        "multiclass": {"category": category, "probabilities": _object(dict.fromkeys(target.classes, share))},
        "regression": {"prediction": number, "unit": {"type": "string"}},
    }
    every = {"model_version": {"type": "integer"}, "prediction_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}
    schema = _object({**properties[target.kind], **every})
    parts = {"type": "object", "additionalProperties": number, "description": "SHAP value of each feature"}
    words = {"sentence": {"type": "string"}, "scale": {"type": "string"}, "base": number, "contributions": parts}
    schema["properties"]["explanation"] = _object(words)
    return schema


def _predict(use_case: UseCase, example: Mapping[str, Any] | None) -> Document:
    examples = {"examples": {"a row": {"value": example}, "rows": {"value": {"rows": [example]}}}} if example else {}
    either = {"anyOf": [_ref("Row"), _ref("Rows")]}
    refused = {
        400: "The request is no HTTP that can be read.",
        401: "No token, or a wrong one.",
        408: "The body took too long to arrive.",
        413: "The body is too large.",
        415: "The body is not application/json.",
        422: "A row breaks the contract: which field, and what is allowed.",
        503: "No verified model answers yet, or the answer took too long.",
    }
    return {
        "summary": use_case.question,
        "operationId": "predict",
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "Whether to add each feature's contribution and a sentence in words.",
                "schema": {"type": "boolean", "default": False},
            }
        ],
        "requestBody": {"required": True, "content": {JSON: {"schema": either, **examples}}},
        "responses": {
            "200": _response("The prediction, or predictions in the rows' order.", "Prediction", "Predictions"),
            **{str(code): _response(text, "Refusal") for code, text in refused.items()},
        },
    }


def _get(summary: str, schema: str | None, *, closed: bool = True, ready: bool = False) -> Document:
    responses = {"200": _response(summary, *([schema] if schema else []))}
    if closed:
        responses["401"] = _response("No token, or a wrong one.", "Refusal")
    if ready or schema == "Model":
        responses["503"] = _response("No verified model answers yet.", "State" if ready else "Refusal")
    return {"summary": summary, "responses": responses}


def _text(summary: str, kind: str, *, closed: bool = True) -> Document:
    responses: Document = {"200": {"description": summary, "content": {kind: {"schema": {"type": "string"}}}}}
    if closed:
        responses["401"] = _response("No token, or a wrong one.", "Refusal")
    return {"summary": summary, "responses": responses}


def _open(operation: Document) -> Document:
    return {**operation, "security": []}


def _response(description: str, *schemas: str) -> Document:
    either: Document = {"type": "object"}
    if schemas:
        either = _ref(schemas[0]) if len(schemas) == 1 else {"anyOf": [_ref(name) for name in schemas]}
    return {"description": description, "content": {JSON: {"schema": either}}}


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Mapping[str, Any], *, closed: bool = False) -> Document:
    schema = {"type": "object", "properties": dict(properties), "required": list(properties)}
    return {**schema, "additionalProperties": False} if closed else schema
