"""What a run's log says of a result: one plain sentence a step. Counts and names only, never a row's values or a URL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from schemas.refs import ModelRef
from schemas.replaying import Backfill, ReplayStep
from schemas.results import Challenge, Delivery, Monitoring, Rescan, Retraction, Scores, Sweep, Training
from schemas.usecase import UseCase
from schemas.verdicts import AuditVerdict, GateVerdict, Reason
from tasks.contracts import describe_check

MOST, SHORT = 5, 12  # reasons or names of one line; characters of a commit


def delivery_line(case: UseCase, done: Delivery) -> str:
    """Rows in, accepted, rejected and why, and what was published.

    Args:
        case: The use case.
        done: What became of the source.

    Returns:
        One line.
    """
    audit = f"{_audited(done.audit)} " if done.audit and done.audit.rows else ""
    return f"{done.source} ({done.input}): {audit}{_delivered(case, done)}"


def _delivered(case: UseCase, done: Delivery) -> str:
    if done.status == "published":
        return f"Published to main as commit {_commit(done.commit)}."
    if done.status == "rejected" and done.audit:
        most = case.input(done.input).max_rejected_share
        return f"Not published: more than {most:.2%} of the rows were rejected. Branch {done.branch} keeps them."
    word = "Refused as a whole" if done.status == "rejected" else done.status.capitalize()
    return f"{word}: {done.why}."


def _audited(audit: AuditVerdict) -> str:
    counts = f"{audit.rows:,} rows in, {audit.accepted:,} accepted, {audit.rejected:,} rejected"
    before = f", {audit.redelivered:,} delivered before" if audit.redelivered else ""
    return f"{counts}{before}{_reasons(audit.reasons)}."


def _reasons(reasons: Sequence[Reason]) -> str:
    """Checks by column with how many rows failed each, the most frequent first; a row may fail several."""
    texts = [
        f"{failure.column or 'whole row'}: {describe_check(failure.check)}, {_rows(failure.rows)}" for failure in reasons
    ]
    return f" ({_list(texts, '; ')})" if texts else ""


def retraction_line(result: Retraction) -> str:
    """What was taken back, by which commit, and which models have seen it.

    Args:
        result: What the flow came to.

    Returns:
        One line.
    """
    line = f"{result.source} ({result.input}): {result.status}. {result.why}. Commit {_commit(result.commit)}."
    affected = ", ".join(f"v{version}" for version in result.trained_on)
    return f"{line} Models that were fitted on its rows: {affected}." if affected else line


def challenger_line(
    model: ModelRef, commit: str, fitted: int, stopping: int, holdout: int, rounds: int, *, by_hash: bool = False
) -> str:
    """How many rows a challenger was fitted on, and how many were kept back.

    Args:
        model: The recorded version.
        commit: Commit of the data.
        fitted: Rows that it was fitted on.
        stopping: Rows that stopped the boosting.
        holdout: Rows that the gate judges.
        rounds: Boosting rounds.
        by_hash: Whether rows have no event time and came at once, so that a hash of their key decides.

    Returns:
        One line.
    """
    rows = f"{fitted:,} rows of commit {_commit(commit)}"
    held = f"the newest {holdout:,} are held out for the gate"
    if by_hash:
        held = f"{holdout:,} are held out for the gate by a hash of their key, since rows have no event time"
    apart = f"{stopping:,} rows stopped it early, {held}"
    return f"Challenger v{model.version} is fitted on {rows}, {rounds} rounds; {apart}."


def gate_line(case: UseCase, challenged: Challenge) -> str:
    """Challenger against champion on the rows held out, with the interval of the gain, and the checks that failed.

    Args:
        case: The use case.
        challenged: The gated challenger.

    Returns:
        One line.
    """
    verdict, version = challenged.verdict, challenged.model.version
    if verdict.challenger is None or verdict.baseline is None:
        return f"Gate for v{version}: {verdict.why}."
    word = "passed" if verdict.promoted else "not passed"
    failed = [check.name for check in verdict.checks if not check.passed]
    checks = f"failed checks: {', '.join(failed)}" if failed else f"all {len(verdict.checks)} checks passed"
    return (
        f"Gate {word} by v{version}: {verdict.metric} {verdict.challenger:.4f} against {_opponents(challenged)} on "
        f"{verdict.rows:,} rows held out{_folds(verdict)}{_span(verdict.window)}; {_gain(case, verdict)}; {checks}."
    )


def _opponents(challenged: Challenge) -> str:
    verdict, champion = challenged.verdict, challenged.champion
    simple = f"{verdict.baseline:.4f} of the baseline"
    if champion is None or verdict.champion is None:
        return f"{simple} (there is no champion yet)"
    return f"{verdict.champion:.4f} of the champion v{champion.version} and {simple}"


def _folds(verdict: GateVerdict) -> str:
    return f" in {verdict.folds} folds, each by a model that was not fitted on it" if verdict.folds > 1 else ""


def _gain(case: UseCase, verdict: GateVerdict) -> str:
    if verdict.interval is None:
        return "no interval of the gain"
    low, high = verdict.interval
    over = "champion" if verdict.champion is not None else "baseline"
    return f"{1 - case.gate.alpha:.0%} interval of the gain over the {over} {low:+.4f} to {high:+.4f}"


def refit_line(model: ModelRef, recipe_of: ModelRef, rows: int) -> str:
    """Which version ships in a challenger's place, and what it was fitted on.

    Args:
        model: The refit.
        recipe_of: The gated version.
        rows: Rows that the refit was fitted on.

    Returns:
        One line.
    """
    return f"Refit: v{model.version} is the recipe of v{recipe_of.version}, fitted on all {rows:,} labelled rows."


def training_line(result: Training) -> str:
    """What became of a version, and why.

    Args:
        result: What the flow came to.

    Returns:
        One line.
    """
    why = result.why.removeprefix(f"{result.status}: ")
    version = f"v{result.model.version}" if result.model else ""
    if result.status == "promoted":
        return f"Promoted {version} to champion: {why}."
    if result.status == "refused":
        return f"Refused {version} as champion: {why}."
    return f"Training {result.status}: {why}."


def scores_line(result: Scores) -> str:
    """Rows scored, by which model, into which categories, and where the predictions lie.

    Args:
        result: What the flow came to.

    Returns:
        One line.
    """
    audit = f"File: {_audited(result.audit)} " if result.audit and result.audit.rows else ""
    if result.status != "published" or result.predictions is None:
        return f"{audit}Scoring {result.status}: {result.why}."
    by = f" by v{result.model.version}" if result.model else ""
    kinds = f" ({_list([f'{name}: {n:,}' for name, n in result.categories.items()])})" if result.categories else ""
    lie = f"Predictions published to the prediction log as commit {_commit(result.predictions.commit)}."
    return f"{audit}{result.rows:,} rows scored{by}{kinds}. {lie}"


def window_line(case: UseCase, result: Monitoring) -> str:
    """What one window of predictions looks like: drift, and the metric, realized and estimated.

    Args:
        case: The use case.
        result: What the window came to.

    Returns:
        One line.
    """
    by = f", scored by v{result.model.version}" if result.model else ""
    drift = f"{result.drift.status}: {result.drift.why}" if result.drift else "drift not measured"
    parts = [drift, _realized(case, result), _estimated(case, result)]
    return f"Window of {result.rows:,} rows{_span(result.window)}{by}. {'. '.join(_capital(part) for part in parts)}."


def _realized(case: UseCase, result: Monitoring) -> str:
    metric, note = case.gate.metric, f"; {result.in_sample_note}" if result.in_sample else ""
    if result.realized is None and result.in_sample == result.rows > 0:
        return f"no {metric} realized{note}"
    if result.realized is None or metric not in result.realized.metrics:
        return f"no {metric} realized yet (labels have come for {result.coverage:.1%} of the rows){note}"
    value = result.realized.metrics[metric]
    return f"realized {metric} {value:.4f} (labels have come for {result.coverage:.1%} of the rows){note}"


def _estimated(case: UseCase, result: Monitoring) -> str:
    metric, estimate = case.gate.metric, result.estimate
    if estimate is None or metric not in estimate.metrics:
        return f"no {metric} estimated"
    low, high = estimate.intervals.get(metric, (None, None))
    held = "" if low is None else f" ({estimate.level:.0%} interval {low:.4f} to {high:.4f})"
    return f"estimated without labels {metric} {estimate.metrics[metric]:.4f}{held}"


def decision_line(result: Monitoring) -> str:
    """Whether to retrain, and why.

    Args:
        result: What the window came to.

    Returns:
        One line.
    """
    drift = f" ({result.drift.status})" if result.drift else ""
    word = "retrain" if result.decision.retrain else "keep the champion"
    return f"Decision: {word}{drift}: {result.decision.why}."


def sweep_line(result: Sweep) -> str:
    """How many branches and receipts went.

    Args:
        result: What the flow came to.

    Returns:
        One line.
    """
    dry = ", a dry run" if result.dry_run else ""
    kinds = ", ".join(
        f"{sum(branch.what == what for branch in result.branches)} {what}" for what in ("finished", "stale", "kept")
    )
    return f"Sweep of branches older than {result.older_than_days:g} days{dry}: {result.why} ({kinds})."


def rescan_line(result: Rescan) -> str:
    """How many files have landed, and which were started or are nobody's.

    Args:
        result: What the flow came to.

    Returns:
        One line.
    """
    line = f"Landing folder: {result.files} files, {len(result.started)} started, {len(result.again)} runs taken up again"
    names = f": {_list([*result.started, *result.again])}" if result.started or result.again else ""
    return f"{line}{names}.{f' Not taken up: {_list(result.strange)}.' if result.strange else ''}"


def backfill_line(result: Backfill) -> str:
    """How many partitions came to what; those that are not done by name.

    Args:
        result: What the flow came to.

    Returns:
        One line.
    """
    rows = sum(partition.rows for partition in result.partitions)
    left = [
        f"{partition.name} {partition.status}"
        for partition in result.partitions
        if partition.status in ("refused", "failed")
    ]
    return f"Backfill ({result.what}): {result.why}, {rows:,} rows.{f' Not done: {_list(left)}.' if left else ''}"


def replay_step_line(step: ReplayStep) -> str:
    """What one period of a replay brought.

    Args:
        step: The period.

    Returns:
        One line.
    """
    trained = f"; {', '.join(step.trained)}" if step.trained else ""
    rows = f"{step.accepted:,} rows accepted, {step.rejected:,} rejected"
    return f"{step.since:%Y-%m-%d} to {step.until:%Y-%m-%d}: {rows}{trained}; {step.why}."


def _span(window: tuple[datetime, datetime] | None) -> str:
    return f", {window[0]:%Y-%m-%d} to {window[1]:%Y-%m-%d}" if window else ""


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _commit(commit: str | None) -> str:
    return (commit or "none")[:SHORT]


def _list(names: Iterable[str], between: str = ", ") -> str:
    items = list(names)
    more = f"{between}and {len(items) - MOST} more" if len(items) > MOST else ""
    return between.join(items[:MOST]) + more


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
