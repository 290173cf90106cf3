"""The Prefect server that the processes of one home share: started once, found, ended, and never a stranger's."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tasks.orchestration.local_server_control import (
    find_server,
    foreign_server,
    server_in_use,
    stop_server,
)
from tasks.orchestration.local_server_files import LOG_BYTES
from tasks.orchestration.local_server_launch import LOOK_SECONDS
from tests.local_server_kit import Home, said, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose database is there, so that servers start faster; nothing runs in it."""
    made = Home(tmp_path_factory.mktemp("template") / "home")
    made.serve()
    made.stop()
    return made


@pytest.fixture(autouse=True)
def _a_user_without_prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def home(template: Home, tmp_path: Path) -> Iterator[Home]:
    made = template.copy(tmp_path / "home")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def kept(template: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose server runs on from test to test."""
    made = template.copy(tmp_path_factory.mktemp("kept") / "home")
    yield made
    made.stop()


@pytest.fixture
def served(kept: Home) -> Iterator[Home]:
    """A home with a server, which the test leaves as it was."""
    before, key = kept.serve(), kept.files.key()
    yield kept
    assert (kept.serve(), kept.files.key()) == (before, key), "the next test finds another server"


def test_flows_of_two_processes_run_on_one_server_which_the_first_one_starts(home: Home) -> None:
    first = said(home.flow(0, 0))
    server = find_server(home.root)
    assert server
    assert first == ["started", server.url] * 2
    assert said(home.flow(0)) == ["started", server.url]
    assert home.serve() == server.pid
    with httpx.Client(base_url=server.url, headers=basic(server.key)) as client:
        runs = client.post("/flow_runs/filter", json={}).raise_for_status().json()
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 3


def basic(key: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"}


def test_who_has_no_key_gets_no_answer_and_no_other_machine_does(served: Home) -> None:
    server = find_server(served.root)
    assert server
    assert httpx.post(f"{server.url}/flow_runs/filter", json={}).status_code == 401
    assert httpx.post(f"{server.url}/flow_runs/filter", json={}, headers=basic("guess")).status_code == 401
    port = int(server.url.split(":")[2].split("/")[0])
    listeners = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    assert [line.split()[1] for line in listeners.splitlines() if f":{port:04X} " in line and " 0A " in line] == [
        f"0100007F:{port:04X}"
    ]
    assert oct((served.files.folder / "key").stat().st_mode)[-3:] == "600"


def test_many_at_once_start_one(home: Home) -> None:
    users = [home.user() for _ in range(4)]
    assert len({pid for user in users for pid in said(user)} - {"None"}) == 1


def test_it_ends_when_nobody_has_used_it_for_a_while_and_not_before(home: Home) -> None:
    idle = {"PENSTOCK_SERVER_IDLE_MINUTES": "0.05"}  # three seconds
    running = home.flow(9, 0, **idle)
    assert running.stdout
    assert running.stdout.readline() == "started\n"
    first = home.files.state()
    url, _, again = said(running)
    assert first
    assert url == again == first.url
    wait_for(lambda: not home.files.is_alive())
    assert home.files.state() is None
    assert home.log() == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_died_or_hangs_is_replaced_at_its_port(home: Home, number: int) -> None:
    pid = home.serve()
    before = home.files.state()
    os.kill(pid, number)
    other = home.serve()
    after = home.files.state()
    assert other != pid
    assert before
    assert after
    assert after.url == before.url
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_dies_in_a_run_is_started_again_and_the_run_goes_on(home: Home) -> None:
    running = home.flow(6, 0)
    assert running.stdout
    assert running.stdout.readline() == "started\n"
    before = home.files.state()
    assert before
    os.kill(before.pid, signal.SIGKILL)
    began = time.monotonic()
    assert said(running) == [before.url, "started", before.url]
    assert time.monotonic() - began < 120  # without it Prefect's client repeats its requests for minutes, and gives up
    after = home.files.state()
    assert after
    assert after.pid != before.pid


def test_one_that_is_ended_in_a_run_is_not_started_again(home: Home) -> None:
    user = home.user()
    assert user.stdout
    assert user.stdout.readline()
    assert stop_server(home.root, force=True)
    time.sleep(3 * LOOK_SECONDS)  # nothing happens meanwhile
    assert not home.files.is_alive()
    said(user)


def test_one_that_hangs_while_another_process_uses_it_is_left_alone(served: Home) -> None:
    user = served.user()
    assert user.stdout
    pid = int(user.stdout.readline())
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with server_in_use(served.root, 15) as server:
            assert server is None
        assert time.monotonic() - began < 30
    finally:
        os.kill(pid, signal.SIGCONT)
    said(user)
    assert served.serve() == pid


def test_a_stranger_at_its_port_is_not_taken_for_it(home: Home) -> None:
    pid = home.serve()
    state = home.files.state()
    assert state
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not home.files.is_alive())
    with closing(socket.create_server(("127.0.0.1", int(state.url.split(":")[2].split("/")[0])))):
        assert find_server(home.root) is None
        home.serve()
        other = home.files.state()
    assert other
    assert other.url != state.url


def test_a_stranger_that_says_it_is_ours_is_asked_for_a_proof(served: Home) -> None:
    """As one that holds the lock and answers, without the key."""
    key = served.files.folder / "key"
    before = key.read_text()
    key.write_text(before[::-1])
    try:
        assert find_server(served.root) is None
    finally:
        key.write_text(before)


def test_the_server_of_a_home_that_was_copied_is_not_the_copys(served: Home, tmp_path: Path) -> None:
    pid = served.serve()
    copy = served.copy(tmp_path / "copy")
    try:
        assert find_server(copy.root) is None
        assert copy.serve() != pid
    finally:
        copy.stop()
    assert served.serve() == pid


def test_the_server_of_a_home_that_was_moved_ends_and_another_one_starts(home: Home, tmp_path: Path) -> None:
    pid = home.serve()
    home.root.rename(tmp_path / "moved")
    moved = Home(tmp_path / "moved")
    try:
        assert moved.serve() != pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        moved.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a file away")
def test_another_users_server_is_neither_used_nor_ended(served: Home) -> None:
    pid = served.serve()
    os.chown(served.files.state_file, 12345, 12345)
    assert find_server(served.root) is None
    assert "another user" in foreign_server(served.root)
    with server_in_use(served.root, 15) as server:
        assert server is None
    down = served.penstock("down")
    assert (down.returncode, down.stderr.count("\n")) == (1, 1)
    assert "another user" in down.stderr
    os.chown(served.files.state_file, 0, 0)
    assert served.serve() == pid


def test_nothing_is_left_of_a_home_that_was_deleted(home: Home) -> None:
    pid = home.serve()
    shutil.rmtree(home.root)
    wait_for(lambda: gone(pid))
    assert not home.root.exists()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def read_only(home: Home, tmp_path: Path) -> Iterator[Home]:
    """The home on a disk that cannot be written; skipped where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "--bind", home.root, disk], capture_output=True, check=False).returncode:
        pytest.skip("only root mounts a disk")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", disk], capture_output=True, check=True)
        yield Home(disk)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_home_on_a_read_only_disk_is_one_line(read_only: Home) -> None:
    with server_in_use(read_only.root, 15) as server:
        assert server is None
    began = time.monotonic()
    done = read_only.penstock("sweep", "flights")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be written: set PENSTOCK_HOME elsewhere" in done.stderr
    assert time.monotonic() - began < 120  # most of it is the import on a busy machine; Prefect would try for ever


