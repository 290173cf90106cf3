"""What is stored with a version: its files by path, and the record of their hashes that the version's tags name.

    model.ubj                  the model's bytes, exactly as they were fitted
    words.json                 what its numbers mean: feature names, categories, classes, threshold
    code/penstock_*.py         how MLflow's users predict with it (pyfunc_model.py under a name that says its content)
    MLmodel, requirements.txt, python_env.yaml    what MLflow wants to see
    documents/manifest.json    what it was made from; its SHA-256 names the version
    documents/*.json           evaluation, reference, ... as {"format_version": 1, "content": ...}
    golden.parquet             rows with their expected scores
    hashes.json                SHA-256 of each file above
    verdicts/<sha256>.json     what the gate said, added when it has spoken
    card/<sha256>.md, .html    the model card, added then, too

Nothing here imports what it reads.
"""

from __future__ import annotations

import ast
import json
import math
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from importlib.resources import files as resources
from typing import Any

from schemas.digests import canonical_json, sha256
from schemas.errors import IntegrityError, UsageError
from schemas.usecase import NAME
from tasks.registry.protocol import Candidate
from tasks.registry.pyfunc_model import MODEL, WORDS

FORMAT = 1
GOLDEN = "golden.parquet"
RECORD = "hashes.json"
MLMODEL = "MLmodel"
MANIFEST = "documents/manifest.json"
CODE = "code"
TEXT = ("Enum", "Categorical", "String", "Utf8", "category", "str", "object")


def finite(number: Any) -> bool:
    """Whether it is a number, and neither NaN nor infinite."""
    return isinstance(number, (int, float)) and math.isfinite(number)


def manifest(candidate: Candidate) -> bytes:
    """Canonical JSON of the manifest. Raises UsageError, IntegrityError where it and the candidate do not agree."""
    if not NAME.fullmatch(candidate.name):
        raise UsageError(f"cannot register {candidate.name!r}: a model is named as its use case, in a-z, 0-9 and dashes")
    stated, digest = candidate.manifest, sha256(candidate.model)
    if stated.get("model_sha256", digest) != digest or candidate.evaluation.model_sha256 != digest:
        raise IntegrityError(f"cannot register {candidate.name}: manifest or evaluation is that of another model")
    commit = candidate.evaluation.data_commit
    if stated.get("data_commit", commit) != commit:
        raise IntegrityError(f"cannot register {candidate.name}: the evaluation is of another data commit than the manifest")
    fitted_until(stated)
    return canonical_json({"format_version": FORMAT, **stated})


def fitted_until(stated: Mapping[str, Any]) -> datetime | None:
    """Event time of the newest row that a model was fitted on.

    Args:
        stated: The model's manifest.

    Returns:
        The moment, taken as UTC where it has no zone; None where the manifest does not say.

    Raises:
        UsageError: It is no time in ISO 8601.
    """
    text = stated.get("fitted_until")
    if text is None:
        return None
    try:
        moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        raise UsageError(f"a manifest's fitted_until is {text!r}: give a time in ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def files(candidate: Candidate) -> dict[str, bytes]:
    """All files but MLmodel and the record of hashes. Raises UsageError, IntegrityError."""
    code = _source()
    contents = {
        MANIFEST: manifest(candidate),
        document_path("evaluation"): wrapped(candidate.evaluation),
        MODEL: candidate.model,
        WORDS: canonical_json(words(candidate)),
        GOLDEN: candidate.golden,
        f"{CODE}/{module(code)}.py": code,
        "requirements.txt": "".join(f"{line}\n" for line in requirements()).encode(),
        "python_env.yaml": canonical_json({"python": python_version(), "dependencies": ["-r requirements.txt"]}),
    }
    if clash := {document_path(name) for name in candidate.documents} & contents.keys():
        raise UsageError(f"cannot register {candidate.name}: the registry writes {', '.join(sorted(clash))} itself")
    return contents | {document_path(name): wrapped(document) for name, document in candidate.documents.items()}


def document_path(name: str) -> str:
    """Path of a document. Raises UsageError for a name that is no plain word."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise UsageError(f"a model's document is named {name!r}: use letters, digits, dashes and underscores")
    return f"documents/{name}.json"


def verdict_path(digest: str) -> str:
    """Path of a verdict: by its content, so that a kill between file and tag leaves the former one readable."""
    return f"verdicts/{digest}.json"


def card_path(digest: str, suffix: str) -> str:
    """Path of a model card, by its content too."""
    return f"card/{digest}.{suffix}"


def wrapped(content: Any) -> bytes:
    """A document as it is stored."""
    return canonical_json({"format_version": FORMAT, "content": content})


def unwrapped(data: bytes) -> Any:
    """The content of a stored document; a manifest is its own content."""
    document = json.loads(data)
    return document.get("content", document)


def words(candidate: Candidate) -> dict[str, Any]:
    """What the model's numbers mean. Raises UsageError where text features lack categories or classes are missing."""
    columns = [{"name": name, "categories": _categories(candidate, name)} for name in candidate.input_dtypes]
    classes = candidate.classes or (("0", "1") if candidate.kind == "binary" else ())
    if candidate.kind == "multiclass" and not classes:
        raise UsageError(f"cannot register {candidate.name}: a multiclass model needs its classes")
    return {
        "format_version": FORMAT,
        "kind": candidate.kind,
        "classes": list(classes),
        "threshold": candidate.threshold,
        "columns": columns,
    }


def _categories(candidate: Candidate, name: str) -> list[str] | None:
    dtype = candidate.input_dtypes[name]
    if not is_text(dtype):
        return None
    if name in candidate.categories:
        return list(candidate.categories[name])
    if listed := re.fullmatch(r"Enum\(categories=(\[.*\])\)", dtype):
        return list(ast.literal_eval(listed[1]))
    raise UsageError(f"cannot register {candidate.name}: the feature {name} is {dtype}, and no categories are given for it")


def is_text(dtype: str) -> bool:
    """Whether a feature of that type is a category."""
    return dtype.startswith(TEXT)


def module(code: bytes) -> str:
    """Name of the stored predictor: one content, one name, so that models of several versions load into one process."""
    return f"penstock_predictor_{sha256(code)[:12]}"


def _source() -> bytes:
    return resources("tasks.registry").joinpath("pyfunc_model.py").read_bytes()


def requirements() -> list[str]:
    """Pinned requirements of the stored predictor, as installed here."""
    return [f"{name}=={version}" for name in ("mlflow", _xgboost(), "pandas") if (version := _installed(name))]


def python_version() -> str:
    """The interpreter's version."""
    return platform.python_version()


def _xgboost() -> str:
    return "xgboost" if _installed("xgboost") else "xgboost-cpu"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def record(stored: Mapping[str, bytes]) -> bytes:
    """The record of hashes."""
    return canonical_json({"format_version": FORMAT, "files": {path: sha256(data) for path, data in stored.items()}})


def recorded(data: bytes) -> dict[str, str]:
    """Path -> SHA-256, from a record that was checked."""
    return dict(json.loads(data)["files"])


def checked(data: bytes, expected: str, what: str) -> bytes:
    """The bytes. Raises IntegrityError unless they have that hash."""
    if sha256(data) != expected:
        raise IntegrityError(
            f"{what} has changed since it was recorded (SHA-256 {sha256(data)[:12]}, expected {expected[:12]}):"
            " restore it from a backup, or promote another version"
        )
    return data
