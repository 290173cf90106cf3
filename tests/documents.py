"""A document's commands, run in order as written: one bash script that stops at the first failure."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path


def bash_blocks(text: str) -> list[str]:
    """The bash blocks of a Markdown text."""
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)


def script(commands: Iterable[str]) -> str:
    """One script of all commands, which leaves no process behind."""
    return "\n".join(["set -em", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *commands])


def says(script: str, expected: Iterable[str], folder: Path, environment: Mapping[str, str], seconds: float) -> None:
    """Run a script in a folder: it succeeds and says all that is expected."""
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=seconds
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    for text in expected:
        assert text in said, f"{text!r} is not in:\n{said}"
