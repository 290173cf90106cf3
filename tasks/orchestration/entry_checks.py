"""What a flow can refuse at once: said before a server is started, a folder is made or a run begins."""

from __future__ import annotations

from schemas.errors import NotFound
from schemas.settings import in_force
from schemas.usecase import UseCase, resolve
from tasks.ingestion import is_local_table, is_remote, locate
from tasks.orchestration.installation import is_deployed, refuse_shadows
from tasks.versions import open_store


def begin_flow(use_case: str) -> UseCase:
    """What every flow does first: refuse packages that are not ours, and resolve the use case.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.

    Returns:
        The use case.

    Raises:
        UsageError: A package in the working directory hides one of ours, or there is no such use case.
    """
    refuse_shadows()
    return resolve(use_case, modules=not is_deployed())


def require_source(use_case: str, source: str | None = None, input: str | None = None) -> None:
    """Refuse a source on this machine that is not there, or of which nobody can tell what it delivers.

    What lies elsewhere is looked for by the run itself.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.
        source: A path or a glob, or where else it lies; None for none.
        input: Which input it delivers; None where its folder or name tells.

    Raises:
        UsageError: There is no such use case, file or input.
    """
    if source is None:
        return
    begin_flow(use_case).choose_input(input, source)
    if not (is_deployed() or is_remote(source) or is_local_table(source)):
        locate(source)


def require_data(use_case: str) -> None:
    """Refuse a use case of which nothing was ingested into this machine's repository.

    Args:
        use_case: Name of the use case: registered, like `flights`, or `module:NAME` in Python.

    Raises:
        NotFound: There is no repository.
    """
    name = begin_flow(use_case).name
    url = in_force().store_url(name)
    if url.startswith("file://") and not open_store(url).exists():
        raise NotFound(
            f"{name}: nothing was ingested yet: there is no repository at {url}; ingest a file first "
            f"(penstock ingest {use_case} FILE), or mend PENSTOCK_LAKE_URL"
        )
