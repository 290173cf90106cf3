"""What every command shares: `--json`, `--debug`, exit codes, errors as one line."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from schemas.settings import Settings

READER_GONE = 141  # what a shell says of a process that SIGPIPE ended


def command(**attributes: Any) -> Callable[[Callable[..., int | None]], click.Command]:
    """A click command with `--json` and `--debug` whose function returns its exit code (None is 0)."""

    def wrap(function: Callable[..., int | None]) -> click.Command:
        @functools.wraps(function)
        def run(*args: Any, debug: bool, **kwargs: Any) -> None:
            sys.exit(guarded(lambda: function(*args, **located(kwargs)), debug=debug))

        run = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(run)
        run = click.option("--debug", is_flag=True, help="Show tracebacks and logs.")(run)
        wrapped: click.Command = click.command(**attributes)(run)
        return wrapped

    return wrap


def located(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with the use case as `module:NAME` where it lies in the project or folder at hand."""
    from schemas.usecase import registered

    if (name := arguments.get("use_case")) and name not in registered():
        from deployments.scaffold.location import nearby

        return {**arguments, "use_case": nearby(name, Path.cwd())}
    return arguments


def guarded(function: Callable[[], int | None], *, debug: bool) -> int:
    """Run a command's function; an error becomes one line on standard error and its exit code."""
    if debug:
        os.environ["PENSTOCK_DEBUG"] = "1"
        return function() or 0
    try:
        code = function() or 0
        sys.stdout.flush()  # here, and not at the interpreter's end, where nothing catches what it raises
        return code
    except (click.ClickException, click.exceptions.Exit, KeyboardInterrupt):
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except Exception as error:
        message, code = explain(error)
        click.secho(f"penstock: {message}", err=True, fg="red")
        return code


def explain(error: BaseException) -> tuple[str, int]:
    """One line and an exit code for an error, whoever raised it."""
    from schemas.errors import PenstockError, first_line

    if isinstance(error, PenstockError):
        return one_line(error), error.exit_code
    from tasks.versions import is_lake_gone

    if is_lake_gone(error):
        return f"the lake stopped answering ({first_line(error)}); is it up?", 3
    from tasks.orchestration import is_unreachable

    if is_unreachable(error):
        what = one_line(error)
        if where := os.environ.get("PREFECT_API_URL"):
            return f"Prefect's API at {where} does not answer ({what}); start the server or unset PREFECT_API_URL", 3
        return f"Prefect's server stopped answering ({what}); run it again, which starts another, or set PREFECT_API_URL", 3
    return f"{type(error).__name__}: {one_line(error)} (--debug shows where)", 1


def one_line(error: BaseException) -> str:
    """The error's message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def ready(*, flows: bool = False, check: Callable[[], None] | None = None) -> Settings:
    """Settings of the environment, with Prefect made ready in this process, also for `flows` that it will run.

    `check` is called before anything is made or started.
    """
    from deployments.prefect_server.in_process import prepare
    from schemas.settings import read_settings

    settings = read_settings()
    prepare(settings, debug=bool(os.environ.get("PENSTOCK_DEBUG")), flows=flows, check=check)
    return settings


def ready_to_run(
    use_case: str, *, source: str | None = None, input_name: str | None = None, needs_data: bool = False
) -> Settings:
    """As `ready(flows=True)`; what can be refused at once is said before the home's server is started.

    `source`: a file that must be there. `input_name`: which input it delivers. `needs_data`: whether something must have
    been ingested.
    """

    def check() -> None:
        from tasks.orchestration import begin_flow, require_data, require_source

        begin_flow(use_case)
        require_source(use_case, source, input_name)
        if needs_data:
            require_data(use_case)

    return ready(flows=True, check=check)


def show(result: Any, as_json: bool, human: Callable[[Any], None]) -> None:
    """Print a result as JSON, or as the command's own text."""
    if as_json:
        data = result.model_dump(mode="json") if hasattr(result, "model_dump") else result
        click.echo(json.dumps(data, indent=2, default=str, allow_nan=False))
    else:
        human(result)


def acting_user() -> str:
    """The person at the terminal, as the history names them."""
    import getpass
    import platform

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = str(os.getuid())
    return f"{name}@{platform.node()}"


def set_frozen(use_case: str, reason: str, *, frozen: bool, as_json: bool) -> int:
    """Freeze or thaw a use case, and say since when it is so."""
    settings = ready()
    from schemas.usecase import resolve
    from tasks import promotion
    from tasks.orchestration import cross_machine_lock
    from tasks.registry import excluding, open_registry
    from tasks.versions import open_store

    case = resolve(use_case)
    registry, log = open_registry(settings.registry_url), open_store(settings.store_url(f"{case.name}-log"))
    with excluding(cross_machine_lock):
        entry = promotion.set_hold(registry, log, case.name, frozen=frozen, who=acting_user(), reason=reason)
        why = promotion.hold_reason(registry, log, case.name)
    status = "already done" if entry is None else "frozen" if frozen else "thawed"
    document = {"use_case": case.name, "status": status, "why": why or "nothing is frozen"}
    show(document, as_json, lambda _: click.echo(f"{case.name}: {click.style(status, fg='cyan')} ({document['why']})"))
    return 0
