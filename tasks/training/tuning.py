"""Searching parameters: a seeded study of the early-stopping loss, its trials recorded as runs under one run.

Tree-structured Parzen estimator (Bergstra et al., Algorithms for hyper-parameter optimization, 2011), hopeless trials cut
off by successive halving (Li et al., A system for massively parallel hyperparameter tuning, 2020), both by Optuna. The
first trial is the use case's own parameters, so that a search never ends below them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from schemas.digests import sha256, sorted_json
from schemas.distribution import install_command
from schemas.errors import UsageError
from schemas.fitting import Device, Plan
from schemas.refs import DataRef
from schemas.usecase import UseCase
from tasks.models import load_xgboost
from tasks.registry import ModelRegistry
from tasks.training import engines, fit
from tasks.training.dmatrix import matrix

if TYPE_CHECKING:
    import optuna
    import xgboost

Space = Callable[["optuna.Trial"], dict[str, Any]]


@dataclass(frozen=True)
class TrialResult:
    """One trial's end: its parameters, the least loss on the early-stopping rows, its round, and whether it was cut off."""

    number: int
    params: Mapping[str, Any]
    loss: float
    rounds: int
    pruned: bool


def space(trial: optuna.Trial) -> dict[str, Any]:
    """What a search varies, around what XGBoost's users commonly vary."""
    return {
        "max_depth": trial.suggest_int("max_depth", 2, 10),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "min_child_weight": trial.suggest_float("min_child_weight", 1, 300, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 300, log=True),
    }


def tune(
    case: UseCase, parts: engines.Split, data: DataRef, registry: ModelRegistry, plan: Plan
) -> tuple[UseCase, dict[str, Any]]:
    """Search for parameters: a seeded search of so many trials.

    `plan.jobs` trials run at once, in threads. One at a time the same rows and seed give the same search; several at once
    are told to the study as they end. A search that has ended before is not repeated: its result is read.

    Args:
        case: The use case.
        parts: The split rows.
        data: Commit of the data, and the repository that it lies in.
        registry: The model registry.
        plan: How many trials, and how many at once.

    Returns:
        The use case with the best parameters, and what the manifest keeps of the search.

    Raises:
        UsageError: The extra `search` is not installed.
    """
    sizes = [part.height for part in (parts.train, parts.stopping, parts.holdout)]  # they follow from the champion, too
    asked = [data.commit, case.version(), plan.model_dump(), sizes]
    study = sha256(sorted_json(asked).encode())
    parent, result = registry.begin_study(case.name, study, {"trials": plan.trials, "seed": case.training.seed})

    def record(trial: TrialResult) -> None:
        metrics = {"stopping_loss": trial.loss, "rounds": float(trial.rounds)}
        registry.record_trial(parent, trial.number, trial.params, metrics, pruned=trial.pruned)

    if result is None:
        best = search(case, parts, plan, record)
        result = {"params": best.params, "best": best.number, "stopping_loss": best.loss}
        registry.end_study(parent, result, {"stopping_loss": best.loss, "best_trial": float(best.number)})
    params = {**case.training.params, **result["params"]}
    summary = {"trials": plan.trials, "study": study, "best": result["best"], "stopping_loss": result["stopping_loss"]}
    return replace(case, training=replace(case.training, params=params)), summary


def search(case: UseCase, parts: engines.Split, plan: Plan, record: Callable[[TrialResult], None]) -> TrialResult:
    """The best trial by the loss on the early-stopping rows; `record` is told each as it ends."""
    optuna = load_optuna()
    fit.check_rows(case, train=parts.train, stopping=parts.stopping)
    bins = matrix(case, parts.train)
    watched = fit.Watched(matrix(case, parts.stopping, ref=bins), case.training.stopping_rounds)
    ended: list[TrialResult] = []
    lock = threading.Lock()

    def run_trial(number: int, params: Mapping[str, Any], trial: Any) -> TrialResult:
        own = replace(case, training=replace(case.training, params={**case.training.params, **params}))
        result = _boosted(own, number, params, trial, bins, watched, plan.device)
        with lock:
            ended.append(result)
        record(result)
        return result

    def objective(trial: Any) -> float:
        result = run_trial(trial.number + 1, space(trial), trial)
        if result.pruned:
            raise optuna.TrialPruned
        return result.loss

    with fit.params_refused(case):
        run_trial(0, {}, None)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=case.training.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=10, reduction_factor=3),
    )
    study.optimize(objective, n_trials=plan.trials - 1, n_jobs=plan.jobs)
    completed = [result for result in ended if not result.pruned and math.isfinite(result.loss)]
    if not completed:
        raise UsageError(f"{case.name}: no trial of the search gave a finite loss; look at its runs and the parameters")
    return min(completed, key=lambda result: (result.loss, result.number))


def load_optuna() -> Any:
    """Optuna, quiet. Raises UsageError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UsageError(f"a search needs Optuna: {install_command('search')}") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _boosted(
    case: UseCase,
    number: int,
    params: Mapping[str, Any],
    trial: optuna.Trial | None,
    bins: xgboost.QuantileDMatrix,
    watched: fit.Watched,
    device: Device,
) -> TrialResult:
    reporter = _LossReporter(trial)
    settings = fit.parameters(case, device, None, bins.num_row())
    booster = fit.boost(settings, bins, case.training.rounds, watched, [reporter.callback()] if trial else [])
    return TrialResult(number, dict(params), float(booster.best_score), booster.best_iteration + 1, reporter.pruned)


class _LossReporter:
    """Tells Optuna the loss after each round and stops where it prunes."""

    def __init__(self, trial: optuna.Trial | None) -> None:
        self.trial = trial
        self.pruned = False

    def callback(self) -> Any:
        xgb = load_xgboost()
        outer = self

        class Reporting(xgb.callback.TrainingCallback):  # type: ignore[misc, name-defined]
            def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
                (losses,) = evals_log[fit.STOPPING].values()
                if outer.trial:
                    outer.trial.report(float(losses[-1]), epoch)
                    outer.pruned = outer.trial.should_prune()
                return outer.pruned

        return Reporting()
