"""Training a recorded version again and comparing the bytes: a model is a function of what its manifest names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from schemas.digests import sha256
from schemas.errors import NotFound, UsageError
from schemas.refs import DataRef, ModelRef
from schemas.results import Reproduction
from schemas.usecase import UseCase
from tasks import models
from tasks.registry import CHALLENGER, CHAMPION, ModelRegistry, use_case_of
from tasks.training import engines, fit, manifest
from tasks.training.holdout import recorded_held_out
from tasks.versions import open_store


def named_versions(registry: ModelRegistry, name: str, version: str) -> list[ModelRef]:
    """The versions that a word names: a number, `champion`, `challenger`, or `all`, the champion first.

    Args:
        registry: The model registry.
        name: Name of the use case, which is the model's name.
        version: A number, `champion`, `challenger` or `all`.

    Returns:
        The versions.

    Raises:
        UsageError: It is none of these.
        NotFound: There is no such version.
    """
    champion = registry.champion(name)
    if version == "all":
        others = [model for model in registry.versions(name) if model != champion]
        if not champion and not others:
            raise NotFound(f"{name} has no versions in the registry {registry.url}; penstock train {name} makes the first")
        return [champion, *others] if champion else others
    if version in (CHAMPION, CHALLENGER):
        model = champion if version == CHAMPION else registry.challenger(name)
        if model is None:
            raise NotFound(f"{name} has no {version}; penstock models {name} lists its versions")
        return [model]
    if not version.removeprefix("v").isdigit():
        raise UsageError(f"cannot reproduce version {version!r}: give a number, champion, challenger or all")
    return [registry.version(name, int(version.removeprefix("v")))]


def reproduce(
    case: UseCase, registry: ModelRegistry, model: ModelRef, store_url: str, threads: int | None = None
) -> Reproduction:
    """Fit a version again from its manifest, compare the SHA-256 of its bytes, and say which inputs differ.

    Where the repository does not know the manifest's commit, the one that the manifest names is asked.

    Args:
        case: The use case.
        registry: The model registry.
        model: The version.
        store_url: URL of the repository where the use case's data lies now.
        threads: Threads of XGBoost; None for all.

    Returns:
        Whether the bytes are identical, and what differs.

    Raises:
        NotFound: Neither repository knows the commit.
    """
    recorded = registry.document(model, "manifest")
    recipe = manifest.apply_recipe(use_case_of(case, registry, model), recorded)
    differences = list(_stated(case, recorded))
    data = _data(recorded, store_url)
    held = recorded_held_out(recipe, data, recorded)
    with engines.split_rows(recipe, data, _engine(recorded), _after(recorded), held) as parts:
        gated = bool(recorded.get("split"))
        rows = (parts.train, parts.stopping) if gated else (parts.known,)
        differences += _differ("number of rows", recorded["rows"], engines.count_rows(*rows))
        differences += _differ("row digest", recorded["row_digest"], engines.digest_rows(*rows))
        fitted = _fitted(recipe, recorded, parts, gated, threads)
    differences += _differ("boosting rounds", recorded["rounds"], fitted.best_rounds)
    threshold = recorded.get("threshold")
    digest = sha256(models.with_threshold(fitted.model, threshold) if threshold else fitted.model)
    identical = digest == model.sha256
    why = _why(identical, differences)
    return Reproduction(
        use_case=case.name,
        model=model,
        identical=identical,
        why=why,
        sha256=digest,
        rows=recorded["rows"],
        differences=tuple(differences),
    )


def _fitted(
    case: UseCase, recorded: Mapping[str, Any], parts: engines.Split, gated: bool, threads: int | None
) -> fit.Fitted:
    engine, device = _engine(recorded), recorded.get("device", "cpu")
    if gated:
        return engines.fit_split(case, parts, engine, device, threads)
    return engines.refit_split(case, parts, recorded["rounds"], manifest.coefficients(recorded), engine, device, threads)


def _why(identical: bool, differences: list[str]) -> str:
    if identical:
        return "identical" + (f", though other inputs differ: {'; '.join(differences)}" if differences else "")
    if differences:
        return f"different bytes: {'; '.join(differences)}"
    return "different bytes from the same recorded inputs: the machine differs (its processor, or its XGBoost build)"


def _stated(case: UseCase, recorded: Mapping[str, Any]) -> Iterator[str]:
    """What the manifest states and this process finds otherwise, before any row is read."""
    now = json.loads(json.dumps(manifest.stated(case)))  # as the manifest holds it
    for name, words in manifest.STATED.items():
        if name not in recorded or (recorded.get("search") and name == "params"):
            continue
        before, current = recorded[name], now[name]
        if isinstance(before, Mapping):
            for key in sorted({*before, *current}):
                yield from _differ(f"{words} {key}", before.get(key), current.get(key))
        else:
            yield from _differ(words, before, current)


def _differ(what: str, recorded: Any, current: Any) -> list[str]:
    return [] if recorded == current else [f"{what} was {_short(recorded)}, is {_short(current)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."


def _data(recorded: Mapping[str, Any], store_url: str) -> DataRef:
    commit = recorded["data_commit"]
    for url in dict.fromkeys([store_url, recorded["data_store"]]):
        store = open_store(url)
        try:
            if store.exists() and store.get(commit):
                return DataRef(store=url, commit=commit)
        except NotFound:
            continue
    raise NotFound(f"cannot reproduce: commit {commit[:12]} is in no store at hand; set PENSTOCK_LAKE_URL to its lake")


def _engine(recorded: Mapping[str, Any]) -> Any:
    return recorded.get("engine", "memory")


def _after(recorded: Mapping[str, Any]) -> datetime | None:
    after = (recorded.get("split") or {}).get("after")
    return datetime.fromisoformat(after) if after else None
