"""What flows show in the dashboard: Markdown made from typed results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.replaying import Backfill, Replay
from schemas.results import Delivery, Monitoring, Retraction, Scores, Sweep, Training
from schemas.verdicts import Estimate, Reason
from tasks.contracts import describe_check

MOST, SHOWN = 10, 3  # reasons of an audit, and example rows of each


def rejection_rows(reasons: Sequence[Reason], rows: int) -> list[tuple[str, str, str, str, str]]:
    """The most frequent reasons for a person: rows, their share, column, check, and examples, one a line.

    Args:
        reasons: The reasons of a verdict.
        rows: How many rows the source has.

    Returns:
        Five texts a line.
    """
    lines = []
    for reason in reasons[:MOST]:
        share = f"{reason.rows / rows:.1%}" if rows else ""
        chosen = sorted(reason.examples[:SHOWN], key=lambda example: (example.file or "", example.row))
        examples = "\n".join(str(example).replace("\n", "\\n") for example in chosen)
        lines.append((f"{reason.rows:,}", share, reason.column or "(row)", describe_check(reason.check), examples))
    return lines


def audit_page(delivery: Delivery) -> str:
    """What the contract said about one source.

    Args:
        delivery: What became of the source.

    Returns:
        Markdown.
    """
    lines = [f"**{delivery.source}** -> {delivery.input}: **{delivery.status}**. {delivery.why}"]
    if audit := delivery.audit:
        counts = [("rows", audit.rows), ("accepted", audit.accepted), ("rejected", audit.rejected)]
        lines += [
            "",
            markdown_table(("", "count"), [(name, f"{n:,}") for name, n in [*counts, ("redelivered", audit.redelivered)]]),
        ]
        if audit.reasons:
            head = ("rows", "share", "column", "check", "for example")
            lines += ["", markdown_table(head, rejection_rows(audit.reasons, audit.rows))]
        if left := audit.reasons[MOST:]:
            lines += ["", f"And {len(left)} more checks; every rejected row is kept with all checks that it fails."]
    if delivery.branch:
        lines += ["", f"Left for inspection on branch `{delivery.branch}`."]
    return "\n".join(lines)


def retraction_page(result: Retraction) -> str:
    """What was taken back, and which models have seen it.

    Args:
        result: What the flow came to.

    Returns:
        Markdown.
    """
    lines = [f"**{result.source}** of {result.input}: **{result.status}**. {result.why}"]
    if result.trained_on:
        lines += ["", f"Fitted on a commit with its rows: {', '.join(f'v{version}' for version in result.trained_on)}."]
    return "\n".join(lines)


def replay_page(result: Replay) -> str:
    """The loop beside simpler ways of keeping a model, by month.

    Args:
        result: What the flow came to.

    Returns:
        Markdown.
    """
    head = ("month", *[f"{result.metric}, {course.name}" for course in result.courses])
    rows = []
    for month in result.courses[0].months:
        values = [course.months.get(month, {}).get(result.metric) for course in result.courses]
        rows.append((month, *["-" if value is None else f"{value:.4f}" for value in values]))
    total = ("all", *[f"{course.total[result.metric]:.4f}" for course in result.courses])
    trained = ("trainings", *[str(course.trained) for course in result.courses])
    return "\n".join([f"Totals from {result.judged_from:%Y-%m-%d} on.", "", markdown_table(head, [*rows, total, trained])])


def backfill_page(result: Backfill) -> str:
    """What became of each partition.

    Args:
        result: What the flow came to.

    Returns:
        Markdown.
    """
    rows = [(partition.name, partition.status, f"{partition.rows:,}", partition.why) for partition in result.partitions]
    return "\n".join([f"{result.what}: {result.why}", "", markdown_table(("partition", "", "rows", ""), rows)])


def sweep_page(result: Sweep) -> str:
    """Branches that went and branches that stay, and receipts past their time.

    Args:
        result: What the flow came to.

    Returns:
        Markdown.
    """
    lines = [f"Branches older than {result.older_than_days:g} days{' (dry run: none removed)' if result.dry_run else ''}."]
    rows = [(branch.branch, branch.what, branch.why, branch.store) for branch in result.branches]
    lines += ["", markdown_table(("branch", "", "why", "repository"), rows) if rows else "There are none."]
    if old := [(branch.path, branch.what, branch.why, branch.store) for branch in result.receipts]:
        lines += ["", "Receipts past their time.", "", markdown_table(("receipts", "", "why", "repository"), old)]
    return "\n".join(lines)


def training_page(result: Training) -> str:
    """What became of a challenger, with the gate's evidence.

    Args:
        result: What the flow came to.

    Returns:
        Markdown.
    """
    model = f" v{result.model.version}" if result.model else ""
    lines = [f"**{result.use_case}{model}: {result.status}**. {result.why.removeprefix(f'{result.status}: ')}"]
    if result.metrics:
        lines += [
            "",
            markdown_table(("metric", "on the gate's window"), [(n, f"{v:.4f}") for n, v in sorted(result.metrics.items())]),
        ]
    if result.verdict and result.verdict.checks:
        checks = [("passed" if c.passed else "**failed**", c.name, c.detail) for c in result.verdict.checks]
        lines += ["", markdown_table(("", "check", "what it saw"), checks)]
    return "\n".join(lines)


def scores_page(result: Scores) -> str:
    """How many rows went into which category.

    Args:
        result: What the flow came to.

    Returns:
        Markdown.
    """
    model = f" by v{result.model.version}" if result.model else ""
    lines = [f"**{result.use_case}: {result.status}{model}**. {result.why}"]
    if result.categories:
        lines += ["", markdown_table(("category", "rows"), [(name, f"{n:,}") for name, n in result.categories.items()])]
    if result.audit and result.audit.reasons:
        head = ("rows", "share", "column", "check", "for example")
        lines += ["", f"Rejected: {result.audit.rejected:,} of {result.audit.rows:,} rows."]
        lines += ["", markdown_table(head, rejection_rows(result.audit.reasons, result.audit.rows))]
    return "\n".join(lines)


def monitoring_page(result: Monitoring) -> str:
    """Drift, realized metrics and the decision.

    Args:
        result: What the flow came to.

    Returns:
        Markdown.
    """
    word = "retrain" if result.decision.retrain else "keep the champion"
    lines = [f"**{word}**: {result.decision.why}"]
    if result.drift:
        lines += ["", f"Drift: **{result.drift.status}**. {result.drift.why}"]
        worst = sorted(result.drift.columns, key=lambda c: -c.score)[:10]
        rows = [(c.column, c.method, f"{c.score:.3f}", "yes" if c.drifted else "", f"{c.importance:.1%}") for c in worst]
        lines += ["", markdown_table(("column", "distance", "score", "drifted", "importance"), rows)] if rows else []
        lines += ["", f"Report: `{result.drift.report}`"] if result.drift.report else []
    if result.estimate:
        known = result.realized.metrics if result.realized else {}
        estimates = [_estimated(name, result.estimate, known.get(name)) for name in sorted(result.estimate.metrics)]
        lines += ["", f"Told by the scores alone, corrected by {result.estimate.record} earlier windows:"]
        lines += [
            "",
            markdown_table(("metric", "estimated", f"{result.estimate.level:.0%} interval", "realized"), estimates),
        ]
    if result.realized:
        lines += ["", f"Labels have come for {result.coverage:.1%} of the predictions."]
        lines += [
            "",
            markdown_table(("metric", "realized"), [(n, f"{v:.4f}") for n, v in sorted(result.realized.metrics.items())]),
        ]
    if result.in_sample:
        lines += ["", f"{result.in_sample_note[:1].upper()}{result.in_sample_note[1:]}."]
    for pair in result.shadow:
        lines += ["", f"Shadow: {pair.sentence}."]
    return "\n".join(lines)


def _estimated(name: str, estimate: Estimate, realized: float | None) -> tuple[str, ...]:
    low, high = estimate.intervals.get(name, (None, None))
    held = "" if low is None else f"{low:.4f} to {high:.4f}"
    return name, f"{estimate.metrics[name]:.4f}", held, "" if realized is None else f"{realized:.4f}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    body = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in row) + " |" for row in body)


def _cell(text: str) -> str:
    """Text that stays in its cell and is shown as it is: what a file holds is neither Markdown nor HTML."""
    for mark in ("\\", "|", "<", "[", "`"):
        text = text.replace(mark, f"\\{mark}")
    return "; ".join(text.splitlines())
