"""A disk that is full ends the flow in one line, whichever write it was: main stays, and a rerun publishes."""

from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.settings import PREFECT_API_URL

from flows.ingest import ingest
from schemas.settings import Settings
from tasks.alerting import outbox
from tasks.orchestration.flow_runs import is_worth_another
from tasks.versions.factory import open_store
from tasks.versions.protocol import MAIN
from tests.faults.children import run
from tests.orders_kit import ORDERS, files_of, named

NAME = named(ORDERS)
INGEST = """
import resource, sys, tempfile
from deployments.prefect_server.in_process import silence_third_parties, in_process
silence_third_parties()
from flows.ingest import ingest
from tasks.versions.local import store as local_store
point, full_at, room = local_store.fault_point, sys.argv[4], int(sys.argv[5])

def reach(name):
    point(name)
    if name == full_at:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

local_store.fault_point = reach
if room:
    tempfile.gettempdir()
reach("start")
with in_process():
    ingest(*sys.argv[1:3], input=sys.argv[3])
"""


@pytest.mark.parametrize(
    ("full_at", "room", "says"),
    [
        ("start", 0, "cannot make a temporary folder"),
        ("start", 1, "cannot write temporary files"),
        ("start", 3000, "cannot write what was read of"),
        ("store.after_upload", 0, "cannot upload"),
        ("store.before_merge", 0, "cannot merge"),
    ],
)
def test_the_run_fails_in_one_line_and_a_rerun_publishes(
    full_at: str, room: int, says: str, settings: Settings, tmp_path: Path
) -> None:
    first, second = (files_of(*days, tmp_path / "in")["orders"] for days in ((0, 2), (2, 4)))
    ingest(NAME, str(first))
    path = second.rename(tmp_path / f"orders-{tmp_path.name}.parquet")
    store, log = (open_store(settings.store_url(name)) for name in ("orders", "orders-log"))
    before = store.head(MAIN)
    told = {"PENSTOCK_HOME": str(settings.root), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    done = run(INGEST, NAME, str(path), "orders", full_at, str(room), environment=told)
    named_after = FlowRunFilter(name=FlowRunFilterName(like_=path.name))
    with get_client(sync_client=True) as client:
        [ended] = client.read_flow_runs(flow_run_filter=named_after)
    assert ended.state
    assert (done.returncode, ended.state.type.value) == (1, "FAILED")
    message = str(ended.state.message)
    assert f"StoreError: {says}" in message
    assert "free some space, then run it again" in message
    assert "\n" not in message
    assert is_worth_another(ended, ended.state.timestamp + timedelta(minutes=1))
    assert store.head(MAIN) == before
    assert not log.exists() or outbox.open_alerts(log) == []
    assert ingest(NAME, str(path)).deliveries[0].status == "published"
    assert store.branches() == [MAIN]
