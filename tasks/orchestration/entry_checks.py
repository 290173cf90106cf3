"""What a flow can refuse at once: said before a server is started, a folder is made or a run begins."""

from __future__ import annotations

from typing import Any

from schemas.errors import NotFound
from schemas.settings import in_force
from schemas.usecase import resolve
from tasks.ingestion import is_local_table, is_remote, locate
from tasks.orchestration.flow import is_deployed
from tasks.versions import open_store


def require_source(source: str | None = None, **_: Any) -> None:
    """Refuse a source on this machine that is not there; what lies elsewhere is asked for by the run itself.

    Args:
        source: A path or a glob, or where else it lies; None for none.

    Raises:
        UsageError: There is no such file.
    """
    if source is not None and not (is_deployed() or is_remote(source) or is_local_table(source)):
        locate(source)


def require_data(use_case: str, **_: Any) -> None:
    """Refuse a use case of which nothing was ingested into this machine's repository.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.

    Raises:
        NotFound: There is no repository.
    """
    name = resolve(use_case, modules=not is_deployed()).name
    url = in_force().store_url(name)
    if url.startswith("file://") and not open_store(url).exists():
        raise NotFound(
            f"{name}: nothing was ingested yet: there is no repository at {url}; ingest a file first "
            f"(penstock ingest {use_case} FILE), or mend PENSTOCK_LAKE_URL"
        )
