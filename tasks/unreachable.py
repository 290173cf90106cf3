"""Whether an error says that Prefect's server could not be reached: it says so in several ways."""

from __future__ import annotations

import httpx


def is_unreachable(error: BaseException) -> bool:
    """Whether the server did not answer, somewhere among the error's causes."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, httpx.TransportError) or "Failed to reach API" in str(chain):
            return True
        chain = chain.__cause__ or chain.__context__
    return False
