"""prefect.yaml, a project's own, the pools and the parts of `up`, without a server."""

import json
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from deployments.local_stack.plan import plan
from deployments.local_stack.services import HOST, Ports
from deployments.prefect_server.apply import definitions, deployment_name
from schemas.errors import UsageError
from schemas.settings import Settings

ROOT = Path(__file__).parents[2]
TEMPLATE = resources.files("deployments") / "templates" / "project" / "prefect.yaml.tmpl"
NO_FLOWS = {"__init__"}


def read(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text))


OURS = read((ROOT / "prefect.yaml").read_text())
THEIRS = read(Template(TEMPLATE.read_text()).substitute(project="gym"))


@pytest.mark.parametrize("told", [OURS, THEIRS])
def test_every_flow_is_deployed_once(told: dict[str, Any]) -> None:
    flows = {path.stem for path in (ROOT / "flows").glob("*.py")} - NO_FLOWS
    entrypoints = sorted(deployment["entrypoint"] for deployment in told["deployments"])
    assert entrypoints == sorted(f"flows.{name}:{name}" for name in flows)
    assert all("penstock" in deployment["tags"] for deployment in told["deployments"])
    assert {deployment["work_pool"]["name"] for deployment in told["deployments"]} == {"penstock"}


def test_a_project_gets_the_same_under_its_own_name() -> None:
    def without(told: dict[str, Any]) -> list[dict[str, Any]]:
        return [{k: v for k, v in d.items() if k not in ("name", "tags", "schedules")} for d in told["deployments"]]

    assert without(THEIRS) == without(OURS)
    assert (THEIRS["pull"], THEIRS["definitions"]["pool"]) == (OURS["pull"], OURS["definitions"]["pool"])
    assert {deployment["name"] for deployment in THEIRS["deployments"]} == {"gym"}


@pytest.mark.parametrize("text", [(ROOT / "prefect.yaml").read_text(), TEMPLATE.read_text()])
def test_no_secret_is_in_it(text: str) -> None:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert not re.search(r"secret|token|password|://", code, re.IGNORECASE)


def test_schedules_that_train_are_for_a_person_to_switch_on() -> None:
    active = {d["entrypoint"] for d in OURS["deployments"] for schedule in d.get("schedules", []) if schedule["active"]}
    assert active == {"flows.rescan:rescan", "flows.sweep:sweep"}


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_pool_fills_in_what_it_declares(kind: str) -> None:
    told = json.loads((ROOT / "deployments" / "pools" / f"{kind}.json").read_text())
    asked = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(told["job_configuration"])))
    assert asked == set(told["variables"]["properties"])
    assert told["variables"]["properties"]["image"]["default"] == "penstock-worker"


def test_the_project_in_the_folder_counts_first(tmp_path: Path) -> None:
    assert deployment_name(definitions(tmp_path)) == "penstock"
    (tmp_path / "prefect.yaml").write_text("deployments: [{name: other, entrypoint: some.flow:run}]\n")
    assert definitions(tmp_path) == ROOT / "prefect.yaml"
    (tmp_path / "prefect.yaml").write_text(Template(TEMPLATE.read_text()).substitute(project="gym"))
    assert deployment_name(definitions(tmp_path)) == "gym"


def test_the_parts_know_each_other_and_listen_on_loopback_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.local_stack.lakefs.binary", lambda name: f"/opt/{name}")
    monkeypatch.setenv("PREFECT_API_KEY", "of the user's own server")
    home = tmp_path / "home"
    planned = plan(Settings(home=home), tmp_path, "penstock", Ports(usual=False), ["flights"])
    assert [part.name for part in planned.parts] == [
        "prefect", "mlflow", "lakefs", "hook", "worker", "trainer", "landing", "api-flights",
    ]  # fmt: skip
    addresses = [part.address for part in planned.parts if part.address]
    assert len(set(addresses)) == 5
    assert all(address.startswith(f"http://{HOST}:") for address in addresses)
    told = planned.environment
    assert "PREFECT_API_KEY" not in told
    assert told["PENSTOCK_MLFLOW_URL"] == addresses[1]
    assert told["LAKEFS_LISTEN_ADDRESS"] == addresses[2].removeprefix("http://")
    secrets = [told[name] for name in ("PENSTOCK_LAKE_HOOK_TOKEN", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY")]
    assert not [part.name for part in planned.parts for secret in secrets if secret in part.cmd]
    assert (home / "lakefs" / "keys.json").stat().st_mode & 0o077 == 0
    again = plan(Settings(home=home), tmp_path, "penstock", Ports(usual=False), ["flights"])
    assert again.environment["PENSTOCK_LAKE_HOOK_TOKEN"] == secrets[0]


def test_what_is_set_already_is_not_started(tmp_path: Path) -> None:
    theirs = Settings(home=tmp_path, mlflow_url="http://127.0.0.1:1", lake_url="lakefs://theirs")
    names = [part.name for part in plan(theirs, tmp_path, "penstock", Ports(usual=False), ["flights"]).parts]
    assert names == ["prefect", "worker", "trainer", "landing", "api-flights"]


def test_without_deployments_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.prefect_server.apply.FILE", "nothing.yaml")
    with pytest.raises(UsageError, match="that deploys"):
        definitions(tmp_path)
