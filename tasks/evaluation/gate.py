"""The decision whether a challenger replaces the champion. It fails closed: what is missing or not a number refuses.

Both models are compared block by block on the same rows. Rows of one block depend on each other (the flights of one
day share its weather), so the blocks are the sample: a decision on seven days rests on seven gains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl

from schemas.refs import CommitId
from schemas.usecase import UseCase
from schemas.verdicts import Check, GateVerdict, Leak
from tasks.evaluation.intervals import block_interval
from tasks.evaluation.leakage import QUESTION
from tasks.evaluation.metrics import (
    HIGHER_IS_BETTER,
    block_metric,
    calibration_error,
    event_window,
    metric_expressions,
    slice_metrics,
    with_scores,
)
from tasks.evaluation.score_checks import score_flaw
from tasks.evaluation.skill import CONSTANT, SKILL, Skill, measure_skill
from tasks.features import BLOCK, TARGET
from tasks.timestamps import cast_like

ANSWER = 'write known="at_prediction" at its column in the contract if it is, leave it out of the features if not'


@dataclass(frozen=True)
class _Evidence:
    """What the checks read: per model the scored rows and the metric, and the gain over the reference per block."""

    use_case: UseCase
    rows: Mapping[str, pl.DataFrame]
    value: Mapping[str, float]
    reference: str
    weights: np.ndarray
    gains: np.ndarray
    interval: tuple[float, float]
    skill: Skill | None = None

    @property
    def gain(self) -> float:
        return float(np.average(self.gains, weights=self.weights))


def gate_challenger(
    use_case: UseCase,
    holdout: pl.DataFrame,
    challenger_scores: np.ndarray | None,
    champion_scores: np.ndarray | None,
    baseline_scores: np.ndarray | None,
    *,
    data_commit: CommitId | None,
    seed: int,
    seen_until: datetime | None = None,
    designs: int | None = None,
    constant_scores: np.ndarray | None = None,
    leaks: Sequence[Leak] = (),
    folds: int = 1,
) -> GateVerdict:
    """Compare challenger and champion on rows that neither has seen, block by block. It fails closed.

    Without a champion the baseline takes its place, and the challenger must show skill: be surely better than the base rate
    (or mean), without any margin. All checks stand in the verdict, in the order in which they were made; the first that
    failed gives the reason.

    Args:
        use_case: The use case.
        holdout: Rows with `_target` and `_block` as `split_by_time` gives them.
        challenger_scores: The challenger's, shape (n,), or (n, classes); None refuses.
        champion_scores: The champion's; None where there is no champion.
        baseline_scores: The baseline's; None refuses.
        data_commit: Commit of the data, for the verdict.
        seed: Draws the bootstrap.
        seen_until: Newest event time that either model was fitted on; a row that is not newer refuses.
        designs: How many designs were compared with the champion's on this very holdout, this one included: superiority is
            asked for then, at alpha divided by them (Bonferroni). None: the holdout is newer than what the champion saw.
        constant_scores: Those of the base rate (or mean), which a first champion must surely beat. None: `baseline_scores`
            are the constant's, or a person's own; a first champion must surely beat them.
        leaks: Features that tell the outcome too well; those to be confirmed refuse, the others are named.
        folds: How many holdouts `holdout` consists of, for the verdict.

    Returns:
        Whether the challenger is promoted, why, and each check with its numbers.
    """
    if designs is not None:
        policy = replace(use_case.gate, rule="superiority", alpha=use_case.gate.alpha / designs)
        use_case = replace(use_case, gate=policy)
    scores = {"challenger": challenger_scores, "baseline": baseline_scores}
    if champion_scores is not None:
        scores["champion"] = champion_scores
    elif constant_scores is not None:
        scores[CONSTANT] = constant_scores
    whole = _complete(use_case, holdout, scores)
    if not whole.passed:
        return _verdict(use_case, holdout, data_commit, [whole], None, designs, folds)
    checks = [whole, *_enough(use_case, holdout, seen_until)]
    evidence = _evidence(use_case, holdout, {who: np.asarray(s) for who, s in scores.items()}, seed)
    if evidence is None:
        checks.append(Check(name="blocks", passed=False, detail="fewer than two blocks in which the metric is defined"))
    else:
        checks += [*_judgments(evidence), _slices(evidence), *_calibration(evidence)]
    checks += _leakage(leaks)
    return _verdict(use_case, holdout, data_commit, checks, evidence, designs, folds)


def _complete(use_case: UseCase, holdout: pl.DataFrame, scores: Mapping[str, np.ndarray | None]) -> Check:
    flaws = [flaw for who, values in scores.items() if (flaw := score_flaw(use_case, holdout.height, values, who))]
    if missing := [name for name in (TARGET, BLOCK) if name not in holdout.columns]:
        flaws.insert(0, f"the holdout has no column {missing[0]}")
    elif unknown := holdout[TARGET].null_count() + holdout[BLOCK].null_count():
        flaws.insert(0, f"{unknown:,} holdout rows have no outcome or no block")
    if use_case.gate.metric not in metric_expressions(use_case):
        flaws.insert(0, f"the metric {use_case.gate.metric} does not fit a {use_case.target.kind} target")
    if holdout.is_empty():
        flaws.insert(0, "not enough evidence: the holdout is empty")
    detail = flaws[0] if flaws else "every row has an outcome and a finite score of each model"
    return Check(name="complete", passed=not flaws, detail=detail)


def _enough(use_case: UseCase, holdout: pl.DataFrame, seen_until: datetime | None) -> list[Check]:
    policy, blocks = use_case.gate, holdout[BLOCK].n_unique()
    checks = [
        _count("rows", holdout.height, policy.min_rows),
        _count("blocks", blocks, max(policy.min_blocks, 2)),
    ]
    if seen_until is not None and use_case.time is not None:
        stale = int((holdout[use_case.time] <= cast_like(holdout.schema[use_case.time], seen_until)).sum())
        detail = (
            f"{stale:,} of {holdout.height:,} rows are not newer than {seen_until:%Y-%m-%d %H:%M}, the newest row fitted on"
        )
        checks.insert(0, Check(name="unseen", passed=stale == 0, detail=detail))
    return checks


def is_enough(use_case: UseCase, holdout: pl.DataFrame) -> bool:
    """Whether a holdout has the rows and blocks that the gate asks for.

    Args:
        use_case: The use case.
        holdout: Rows with `_block`.

    Returns:
        Whether it has.
    """
    return not holdout.is_empty() and all(check.passed for check in _enough(use_case, holdout, None))


def _count(name: str, count: int, wanted: int) -> Check:
    detail = f"{count:,} {name}, at least {wanted:,} wanted"
    return Check(name=name, passed=count >= wanted, detail=detail if count >= wanted else f"not enough evidence: {detail}")


def _evidence(use_case: UseCase, holdout: pl.DataFrame, scores: Mapping[str, np.ndarray], seed: int) -> _Evidence | None:
    policy = use_case.gate
    rows = {who: with_scores(use_case, holdout, values) for who, values in scores.items()}
    blocks = {who: block_metric(use_case, scored, policy.metric) for who, scored in rows.items()}
    usable = np.isfinite(blocks["challenger"]["value"].to_numpy())
    if usable.sum() < 2:
        return None
    weights = blocks["challenger"]["rows"].to_numpy()[usable].astype(np.float64)
    values = {who: table["value"].to_numpy()[usable] for who, table in blocks.items()}
    reference = "champion" if "champion" in scores else "baseline"
    gains = _sign(policy.metric) * (values["challenger"] - values[reference])
    means = {who: float(np.average(each, weights=weights)) for who, each in values.items()}
    interval = block_interval(weights, gains, policy.alpha, seed)
    skill = None
    if reference == "baseline":
        name = CONSTANT if CONSTANT in scores else "baseline"
        over = _sign(policy.metric) * (values["challenger"] - values[name])
        skill = measure_skill(use_case, name, means.pop(CONSTANT, means["baseline"]), weights, over)
    return _Evidence(use_case, rows, means, reference, weights, gains, interval, skill)


def _judgments(evidence: _Evidence) -> list[Check]:
    """What is asked of the gain. The margin is for champions: it says what a team would lose, and before there is none."""
    skill = [evidence.skill.check(evidence.use_case, evidence.value["challenger"])] if evidence.skill else []
    rule = [] if evidence.skill and evidence.skill.name == "baseline" else [_rule(evidence)]
    return [*skill, _baseline(evidence), *rule]


def _sign(metric: str) -> float:
    return 1.0 if metric in HIGHER_IS_BETTER else -1.0


def _baseline(evidence: _Evidence) -> Check:
    metric = evidence.use_case.gate.metric
    ours, simple = evidence.value["challenger"], evidence.value["baseline"]
    detail = f"{metric} {ours:.4f} against the baseline's {simple:.4f}"
    return Check(name="baseline", passed=_sign(metric) * (ours - simple) > 0, detail=detail)


def _rule(evidence: _Evidence) -> Check:
    policy = evidence.use_case.gate
    bar = 0.0 if policy.rule == "superiority" else -policy.margin
    passed = evidence.interval[0] > bar
    ours, theirs = evidence.value["challenger"], evidence.value[evidence.reference]
    sure = "surely" if passed else "not surely"
    detail = (
        f"{policy.metric} {ours:.4f} against the {evidence.reference}'s {theirs:.4f}: the gain of {evidence.gain:+.4f} is "
        f"{sure} above {bar:+.4f} ({100 * (1 - policy.alpha):.4g}% interval from {evidence.interval[0]:+.4f})"
    )
    return Check(name=policy.rule, passed=passed, detail=detail)


def _slices(evidence: _Evidence) -> Check:
    policy = evidence.use_case.gate
    ours, theirs = [slice_metrics(evidence.use_case, evidence.rows[who]) for who in ("challenger", evidence.reference)]
    gains = {
        name: _sign(policy.metric) * (own - other)
        for name in ours
        if (own := ours[name][policy.metric]) is not None and (other := theirs[name][policy.metric]) is not None
    }
    if not gains:
        return Check(name="slices", passed=True, detail=f"no slice has {policy.min_slice_rows:,} rows")
    worst = min(gains, key=lambda name: gains[name])
    detail = f"{policy.metric} gains least in {worst}, {gains[worst]:+.4f}; a slice may lose {policy.slice_margin:.4f}"
    return Check(name="slices", passed=gains[worst] >= -policy.slice_margin, detail=detail)


def _calibration(evidence: _Evidence) -> list[Check]:
    policy = evidence.use_case.gate
    ours, theirs = [calibration_error(evidence.use_case, evidence.rows[who]) for who in ("challenger", evidence.reference)]
    if ours is None or theirs is None:
        return []
    most = max(policy.max_calibration_error, theirs + policy.calibration_slack)
    detail = f"calibration error {ours:.4f}, the {evidence.reference}'s {theirs:.4f}; at most {most:.4f} allowed"
    return [Check(name="calibration", passed=ours <= most, detail=detail)]


def _leakage(leaks: Sequence[Leak]) -> list[Check]:
    """Whether each column that speaks of a leak was said to be known in time; no check where nothing was found."""
    if not leaks:
        return []
    asked = [leak for leak in leaks if leak.confirm]
    said = "; ".join(f"{leak.column}: {leak.why}" for leak in asked or leaks)
    return [Check(name="leakage", passed=not asked, detail=f"confirm: {QUESTION} {said}; {ANSWER}" if asked else said)]


def _verdict(
    use_case: UseCase,
    holdout: pl.DataFrame,
    commit: CommitId | None,
    checks: list[Check],
    evidence: _Evidence | None,
    designs: int | None,
    folds: int,
) -> GateVerdict:
    failed = next((check for check in checks if not check.passed), None)
    deciding = next((check for name in (use_case.gate.rule, SKILL) for check in checks if check.name == name), checks[0])
    return GateVerdict(
        promoted=failed is None and evidence is not None,
        why=f"refused: {failed.detail}" if failed else f"promoted: {deciding.detail}",
        metric=use_case.gate.metric,
        **(dict(evidence.value) if evidence else {}),
        interval=evidence.interval if evidence else None,
        window=event_window(use_case, holdout) if use_case.time in holdout.columns else None,
        rows=holdout.height,
        blocks=holdout[BLOCK].n_unique() if BLOCK in holdout.columns else 0,
        data_commit=commit,
        designs=designs,
        folds=folds,
        checks=tuple(checks),
    )
