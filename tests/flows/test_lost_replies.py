"""Replies of Prefect's server that get lost: a flow that has ended gives its result all the same."""

from __future__ import annotations

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from schemas.results import Sweep
from tasks.orchestration.flow import penstock_flow
from tests.faults.proxy import FaultProxy, drop_reply


@penstock_flow("inner", "inner")
def inner(days: float) -> Sweep:
    return Sweep(older_than_days=days, dry_run=True, branches=())


@penstock_flow("outer", "outer")
def outer() -> Sweep:
    return inner(inner(1.0).older_than_days + 1)


@pytest.mark.parametrize("lost", range(6))
def test_a_flow_gives_its_result_whichever_change_of_state_was_not_confirmed(lost: int) -> None:
    with FaultProxy(str(PREFECT_API_URL.value()).removesuffix("/api")) as proxy:
        rule = proxy.on(drop_reply, method="POST", path="/flow_runs/.*/set_state$", skip=lost, times=1)
        with temporary_settings({PREFECT_API_URL: f"{proxy.url}/api"}):
            assert outer().older_than_days == 2.0
        assert rule.hits == 1
