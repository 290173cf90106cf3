"""The decision: is a retraining worth asking for? On loss and age; drift says where to look, and never asks by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from schemas.usecase import UseCase
from schemas.verdicts import Decision, DriftVerdict
from tasks.evaluation import HIGHER_IS_BETTER

LABELLED = 0.5  # share of the rows from which labels decide alone
LOST = ("missing from the window", "all null in the window")

Cause = Literal["loss", "drift", "age", "first model", "none"]


def loss_of(use_case: UseCase, metrics: Mapping[str, float] | None) -> float | None:
    """The gate's metric as a loss (lower is better; AUC as 1 - AUC), or None where it is missing or not finite."""
    value = (metrics or {}).get(use_case.gate.metric)
    if value is None or not math.isfinite(value):
        return None
    return 1 - value if use_case.gate.metric in HIGHER_IS_BETTER else value


def should_retrain(
    use_case: UseCase,
    *,
    drift: DriftVerdict | None,
    promotion_loss: float | None,
    realized_loss: float | None,
    estimated_loss: float | None,
    model_age_days: float,
    days_since_request: float | None,
    champion_exists: bool,
    refused: bool = False,
    promotion_bound: float | None = None,
    rejected_share: float = 0.0,
    coverage: float = 0.0,
) -> Decision:
    """Whether to retrain, with the reason in a sentence. Losses as loss_of gives them; what is not finite is not known.

    Asks where there is no champion; where the realized or the estimated loss exceeds its level at promotion by more than
    the tolerance and lies above `promotion_bound` (that level is of one holdout, and uncertain); where the model is over
    its age and labels have begun to come. Where labels have come for half of the rows (`coverage`), they decide and the
    estimate does not; nor does it where the data is in trouble: too many rejected rows, or a feature lost.
    `refused`: the gate refused what the last request brought, so that the limit is wider (hysteresis).
    `days_since_request` (None: never asked) holds requests back during the cool-down, but for the first model. The cause
    is "drift" where only the estimate is too high and drift has impact.
    """
    if not champion_exists:
        return Decision(retrain=True, cause="first model", why="there is no champion yet")
    policy = use_case.monitor
    trouble = _trouble(use_case, drift, rejected_share)
    losses = {"realized": _finite(realized_loss), "estimated": _finite(estimated_loss)}
    if trouble or (losses["realized"] is not None and coverage >= LABELLED):
        losses["estimated"] = None
    known = {name: loss for name, loss in losses.items() if loss is not None}
    limit = _limit(use_case, _finite(promotion_loss), _finite(promotion_bound), refused)
    loss = max(known.values(), default=None)
    cause, why = _trigger(use_case, known, limit, drift, model_age_days)
    why = "; ".join(filter(None, (why, trouble)))
    if cause != "none" and days_since_request is not None and days_since_request < policy.cooldown_days:
        wait = f"the last request was {days_since_request:.3g} days ago, within the cool-down of {policy.cooldown_days}"
        return Decision(retrain=False, why=f"{why}, but {wait}", loss=loss, limit=limit)
    if cause == "age" and not coverage:
        no_labels = f"{why}, but no label of the window has come"  # a training would see no row that the model has not seen
        return Decision(retrain=False, cause=cause, why=no_labels, loss=loss, limit=limit)
    return Decision(retrain=cause != "none", cause=cause, why=why, loss=loss, limit=limit)


def pessimistic_loss(use_case: UseCase, level: Mapping[str, Any] | None) -> float | None:
    """The pessimistic end, as a loss, of the interval that `performance_estimation.holdout_level` gave a version."""
    if not level or level.get("metric") != use_case.gate.metric:
        return None
    return _finite(1 - float(level["low"]) if use_case.gate.metric in HIGHER_IS_BETTER else float(level["high"]))


def _limit(use_case: UseCase, loss: float | None, bound: float | None, refused: bool) -> float | None:
    if loss is None:
        return None
    policy = use_case.monitor
    widened = 1 + policy.hysteresis if refused else 1
    return loss + max(policy.loss_tolerance, (bound or loss) - loss) * widened


def _trouble(use_case: UseCase, drift: DriftVerdict | None, rejected_share: float) -> str:
    """What is wrong with the window's data, so that estimates on it mean little; '' where nothing is."""
    lost = [name for name, why in drift.unscored.items() if why in LOST] if drift else []
    troubles = (
        [f"{rejected_share:.0%} of its rows were rejected"] if rejected_share > use_case.monitor.rejected_share else []
    )
    troubles += [f"it has lost {', '.join(lost)}"] if lost else []
    return f"the window's data is in trouble: {' and '.join(troubles)}" if troubles else ""


def _trigger(
    use_case: UseCase, known: Mapping[str, float], limit: float | None, drift: DriftVerdict | None, age: float
) -> tuple[Cause, str]:
    """What would be asked for if there were no cool-down, and why."""
    policy = use_case.monitor
    has_impact = drift is not None and drift.impact >= policy.impact
    high = {name: loss for name, loss in known.items() if limit is not None and loss > limit}
    if high:
        name, loss = max(high.items(), key=lambda item: item[1])
        exceeded = f"the {name} {_unit(use_case)} of {loss:.4f} exceeds the limit of {limit:.4f}"
        cause: Cause = "drift" if has_impact and "realized" not in known else "loss"
        return cause, f"{exceeded}; {_drifted(drift)}" if has_impact else exceeded
    if age > policy.max_age_days:
        return "age", f"the model is {age:.3g} days old, more than {policy.max_age_days}"
    return "none", "; ".join(filter(None, (_no_trigger_text(use_case, known, limit), _drifted(drift))))


def _no_trigger_text(use_case: UseCase, known: Mapping[str, float], limit: float | None) -> str:
    if not known:
        return "not enough evidence of loss, neither realized nor estimated"
    listed = " and ".join(f"{name} {loss:.4f}" for name, loss in known.items())
    if limit is None:
        return f"not enough evidence of loss: {_unit(use_case)} {listed}, but its level at promotion is not known"
    return f"the {_unit(use_case)} ({listed}) keeps within the limit of {limit:.4f}"


def _drifted(drift: DriftVerdict | None) -> str:
    if drift is None or drift.status == "no drift":
        return ""
    if drift.status == "not enough evidence":
        return f"drift not judged ({drift.why})"
    names = sorted((c for c in drift.columns if c.drifted), key=lambda c: -c.importance)
    listed = ", ".join(c.column for c in names[:3]) + (", ..." if len(names) > 3 else "")
    return f"drift in {listed} ({drift.impact:.0%} of the model's gain)"


def _unit(use_case: UseCase) -> str:
    metric = use_case.gate.metric
    return f"1 - {metric}" if metric in HIGHER_IS_BETTER else metric


def _finite(loss: float | None) -> float | None:
    return loss if loss is not None and math.isfinite(loss) else None
