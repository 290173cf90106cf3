"""A team's own project on a real Prefect server: its prefect.yaml deploys, and a worker runs a deployment to its end."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL

from deployments.scaffold.draft import NewUseCaseOptions
from deployments.scaffold.new_use_case import new_use_case
from deployments.scaffold.project import GROUP, create
from tasks.parsing.parse import Limits
from tests.unit import scaffold_domains as domains

ROOT = Path(__file__).parents[2]


def installed(project: Path, site: Path, use_case: str) -> None:
    """The project as pip would install it: on the path, with its entry point."""
    told = site / "gym-0.1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: gym\nVersion: 0.1.0\n")
    (told / "entry_points.txt").write_text(f"[{GROUP}]\n{use_case}\n")
    (site / "gym").symlink_to(project / "gym")


@contextmanager
def worker(environment: dict[str, str], folder: Path) -> Iterator[Path]:
    log = folder / "worker.log"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "penstock", "--work-queue", "default"]
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=folder) as process:
        yield log
        process.terminate()
        process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_projects_deployments_are_made_and_one_runs(tmp_path: Path) -> None:
    create(gym := tmp_path / "gym")
    source = domains.save(domains.members(), tmp_path / "members.csv")
    new_use_case("gym-churn", source, NewUseCaseOptions("churned"), gym, Limits(2048, 120))
    installed(gym, tmp_path / "site", "gym-churn = gym.gym_churn:GYM_CHURN")
    home = tmp_path / "home"
    (home / "landing" / "gym-churn" / "rows").mkdir(parents=True)
    source.rename(home / "landing" / "gym-churn" / "rows" / "members.csv")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{tmp_path / 'site'}",
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PENSTOCK_PROJECT": str(gym),
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_DEPLOYMENT": "gym",
    }
    command = [sys.executable, "-c", "from deployments.cli import main; main()", "deploy"]
    for _ in range(2):  # again changes nothing
        done = subprocess.run(command, cwd=gym, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "lifecycle/gym" in done.stdout
    with get_client(sync_client=True) as client:
        made = client.read_deployments()
        assert len({client.read_flow(each.flow_id).name for each in made if each.name == "gym"}) == 12
        ours = [found.name for found in client.read_automations() if found.name.startswith("gym: ")]
        assert len(ours) == len(set(ours)) == 4
        assert client.read_global_concurrency_limit_by_name("penstock-train-gym-churn").limit == 1
    with worker(environment, tmp_path) as log:
        parameters = {"use_case": "gym-churn", "source": "rows/members.csv"}
        run = run_deployment("ingest/gym", parameters=parameters, timeout=400, poll_interval=1)
        assert run.state is not None
        assert run.state.is_completed(), log.read_text()
    assert run.name == "ingest gym-churn members.csv"
    assert run.state.message == "published: 1200 of 1200 rows accepted, 0 rejected"
    assert (home / "lake" / "gym-churn").is_dir()
