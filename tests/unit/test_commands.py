"""The command line's habits, seen from outside and without Prefect."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deployments.cli import COMMANDS
from deployments.commands.base import READER_GONE, explain, guarded
from schemas.errors import Refused, ServiceUnavailable, UsageError

PENSTOCK = str(Path(sys.executable).with_name("penstock"))


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PENSTOCK, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_json_and_debug(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert "--json" in result.stdout
    assert "--debug" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nsys.argv = ['penstock', '--help']\n"
        "try:\n    from deployments.cli import main; main()\nexcept SystemExit: pass\n"
        "print([m for m in ('prefect', 'polars', 'pydantic', 'mlflow', 'rich', 'pandera') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]")


WRONG = [
    ("nonsense",),
    ("ingest",),
    ("train", "flights", "--device", "tpu"),
    ("promote", "flights"),
    ("promote", "flights", "0"),
    ("promote", "flights", "1", "--override", " "),
    ("rollback", "flights"),
    ("freeze", "flights"),
    ("freeze", "flights", "--reason", " "),
    ("models", "flights", "--at", "soon"),
    ("models", "flights", "--html", "x.html"),
    ("models", "flights", "--verify", "--card", "1"),
]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_is_code_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UsageError("no such file"), 2, "no such file"),
        (Refused("worse than\nthe champion"), 1, "worse than the champion"),
        (ServiceUnavailable("MLflow is down"), 3, "MLflow is down"),
        (httpx.ConnectError("refused"), 3, "PREFECT_API_URL"),
        (RuntimeError("Failed to reach API at http://x"), 3, "PREFECT_API_URL"),
        (KeyError("surprise"), 1, "--debug"),
    ],
)
def test_an_error_is_one_line_and_a_code(error: Exception, code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise error

    assert explain(error)[1] == code
    assert guarded(fail, debug=False) == code
    out = capsys.readouterr()
    assert out.out == ""
    assert says in out.err
    assert out.err.count("\n") == 1


@pytest.mark.parametrize("lines", [1, 100_000], ids=["written at the end", "written meanwhile"])
def test_a_reader_that_goes_away_ends_a_command_quietly(lines: int) -> None:
    program = (
        "import sys, time; from deployments.commands.base import guarded; "
        f"sys.exit(guarded(lambda: print('row\\n' * {lines}) or time.sleep(0.5) or print('more') or 0, debug=False))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout
        assert command.stderr
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == READER_GONE
