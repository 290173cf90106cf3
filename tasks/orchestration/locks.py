"""Changes to the models of one use case exclude each other, on every machine that shares a Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL

from schemas.errors import ServiceUnavailable, UsageError
from tasks.orchestration.local_server import is_local_server

LEASE = 60.0  # s that a dead process holds others back, on a server
PATIENCE = 300.0  # s that a change of a use case's models waits for another one


@contextmanager
def cross_machine_lock(use_case: str) -> Iterator[None]:
    """Nobody else changes this use case's models or their history meanwhile, on any machine that shares the Prefect server.

    A global concurrency limit with a lease, made where it is missing; a lost lease ends what is held. Without a server
    of the user's there is one machine, whose processes the registry's own lock keeps apart.

    Args:
        use_case: Name of the use case.

    Yields:
        Nothing.

    Raises:
        ServiceUnavailable: Another change does not end in time.
        UsageError: The limit on the server is inactive or not 1.
    """
    url = PREFECT_API_URL.value()
    if not url or is_local_server(url):
        yield
        return
    name = f"penstock-promotion-{use_case}"
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1, active=True))
        limit = client.read_global_concurrency_limit_by_name(name)
    if (limit.active, limit.limit) != (True, 1):
        raise UsageError(f"the concurrency limit {name} keeps promotions apart only while it is active and 1: set it so")
    with ExitStack() as slot:
        try:
            slot.enter_context(concurrency(name, strict=True, lease_duration=LEASE, timeout_seconds=PATIENCE))
        except TimeoutError:
            raise ServiceUnavailable(
                f"another change of {use_case}'s models did not end in {PATIENCE:.0f} s: try later"
            ) from None
        yield
