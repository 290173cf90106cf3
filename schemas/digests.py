"""Hashes of content, and the JSON texts that are hashed: the same content gives the same text in every process.

    canonical_json   what the registry and the champion's history keep: UTF-8, no spaces, NaN and infinity as text
    sorted_json      what names contracts, use cases, searches, alerts and evidence: ASCII, with Python's spacing

There are two since recorded hashes hang on each. A new record takes `canonical_json`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.errors import UsageError
from schemas.refs import Sha256


def sha256(data: bytes) -> Sha256:
    """SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sorted_json(value: Any) -> str:
    """Plain data as JSON with sorted keys; what JSON does not know stands in it as its text."""
    return json.dumps(value, sort_keys=True, default=str)


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8; NaN and infinity as the strings that pydantic reads.

    Args:
        value: Plain data; models of pydantic, datetimes and NumPy's numbers may stand in it.

    Raises:
        UsageError: It holds what JSON cannot hold.
    """
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    elif hasattr(value, "item") and not isinstance(value, Mapping):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise UsageError(f"a document of a model holds a {type(value).__name__}, which JSON cannot hold: give numbers and text")
