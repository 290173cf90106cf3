"""The Docker and Kubernetes pools on a real server: their templates are taken, and a deployment's variables fit in."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.workers.base import BaseJobConfiguration

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_server_takes_the_template_and_the_deployments_fit(kind: str) -> None:
    template = json.loads((ROOT / "deployments" / "pools" / f"{kind}.json").read_text())
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=f"t-{kind}", type=kind, base_job_template=template))
        assert client.read_work_pool(f"t-{kind}").base_job_template == template
        flow = client.create_flow_from_name(f"of-{kind}")
        made = client.create_deployment(
            flow_id=flow,
            name="penstock",
            work_pool_name=f"t-{kind}",
            job_variables=deployments[0]["work_pool"]["job_variables"],
            enforce_parameter_schema=False,
        )
        told = client.read_deployment(made).job_variables
    job = asyncio.run(BaseJobConfiguration.from_template_and_values(template, told))
    assert job.env == {**template["variables"]["properties"]["env"]["default"], "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
