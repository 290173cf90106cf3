"""How a flow is entered: unknown names and bad values are refused in one line, and its state says what came of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import PurePath
from typing import Any, ParamSpec, TypeVar, get_type_hints

from prefect import Flow, runtime, tags
from prefect.context import FlowRunContext
from prefect.exceptions import MissingResult, ParameterTypeError
from prefect.states import Completed
from prefect.utilities.callables import get_call_parameters

from schemas.errors import UsageError
from tasks.orchestration.entry_checks import begin_flow as begin_flow
from tasks.orchestration.installation import is_deployed
from tasks.orchestration.local_server import use_local_server
from tasks.versions import is_lake_gone, lake_gone

P = ParamSpec("P")
R = TypeVar("R")
TAG = "penstock"
CHECKS = "entry_checks"  # an attribute of a flow's function


_made: ContextVar[list[Any] | None] = ContextVar("made", default=None)


class PenstockFlow(Flow[P, R]):
    """A flow whose parameters are those that it names: the dashboard, an event or a schedule may say anything."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        """Run the flow and give its result, also where the server took its last state and the reply was lost.

        It runs on the Prefect server that is set, else on the one that all of the home share.

        Prefect then asks again, and is given the state that the server has, which holds no result.
        """
        if FlowRunContext.get() is None:
            self._check_entry(args, kwargs)
        results: list[R] = []
        token = _made.set(results)
        try:
            with use_local_server():
                return super().__call__(*args, **kwargs)
        except MissingResult:
            if not results:
                raise
            return results[0]
        finally:
            _made.reset(token)

    def _check_entry(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse what can be told from the parameters alone, before a server is started."""
        parameters = self.validate_parameters(get_call_parameters(self.fn, args, kwargs))
        if "use_case" in parameters:
            begin_flow(parameters["use_case"])
        for check in getattr(self.fn, CHECKS, ()):
            check(**{name: parameters[name] for name in inspect.signature(check).parameters})

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters, typed. Raises UsageError, one line, for a name or a value that the flow does not take."""
        known = inspect.signature(self.fn).parameters
        if unknown := sorted(parameters.keys() - known.keys()):
            raise UsageError(f"{self.name}: no parameter {', '.join(unknown)}; it takes {', '.join(known)}")
        missing = [
            name for name, parameter in known.items() if parameter.default is parameter.empty and name not in parameters
        ]
        if missing:
            raise UsageError(f"{self.name}: say {', '.join(missing)}; it takes {', '.join(known)}")
        try:
            return super().validate_parameters(parameters)
        except ParameterTypeError as error:
            raise UsageError(f"{self.name}: {' '.join(str(error).split())}") from None


def penstock_flow(
    name: str,
    run_name: str | Callable[[], str],
    kind: type[PenstockFlow[Any, Any]] = PenstockFlow,
    checks: Sequence[Callable[..., None]] = (),
) -> Callable[[Callable[P, R]], PenstockFlow[P, R]]:
    """Make a function a flow whose parameters are checked by name, and whose final state says what came of it.

    Its result has a sentence in `why`, which the final state repeats.

    Args:
        name: Name of the flow.
        run_name: Name of its runs: a template over the parameters, or a function.
        kind: The class of the flow.
        checks: What is called, with those of the parameters that it names, before anything is started; it raises what the
            flow refuses.

    Returns:
        A decorator.
    """

    def decorator(function: Callable[P, R]) -> PenstockFlow[P, R]:
        run = _with_final_state(function)
        setattr(run, CHECKS, tuple(checks))
        return kind(run, name=name, flow_run_name=run_name)

    return decorator


def _with_final_state(function: Callable[P, R]) -> Callable[P, R]:
    """The function, whose runs are tagged and end in a state that says why."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Any:
        with tags(*([TAG] if is_deployed() else [])):  # runs within this one belong to the deployed system, too
            try:
                result = function(*args, **kwargs)
            except OSError as error:
                if is_lake_gone(error):
                    raise lake_gone(error) from error
                raise
        _keep(result)
        return Completed(message=sentence(result), data=result)

    # Annotations as types: Prefect would look their names up in this module, not in the function's own.
    run.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    run.__annotations__ = get_type_hints(function, include_extras=True)
    return run


def _keep(result: Any) -> None:
    """Note a result for whoever called the flow. A function of its own: Dask ships flows, but no context variables."""
    if (results := _made.get()) is not None:
        results.append(result)


def sentence(result: Any) -> str:
    """What a result says of itself: its status, where it has one, and why."""
    why, status = getattr(result, "why", ""), getattr(result, "status", "")
    return why if status in ("", "done") or why.startswith(status) else f"{status}: {why}"


def run_name_from_source() -> str:
    """A run's name for a flow that takes a source: the flow, the use case and the file's name.

    Returns:
        The name.
    """
    parameters = runtime.flow_run.parameters
    source = parameters.get("source") or parameters.get("published") or ""
    return " ".join([runtime.flow_run.flow_name or "", parameters["use_case"], PurePath(str(source)).name]).strip()


def actor_name(*people: str | None) -> str:
    """Who moves an alias: the people who asked for it, and the flow run it happened in.

    Args:
        people: Names; empty ones are left out.

    Returns:
        One line.
    """
    return ", ".join(filter(None, [*people, f"flow run {flow_run_id()}" if flow_run_id() else ""]))


def flow_run_id() -> str:
    """Id of the flow run this is called in, or ''.

    Returns:
        The id.
    """
    return str(runtime.flow_run.id or "")
