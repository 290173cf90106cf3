"""The factory: a model registry by its URL. Adapters are imported when they are first used."""

from __future__ import annotations

from functools import lru_cache

from schemas.errors import UsageError
from tasks.registry.protocol import ModelRegistry


@lru_cache(maxsize=16)
def open_registry(url: str) -> ModelRegistry:
    """The registry at that URL, one client per process and URL. The adapter is imported only when first used.

    Raises UsageError for a URL that is neither sqlite:///... nor http(s)://...
    """
    if not url.startswith(("sqlite:", "http:", "https:")):
        scheme = url.partition(":")[0]
        raise UsageError(
            f"cannot open the registry {scheme}:...: give sqlite:///PATH or http(s)://HOST (PENSTOCK_MLFLOW_URL)"
        )
    from tasks.registry.mlflow.registry import MlflowRegistry

    return MlflowRegistry(url)
