"""The demo, as a new user starts it: whole, quiet, and touching nothing of theirs."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
NOISE = re.compile(r"Traceback|Warning|WARN|ERROR|INFO|uvicorn|alembic")


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A port on loopback, and who knocked at it."""
    callers: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            callers.append(connection.recv(200).decode(errors="replace"))
            connection.close()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", callers
    server.close()


@pytest.fixture(scope="module")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


def users_environment(url: str, home: Path) -> dict[str, str]:
    """The environment of a user with servers of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "PENSTOCK_"))}
    return {
        **kept,
        "HOME": str(home),
        "PREFECT_API_URL": f"{url}/api",
        "MLFLOW_TRACKING_URI": url,
        "PENSTOCK_LAKE_URL": "lakefs://theirs",
        "PENSTOCK_HOME": str(home / "theirs"),
        "PENSTOCK_SERVER": "ephemeral",
        "LAKECTL_SERVER_ENDPOINT_URL": url,
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quick_demo_tells_its_story_and_touches_nothing_else(
    demo_home: Path, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    url, callers = listener
    theirs = tmp_path / "user"
    theirs.mkdir()
    command = [PENSTOCK, "demo", "--quick", "--home", str(demo_home)]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=users_environment(url, theirs)
    )
    assert result.returncode == 0, result.stderr
    assert not NOISE.search(result.stdout + result.stderr), result.stdout + result.stderr
    for month in ("2013-03", "2013-04", "2013-05"):
        assert month in result.stdout
    assert f"export PENSTOCK_HOME={demo_home}" in result.stdout
    assert list((demo_home / "reports").rglob("*.html"))
    with closing(sqlite3.connect(demo_home / "prefect" / "prefect.db")) as database:  # what its dashboard will show
        [(lines,)] = database.execute("select count(*) from log where message like '%rows in, %accepted%'").fetchall()
    assert lines > 6
    assert callers == []
    assert list(theirs.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["user"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_other_commands_read_what_the_demo_left(demo_home: Path) -> None:
    if not demo_home.exists():
        pytest.skip("the demo ran in another test process")
    environment = {**os.environ, "PENSTOCK_HOME": str(demo_home)}
    command = [PENSTOCK, "models", "flights", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    told = json.loads(result.stdout)
    assert sum(v["alias"] == "champion" for v in told["versions"]) == 1
    assert [entry["kind"] for entry in told["history"]] == ["promoted"] * len(told["history"])
    verified = subprocess.run([*command[:3], "--verify"], capture_output=True, text=True, check=False, env=environment)
    assert verified.returncode == 0, verified.stdout
    history = demo_home / "lake" / "flights" / "history.git"
    log = subprocess.run(["git", "-C", str(history), "log", "--first-parent", "--format=%s"], capture_output=True, text=True)
    assert len(log.stdout.splitlines()) == 1 + 3 * 5, log.stdout


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    result = subprocess.run([PENSTOCK, "demo", "--home", str(tmp_path)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "choose another with --home" in result.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
