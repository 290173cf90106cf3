"""How flows are entered: what they do not know is refused in one line, and their states say what came of them."""

from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object
from pydantic import Field

from flows.lifecycle import lifecycle
from schemas.errors import UsageError
from schemas.refs import Value
from tasks.orchestration import flow as orchestration
from tasks.orchestration.flow import penstock_flow

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
ENTRYPOINTS = [each["entrypoint"] for each in DEPLOYMENTS]
SIMPLE = ("string", "integer", "number", "boolean", "null")


class Told(Value):
    status: str
    why: str


@penstock_flow("probe", "probe {use_case}")
def probe(use_case: Annotated[str, Field(min_length=2)], rounds: Annotated[int, Field(ge=1, le=9)] = 3) -> Told:
    """A flow for this test.

    Args:
        use_case: Short name.
    """
    return Told(status="already done", why=f"{rounds} rounds for {use_case}")


def last_state() -> tuple[str, str, str]:
    with get_client(sync_client=True) as client:
        run = max(client.read_flow_runs(), key=lambda found: found.created)
    assert run.state
    return run.name, run.state.type.value, run.state.message or ""


def test_a_result_comes_back_as_it_is_and_its_state_repeats_it() -> None:
    assert probe("flights", rounds=2) == Told(status="already done", why="2 rounds for flights")
    assert last_state() == ("probe flights", "COMPLETED", "already done: 2 rounds for flights")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"use_case": "flights", "speling": 1}, "probe: no parameter speling; it takes use_case, rounds"),
        ({}, "probe: say use_case; it takes use_case, rounds"),
        ({"use_case": "flights", "rounds": 10}, "less than or equal to 9"),
        ({"use_case": "flights", "rounds": "many"}, "valid integer"),
        ({"use_case": "x"}, "at least 2 characters"),
    ],
)
def test_bad_parameters_are_one_line(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        probe.validate_parameters(parameters)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_the_form_in_the_dashboard_is_flat_and_has_descriptions(entrypoint: str) -> None:
    flow = import_object(entrypoint)
    assert flow.name == entrypoint.partition(":")[2]
    told = parameter_schema(flow).model_dump_for_openapi()
    kinds = [(name, kind) for name, each in told["properties"].items() for kind in each.get("anyOf", [each])]
    assert [name for name, kind in kinds if kind.get("type") not in SIMPLE] == []
    assert [name for name, each in told["properties"].items() if len(each.get("description", "")) < 20] == []
    if "use_case" in told.get("required", ()):
        assert told["properties"]["use_case"]["minLength"] == 1


def test_a_deployed_flow_takes_registered_use_cases_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert orchestration.begin_flow("schemas.usecases.flights:FLIGHTS").name == "flights"
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "1")
    with pytest.raises(UsageError, match="only the command line and Python"):
        orchestration.begin_flow("schemas.usecases.flights:FLIGHTS")


@pytest.mark.parametrize("told", [{}, {"source": "a.csv", "published": "0123456789ab"}])
def test_the_lifecycle_starts_from_a_file_or_from_a_commit(told: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="say either source"):
        lifecycle("flights", **told)
