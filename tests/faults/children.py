"""Python children for fault tests: real processes that are killed at a named point or start their work at one moment."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from tasks.fault_injection import VARIABLE
from tests.forked import ROOT as ROOT
from tests.forked import Child, fork

SECONDS = 120.0

Done = subprocess.CompletedProcess[str]


@contextmanager
def started(
    script: str, *arguments: str, kill_point: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """A running child in the project's folder, warnings as errors, all three streams piped; no child outlives the block."""
    inherited = {**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: kill_point, **(environment or {})}
    child = fork(script, arguments, inherited)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.close()


def finished(child: Child) -> Done:
    """Wait for a child and collect what it said."""
    out, err = child.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(child.args, child.wait(), out, err)


def run(script: str, *arguments: str, kill_point: str = "", environment: Mapping[str, str] | None = None) -> Done:
    """Run a script to its end; `kill_point` ends it there by SIGKILL."""
    with started(script, *arguments, kill_point=kill_point, environment=environment) as child:
        return finished(child)


def killed(done: Done) -> bool:
    """Whether a child died by SIGKILL."""
    return done.returncode == -signal.SIGKILL


def completed(script: str, *arguments: str) -> str:
    """What a script prints that must succeed."""
    return said(run(script, *arguments))


def said(done: Done) -> str:
    """What a child printed. It must have succeeded."""
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def together(script: str, arguments: Sequence[Sequence[str]]) -> list[Done]:
    """Run a script once for each list of arguments, all at one moment: each child prints a line, then waits in `input()`."""
    with ExitStack() as stack:
        children = [stack.enter_context(started(script, *each)) for each in arguments]
        for child in children:
            assert child.stdout
            assert child.stdout.readline(), finished(child).stderr
        for child in children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        return [finished(child) for child in children]
