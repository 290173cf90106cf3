"""A story as one HTML page: Plotly inlined once, nothing asked of the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template

from tasks.reporting.html import charts, sections
from tasks.reporting.html.charts import Figure
from tasks.reporting.html.data import Story

METRICS = 3  # charts of performance: the gate's metric, then others that are estimated


def render_report(story: Story, now: datetime | None = None) -> str:
    """The page, complete: it can be mailed, or opened without a network.

    Args:
        story: What `gather_report` gave.
        now: The moment that the page names; None for the present.

    Returns:
        HTML, with everything that it needs inside.
    """
    figures: dict[str, Figure] = {}
    body = "\n".join([_head(story, now or datetime.now(UTC)), *_sections(story, figures)])
    page = Template(files("tasks.reporting.html").joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(f"{story.case.name}: report"), body=body, plotly=_plotly(), figures=_embedded(figures)
    )


def metrics_shown(story: Story) -> list[str]:
    """The gate's metric and others that were both estimated and realized."""
    measured = [m for m in story.windows if m.estimate or m.realized]
    both = {name for m in measured if m.estimate and m.realized for name in m.estimate.metrics if name in m.realized.metrics}
    first: str = story.case.gate.metric
    preferred: list[str] = [name for name in ("auc", "log_loss", "error_rate", "accuracy", "mae", "rmse") if name in both]
    return [first, *(name for name in preferred if name != first)][:METRICS] if measured else []


def _head(story: Story, now: datetime) -> str:
    note = f"Use case {story.case.name}. Written {now:%Y-%m-%d %H:%M} UTC."
    return (
        f'<h1>{escape(story.case.question)}</h1><p class="muted">{escape(note)}</p>'
        f'<div class="tiles">{sections.tiles(story)}</div>'
    )


def _sections(story: Story, figures: dict[str, Figure]) -> Iterator[str]:
    for number, metric in enumerate(metrics_shown(story)):
        figures[f"performance-{metric}"] = charts.performance(story, metric)
        note = (
            "What the scores alone said of each window before its labels came, and what the labels said."
            if not number
            else ""
        )
        yield _section(f"Performance: {charts.title(metric)}", note, f"performance-{metric}")
    if any(m.drift and m.drift.columns for m in story.windows):
        figures["drift"] = charts.drift(story)
        note = "Distance of each column from what the model was trained on; above 1 it drifted. Strongest features on top."
        yield _section("Drift", note, "drift")
    if story.deliveries:
        figures["volume"] = charts.volume(story)
        yield _section(
            "Data", "Rows of each delivery by its newest event time; rejected rows never reach the model.", "volume"
        )
    yield _section("What happened", "", content=sections.timeline(story))
    yield _section("The champion", "", content=sections.card(story))
    if story.card and story.card.importances:
        figures["importances"] = charts.importances(story.card.importances)
        yield _section("What the champion looks at", "Share of the model's gain by feature.", "importances")


def _section(title: str, note: str, chart: str = "", content: str = "") -> str:
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    drawn = f'<div class="chart" id="{escape(chart)}"></div>' if chart else ""
    return f"<section><h2>{escape(title)}</h2>{said}{drawn}{content}</section>"


def _plotly() -> str:
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    source: str = get_plotlyjs()
    return source


def _embedded(figures: dict[str, Figure]) -> str:
    """JSON that no content can end the script with."""
    return json.dumps(figures, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
