"""`python -m tests.mutation` draws single changes of the rules' modules, and says which of them no test notices.

Each change is made in a copy of the tree, and the tests of that module's rules run on it until the first fails; where none
does, every other file of tests/unit and tests/contract that imports the module or its wing. The heavy libraries are imported
once, and each run is a fork of the process that has them: of the twelve seconds of a fresh pytest, two are left. cosmic-ray
(8.7) runs one command for all modules, replaces each operator by eleven others of which most only raise TypeError, and
changes annotations; mutmut (3.8) maps tests by running them all first.
"""

from __future__ import annotations

import argparse
import ast
import functools
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.operators import Mutant, mutants

ROOT = Path(__file__).parents[2]
OURS = ("tasks", "schemas", "flows", "deployments", "penstock", "tests")
CPU_SECONDS, WALL_SECONDS = 240, 3600  # of one run: a change may make a loop endless
# Other processes take long to start, and what they show (the same bytes everywhere) no single operator breaks alone.
SLOW = ("lakefs", "in_every_process", "threads_and_processes", "made_before_pandera_knows_polars")
PLUGINS = ["-p", "no:cacheprovider", "-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin"]
SURVIVED = "SURVIVED"
tree: Path  # of this process
OPTIONS = ["-x", "-q", "-o", "timeout=0", "--hypothesis-seed=0", "-W", "ignore::pytest.PytestAssertRewriteWarning"]

# Each module with the tests of its rules, the quickest first.
MODULES: dict[str, list[str]] = {
    "tasks/evaluation/gate.py": ["tests/unit/test_gate.py"],
    "tasks/evaluation/intervals.py": ["tests/unit/test_intervals.py"],
    "tasks/evaluation/metrics.py": ["tests/unit/test_evaluation.py", "tests/unit/test_gate.py"],
    "tasks/evaluation/baseline_models.py": ["tests/unit/test_evaluation.py", "tests/unit/test_baseline.py"],
    "tasks/monitoring/retraining_policy.py": ["tests/unit/test_retraining_policy.py"],
    "tasks/monitoring/performance_estimation.py": ["tests/unit/test_performance_estimation.py"],
    "tasks/monitoring/drift.py": ["tests/unit/test_drift.py"],
    "tasks/features/splitting.py": ["tests/unit/test_splitting.py", "tests/unit/test_training.py"],
    "tasks/features/engineering.py": ["tests/unit/test_features.py", "tests/unit/test_outcomes.py"],
    "tasks/features/keys.py": ["tests/unit/test_features.py", "tests/unit/test_serving_rows.py"],
    "tasks/features/row_order.py": ["tests/unit/test_features.py"],
    "tasks/contracts/audit.py": ["tests/unit/test_contracts.py", "tests/unit/test_reasons.py"],
    "tasks/contracts/uniqueness.py": ["tests/unit/test_contracts.py"],
    "tasks/publishing/publish.py": ["tests/unit/test_publishing.py"],
    "tasks/promotion/history.py": ["tests/unit/test_history.py"],
}


def main(given: Sequence[str] | None = None) -> int:
    """Run the sample; 1 where more than a tenth survive."""
    asked = _arguments(given)
    drawn = _drawn(asked)
    if asked.list:
        print(*(mutant.name for mutant in drawn), sep="\n")
        return 0
    killers = _read_results(asked.results)
    left = [mutant for mutant in drawn if mutant.name not in killers or (asked.again and not killers[mutant.name])]
    _import_libraries()
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, fork.Pool(asked.jobs, _start_worker, (folder,)) as pool:
        modules = [[mutant for mutant in left if mutant.module == module] for module in sorted({m.module for m in left})]
        for outcomes in pool.imap_unordered(functools.partial(_judge, results=asked.results), modules):
            killers |= outcomes
    survived = [mutant.name for mutant in drawn if not killers[mutant.name]]
    print("", *survived, f"{len(drawn) - len(survived)} of {len(drawn)} killed", sep="\n")
    return int(len(survived) > len(drawn) / 10)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--seed", type=int, default=2013, help="draws the sample")
    parser.add_argument("--sample", type=int, default=60, help="changes to draw; 0: all")
    parser.add_argument("--fresh", type=int, nargs="*", default=[], help="leave out what these seeds draw")
    parser.add_argument("--module", action="append", help="draw from this module alone; may be repeated")
    parser.add_argument("--named", type=Path, help="run the changes named in this file, one a line, instead of a sample")
    parser.add_argument("--list", action="store_true", help="print what would be changed, and run nothing")
    parser.add_argument("--results", type=Path, help="file to add outcomes to; what it holds already is not run again")
    parser.add_argument("--again", action="store_true", help="run again what survived by --results")
    parser.add_argument("--jobs", type=int, default=2, help="processes, each with its own copy of the tree")
    return parser.parse_args(given)


