"""What `penstock doctor` says of a project's deployed system on a real Prefect server, part by part."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from deployments.diagnostics import system_checks
from deployments.prefect_server import apply
from deployments.prefect_server.apply import FILE, flows_of
from deployments.scaffold.project import create
from schemas.settings import Settings

POOL = "t-doctor"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The prefect.yaml of a project that `penstock init` made, with a pool of its own, in the working directory."""
    create(gym := tmp_path / "yard")
    monkeypatch.chdir(gym)
    monkeypatch.setattr(apply, "POOL", POOL)
    monkeypatch.setattr(system_checks, "POOL", POOL)
    (gym / FILE).write_text((gym / FILE).read_text().replace("name: penstock", f"name: {POOL}"))
    return gym / FILE


def found(name: str) -> tuple[str, str, str]:
    """Status, detail and mend of what doctor finds."""
    [seen] = [each for each in system_checks.deployment_findings(Settings(deployment="yard")) if each.name == name]
    return seen.status, seen.detail, seen.mend


def test_what_is_wrong_with_the_deployed_system_is_named_with_its_mend(file: Path) -> None:
    status, detail, mend = found("deployments")
    assert (status, mend) == ("note", "penstock deploy")
    assert detail.startswith("nothing is deployed to http")

    list(apply.apply(file))
    everything = ", ".join(f"{flow}/yard" for flow in sorted(flows_of(file)))
    assert everything.count("/") == 12
    assert found("deployments") == ("ok", everything, "")
    assert found("automations") == ("ok", "4", "")
    assert found("worker") == ("wrong", f"nobody works for the pool {POOL}", f"prefect worker start --pool {POOL}")

    with get_client(sync_client=True) as client:
        client.request("POST", "/work_pools/{name}/workers/heartbeat", path_params={"name": POOL}, json={"name": "w"})
        assert found("worker") == ("ok", "w", "")

        silent = client.read_automations_by_name("yard: a silent run is marked Crashed")[0]
        client.request("PATCH", "/automations/{id}", path_params={"id": silent.id}, json={"enabled": False})
        off = "'yard: a silent run is marked Crashed' is switched off"
        assert found("automations") == ("wrong", off, "switch it on in the dashboard")
        client.delete_automation(silent.id)
        assert found("automations") == ("wrong", "no 'yard: a silent run is marked Crashed'", "penstock deploy")

        client.delete_deployment(client.read_deployment_by_name("sweep/yard").id)
        client.delete_deployment(client.read_deployment_by_name("score/yard").id)
        assert found("deployments") == ("wrong", "no score/yard, sweep/yard", "penstock deploy")