def test_a_database_that_is_none_is_one_line(home: Home) -> None:
    (home.root / "prefect" / "prefect.db").write_bytes(b"not a database" * 1000)
    done = home.penstock("sweep", "flights")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert "DatabaseError" in done.stderr
    assert str(home.files.log) in done.stderr


def test_a_process_may_have_a_server_of_its_own(home: Home) -> None:
    shutil.rmtree(home.files.folder)
    told, url = said(home.flow(0, PENSTOCK_SERVER="ephemeral"))
    assert (told, url) == ("started", "None")
    assert not home.files.folder.exists()


def test_down_ends_it_unless_somebody_uses_it(home: Home) -> None:
    nothing = home.penstock("down", "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)["server"]) == (0, None)
    user = home.user()
    assert user.stdout
    pid = int(user.stdout.readline())
    refused = home.penstock("down")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "--force" in refused.stderr
    said(user)
    done = home.penstock("down")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"process {pid}" in done.stdout
    wait_for(lambda: gone(pid))
    assert stop_server(home.root) is None


def test_doctor_and_status_say_which_server_there_is_and_start_none(home: Home) -> None:
    for command in ("doctor", "status flights", "models flights"):
        assert home.penstock(*command.split()).returncode == 0
    assert not home.files.is_alive()
    home.serve()
    server = find_server(home.root)
    assert server
    doctor = json.loads(home.penstock("doctor", "--json").stdout)
    [finding] = [finding for finding in doctor if finding["name"] == "prefect"]
    assert finding["status"] == "ok"
    assert f"{server.url}, shared by the home's commands: process {server.pid} since " in finding["detail"]
    status = home.penstock("status", "flights").stdout
    assert f"server:         {server.url}, process {server.pid} since " in status
    assert "running:        nothing" in status


def test_its_log_is_bounded(served: Home) -> None:
    with served.files.log.open("ab") as log:
        for number in range(3):
            log.write(b"%d" % number * LOG_BYTES + b"\n")
            log.flush()
            wait_for(lambda: served.files.log.stat().st_size == 0)
    assert sorted(path.name for path in served.files.folder.glob("*.log*")) == ["server.log", "server.log.1"]
    assert (served.files.folder / "server.log.1").stat().st_size == LOG_BYTES


def test_a_database_at_its_newest_version_is_not_migrated_again(template: Home, home: Home) -> None:
    schema = json.loads((template.files.folder / "schema.json").read_text())
    assert schema["database"].endswith(f"{template.root}/prefect/prefect.db")
    assert schema["revision"]