def _drawn(asked: argparse.Namespace) -> list[Mutant]:
    every = [each for module in asked.module or MODULES for each in mutants(module, (ROOT / module).read_bytes())]
    if asked.named:
        names = set(asked.named.read_text().splitlines())
        return [each for each in every if each.name in names]
    for seed in asked.fresh:
        before = set(random.Random(seed).sample(every, min(asked.sample, len(every))))
        every = [each for each in every if each not in before]
    return sorted(random.Random(asked.seed).sample(every, min(asked.sample, len(every)))) if asked.sample else every


def _read_results(results: Path | None) -> dict[str, str | None]:
    """What killed each change by an earlier run, None where nothing did; the last outcome counts."""
    if not results or not results.exists():
        return {}
    outcomes = [line.split("\t") for line in results.read_text().splitlines()]
    return {name: None if killer == SURVIVED else killer for killer, name, _ in outcomes}


def _report(line: str, results: Path | None) -> None:
    print(line, flush=True)
    if results:
        with results.open("a") as file:
            file.write(f"{line}\n")


def _start_worker(folder: str) -> None:
    """Give this process a copy of the tree of its own."""
    global tree
    tree = Path(folder).resolve() / str(os.getpid()) / "tree"
    _copy_tree(tree)


def _judge(mutants: Sequence[Mutant], results: Path | None) -> dict[str, str | None]:
    """What kills each mutant of one module, by name."""
    _refuse_failing(MODULES[mutants[0].module])
    killers = {}
    for mutant in mutants:
        began = time.monotonic()
        killers[mutant.name] = killer = _killer(tree, mutant)
        _report(f"{killer or SURVIVED}\t{mutant.name}\t{time.monotonic() - began:.0f} s", results)
    return killers


def _refuse_failing(tests: Sequence[str]) -> None:
    if failing := _failing_test(tree, tests):
        raise RuntimeError(f"this test fails without any change, so it says nothing of one: {failing}")


@functools.cache
def _importers(module: str) -> list[str]:
    """The other test files that import a module, or its wing, whose face hands it out."""
    name = module.removesuffix(".py").replace("/", ".")
    files = sorted(path for kind in ("unit", "contract") for path in (ROOT / "tests" / kind).glob("test_*.py"))
    named = {path.relative_to(ROOT).as_posix(): _imports(path) for path in files}
    return [file for file, names in named.items() if file not in MODULES[module] and names & {name, name.rpartition(".")[0]}]


def _imports(path: Path) -> set[str]:
    """What a file imports: modules, and what it takes from them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _import_libraries() -> None:
    """Import what the tests stand on; none of these starts a thread of Python's before it is used."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import xgboost  # noqa: F401


def _copy_tree(tree: Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _killer(tree: Path, mutant: Mutant) -> str | None:
    """The first test that fails on a mutant; None where none does."""
    path = tree / mutant.module
    source = path.read_bytes()
    path.write_bytes(mutant.apply(source))
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)  # a stale one may look as new as the source
    try:
        if killer := _failing_test(tree, MODULES[mutant.module]):
            return killer
        killer = _failing_test(tree, _importers(mutant.module))
    finally:
        path.write_bytes(source)
        shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    if killer:
        _refuse_failing(_importers(mutant.module))
    return killer


def _failing_test(tree: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails, or how the run ended else; None where all pass."""
    if not tests:
        return None
    log = tree.parent / "log"
    process = os.fork()
    if process == 0:
        _run_tests(tree, tests, log)
    until = time.monotonic() + WALL_SECONDS
    while not (done := os.waitpid(process, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.05)
    if done[1] == 0:
        return None
    if os.WIFSIGNALED(done[1]):
        return "no end"
    failures = [line for line in log.read_text().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failures[0].split(" - ")[0].rpartition("/")[2] if failures else log.read_text()[-2000:]


def _run_tests(tree: Path, tests: Sequence[str], log: Path) -> None:
    """In the child: pytest on the copy, with nothing of ours imported from elsewhere."""
    import pytest

    os.setpgid(0, 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    sys.path[:] = [str(tree), *(path for path in sys.path if Path(path).resolve() != ROOT)]
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    os.environ.update(PYTHONPATH=str(tree), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", DO_NOT_TRACK="true")
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    code = pytest.main([*PLUGINS, *OPTIONS, "-k", f"not ({' or '.join(SLOW)})", *tests])
    sys.stdout.flush()
    os._exit(int(code))


if __name__ == "__main__":
    sys.exit(main())
