"""The parts of a report that are text: the story window by window, and the champion's card. All of it escaped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from schemas.results import Monitoring
from tasks.registry import OVERRIDE, WHY
from tasks.reporting.html.data import Card, Delivery, Story, Trained

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Moment:
    """One line of the story; `order` keeps what happened at one time in the order of cause and effect."""

    at: datetime
    order: int
    tag: str
    style: str
    text: str


def tiles(story: Story) -> str:
    """The state of things in a few numbers."""
    metric, last = story.case.gate.metric, next((m for m in reversed(story.windows) if m.realized), None)
    promoted = sum(t.outcome == "promoted" for t in story.trained)
    accepted, rejected = (sum(getattr(d, side) for d in story.deliveries) for side in ("accepted", "rejected"))
    realized = last.realized.metrics.get(metric) if last and last.realized else None
    facts = [
        (f"v{story.card.model.version}" if story.card else "none", "champion"),
        ("-" if realized is None else f"{realized:.4f}", f"{metric}, newest labelled window"),
        (f"{sum(m.rows for m in story.windows):,}", f"predictions in {len(story.windows)} windows"),
        (f"{accepted:,}", "rows accepted"),
        (f"{rejected:,}", "rows rejected"),
        (f"{promoted} / {len(story.trained) - promoted}", "promoted / refused"),
    ]
    return "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in facts)


def timeline(story: Story) -> str:
    """What happened, oldest first, a line each."""
    moments = [*map(_delivered, (d for d in story.deliveries if d.rejected and d.at))]
    moments += [m for record in story.windows for m in _window_moments(story, record)]
    moments += [_gated(t) for t in story.trained if t.at]
    ordered = sorted(moments, key=lambda m: (m.at, m.order))
    rows = "".join(
        f'<tr><td class="when">{m.at:%Y-%m-%d}</td><td><span class="tag {m.style}">{escape(m.tag)}</span></td>'
        f"<td>{escape(m.text)}</td></tr>"
        for m in ordered
    )
    head = "<thead><tr><th>until</th><th></th><th>what happened</th></tr></thead>"
    return f'<table class="story">{head}<tbody>{rows}</tbody></table>' if rows else '<p class="note">Nothing yet.</p>'


def card(story: Story) -> str:
    """The champion: what it is for, what it was made from, how it was let through, what it rests on."""
    if story.card is None:
        return '<p class="note">There is no champion yet.</p>'
    champion, facts = story.card, _facts(story, story.card)
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts if value)
    checks = [("passed" if c["passed"] else "failed", c["name"], c["detail"]) for c in champion.verdict.get("checks", ())]
    table = _table(("", "the gate's check", "what it saw"), checks)
    return f"<dl>{listed}</dl>{_metrics(story, champion)}<h3>How it was let through</h3>{table}"


def _facts(story: Story, card: Card) -> list[tuple[str, Any]]:
    case, manifest = story.case, card.manifest
    contracts = ", ".join(f"{name} {version}" for name, version in manifest.get("contract_versions", {}).items())
    params = ", ".join(f"{name} {value}" for name, value in manifest.get("params", {}).items())
    return [
        ("question", case.question),
        ("target", f"{case.target.name} ({case.target.kind})" + (f", in {case.target.unit}" if case.target.unit else "")),
        ("model", f"{card.model.name} v{card.model.version}, sha256 {card.model.sha256[:16]}"),
        ("state", card.tags.get(OVERRIDE) or card.tags.get(WHY, "")),
        ("fitted on", f"{manifest.get('rows', 0):,} rows until {manifest.get('fitted_until')}"),
        ("data", f"{manifest.get('data_store')} at {str(manifest.get('data_commit'))[:16]}"),
        ("contracts", contracts),
        ("parameters", f"{params}, {manifest.get('rounds')} rounds, seed {manifest.get('seed')}"),
        ("not meant for", "rows that break the contracts above, or inputs far from those it was trained on"),
    ]


def _metrics(story: Story, card: Card) -> str:
    metrics = card.evaluation.get("metrics", {})
    level = card.level if card.level and card.level.get("metric") == story.case.gate.metric else None
    interval = f"{level['low']:.4f} to {level['high']:.4f}" if level else ""
    rows = [
        (name, f"{value:.4f}", interval if level and name == level["metric"] else "")
        for name, value in sorted(metrics.items())
    ]
    window = card.evaluation.get("window") or ("?", "?")
    when = f"{str(window[0])[:10]} to {str(window[1])[:10]}, {card.evaluation.get('rows', 0):,} rows"
    return f"<h3>On the gate's window ({escape(when)})</h3>{_table(('metric', 'value', '90% interval over blocks'), rows)}"


def _delivered(delivery: Delivery) -> Moment:
    text = f"{delivery.name} ({delivery.input}): {delivery.rejected:,} of {delivery.rejected + delivery.accepted:,} rows"
    return Moment(delivery.at or LONG_AGO, 0, "rejected rows", "warn", text)


def _window_moments(story: Story, record: Monitoring) -> Iterable[Moment]:
    if record.window is None:
        return
    model = f"v{record.model.version}" if record.model else "no model"
    at = record.window[1]
    text = f"{record.rows:,} predictions by {model}. {_performance_text(story, record)}{_drift_text(record)}"
    yield Moment(at, 1, "window", "muted", text)
    asked = [
        m.decision.why
        for m in story.records
        if m.arrival == record.arrival and m.model == record.model and m.decision.retrain
    ]
    for pair in record.shadow:
        yield Moment(at, 2, "shadow", "muted", f"{pair.sentence}.")
    if asked:
        yield Moment(at, 2, "retrain", "warn", asked[-1])


def _performance_text(story: Story, record: Monitoring) -> str:
    metric = story.case.gate.metric
    parts = []
    if record.realized and metric in record.realized.metrics:
        parts.append(f"Realized {metric} {record.realized.metrics[metric]:.4f}, {record.coverage:.0%} of the labels there")
    if record.estimate and metric in record.estimate.metrics:
        pair = record.estimate.intervals.get(metric)
        held = f" ({pair[0]:.4f} to {pair[1]:.4f})" if pair else ""
        parts.append(f"estimated {record.estimate.metrics[metric]:.4f}{held} without them")
    if record.in_sample:
        parts.append(record.in_sample_note)
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}. " if parts else "Its worth is not known: not enough evidence. "


def _drift_text(record: Monitoring) -> str:
    if record.drift is None:
        return "Drift was not judged."
    if record.drift.status == "no drift":
        return "No drift."
    return f"{record.drift.status.capitalize()}: {record.drift.why.rstrip('.')}."


def _gated(trained: Trained) -> Moment:
    style = "good" if trained.outcome == "promoted" else "bad"
    return Moment(trained.at or LONG_AGO, 3, f"v{trained.version} {trained.outcome}", style, trained.why)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def line(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="scroll"><table>{line(head, "th")}{body}</table></div>' if body else '<p class="note">none</p>'
