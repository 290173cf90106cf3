"""Charts of a report as Plotly figures: plain values, colours by the name of a style variable ('--...')."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from schemas.results import Monitoring
from schemas.score_columns import SCORE
from schemas.verdicts import ColumnDrift
from tasks.evaluation import HIGHER_IS_BETTER
from tasks.features import TARGET
from tasks.reporting.html.data import Story, Trained

Figure = dict[str, Any]
FEATURES = 30  # most rows of the matrix
WORDS = {SCORE: "the model's score", TARGET: "the outcome"}
TITLES = {"auc": "AUC", "rmse": "RMSE", "mae": "MAE"}
WHOLE = "%Y-%m-%d %H:%M"


def performance(story: Story, metric: str) -> Figure:
    """Estimated and realized values of one metric by window, with the gate's outcomes and requests in a strip above."""
    windows = [m for m in story.windows if m.window and (_of(m.estimate, metric) or _of(m.realized, metric))]
    x = [_middle(m) for m in windows]
    traces = [*_band(windows, x, metric), *_lines(windows, x, metric), *_limit(story, windows, x, metric), *_strip(story)]
    return _figure(
        traces,
        yaxis={"title": {"text": title(metric)}, "domain": [0, 0.82]},
        yaxis2={"domain": [0.88, 1], "range": [0, 2], "visible": False, "fixedrange": True},
        shapes=[_line(t) for t in story.trained if t.at],
    )


def drift(story: Story) -> Figure:
    """Distance of each feature in each window, as a multiple of its threshold; the model's strongest features on top."""
    windows = [m for m in story.windows if m.drift and m.drift.columns and m.window]
    names = _by_importance(windows)[:FEATURES]
    scored = [{c.column: c for c in m.drift.columns} for m in windows if m.drift]
    cells = [[each.get(name) for each in scored] for name in names]
    trace = {
        "type": "heatmap",
        "x": _starts(windows),
        "y": [WORDS.get(name, name) for name in names],
        "z": [[c.score / c.threshold if c else None for c in row] for row in cells],
        "text": [[f"{_span(m)}<br>{_cell(c)}" for m, c in zip(windows, row, strict=True)] for row in cells],
        "hovertemplate": "%{y}<br>%{text}<extra></extra>",
        "zmin": 0,
        "zmax": 3,
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "colorscale": [[0, "--cool"], [1 / 3, "--warm"], [1, "--hot"]],
        "colorbar": {
            "title": {"text": "distance / threshold", "side": "right"},
            "thickness": 10,
            "outlinewidth": 0,
            "tickvals": [0, 1, 2, 3],
            "ticktext": ["0", "1", "2", "3+"],
        },
    }
    return _figure(
        [trace],
        height=140 + 24 * len(names),
        xaxis={"type": "category"},
        yaxis={"autorange": "reversed", "type": "category", "ticks": ""},
    )


def volume(story: Story) -> Figure:
    """Rows of each delivery, by input; those that the contract rejected in a panel of their own: they are few."""
    inputs = [i.name for i in story.case.inputs]
    traces = []
    for number, name in enumerate(inputs):
        deliveries = [d for d in story.deliveries if d.input == name]
        trace: Figure = {"x": [_day(d.at) for d in deliveries], "name": name, "legendgroup": name, "type": "bar"}
        trace |= {
            "text": [d.name for d in deliveries],
            "marker": {"color": f"--series{number % 4 + 1}"},
            "textposition": "none",
        }
        hover = "%{text}<br>%{y:,} rows "
        traces.append({**trace, "y": [d.accepted for d in deliveries], "hovertemplate": hover + "accepted<extra></extra>"})
        rejected: Figure = {"y": [d.rejected for d in deliveries], "yaxis": "y2", "showlegend": False}
        traces.append({**trace, **rejected, "hovertemplate": hover + "rejected<extra></extra>"})
    return _figure(
        traces,
        barmode="stack",
        legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"},
        xaxis={"type": "category", "categoryorder": "category ascending", "anchor": "y2"},
        yaxis={"title": {"text": "accepted"}, "domain": [0.42, 1]},
        yaxis2={"title": {"text": "rejected"}, "domain": [0, 0.3], "rangemode": "tozero"},
    )


def importances(shares: Mapping[str, float]) -> Figure:
    """Each feature's share of the champion's gain."""
    ordered = sorted(shares.items(), key=lambda pair: pair[1])[-FEATURES:]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [share for _, share in ordered],
        "y": [name for name, _ in ordered],
        "marker": {"color": "--series1"},
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
    }
    return _figure([trace], height=80 + 20 * len(ordered), showlegend=False, xaxis={"tickformat": ".0%"})


def _band(windows: Sequence[Monitoring], x: Sequence[str], metric: str) -> list[Figure]:
    pairs = [(at, m.estimate.intervals.get(metric)) for at, m in zip(x, windows, strict=True) if m.estimate]
    held = [(at, pair) for at, pair in pairs if pair]
    if not held:
        return []
    at_moments = [at for at, _ in held]
    style = {"type": "scatter", "mode": "lines", "line": {"width": 0, "color": "--estimated"}, "hoverinfo": "skip"}
    low = {**style, "x": at_moments, "y": [pair[0] for _, pair in held], "showlegend": False}
    high = {**style, "x": at_moments, "y": [pair[1] for _, pair in held], "fill": "tonexty", "fillcolor": "--band"}
    return [low, {**high, "name": "90% interval"}]


def _lines(windows: Sequence[Monitoring], x: Sequence[str], metric: str) -> list[Figure]:
    style = {"type": "scatter", "mode": "lines+markers", "x": x}
    labels = [_window_title(m) for m in windows]
    estimated = {"y": [_of(m.estimate, metric) for m in windows], "name": "estimated, without labels"}
    realized = {"y": [_of(m.realized, metric) for m in windows], "name": "realized, with labels"}
    template = "%{customdata}<br>%{y:.4f}"
    return [
        {**style, **estimated, "customdata": labels, "hovertemplate": template + " estimated<extra></extra>",
         "line": {"color": "--estimated", "dash": "dot", "width": 2}, "marker": {"symbol": "diamond", "size": 7}},
        {**style, **realized, "customdata": labels, "hovertemplate": template + " realized<extra></extra>",
         "line": {"color": "--realized", "width": 2.5}, "marker": {"size": 7}},
    ]  # fmt: skip


def _limit(story: Story, windows: Sequence[Monitoring], x: Sequence[str], metric: str) -> list[Figure]:
    """The value beyond which a retraining is asked for, where the metric is the gate's."""
    limits = [m.decision.limit for m in windows]
    if metric != story.case.gate.metric or not any(limit is not None for limit in limits):
        return []
    y = [None if limit is None else 1 - limit if metric in HIGHER_IS_BETTER else limit for limit in limits]
    line = {"color": "--muted", "width": 1, "dash": "dash", "shape": "hvh"}
    style = {"name": "limit", "line": line, "hovertemplate": "limit %{y:.4f}<extra></extra>"}
    return [{"type": "scatter", "mode": "lines", "x": x, "y": y, **style}]


def _strip(story: Story) -> list[Figure]:
    """Promotions, refusals and requests, as markers above the lines."""
    marks: list[tuple[str, str, str, list[tuple[datetime, str, str]]]] = [
        ("promoted", "triangle-up", "--good", _outcomes(story.trained, "promoted")),
        ("refused", "x", "--bad", _outcomes(story.trained, "refused")),
        ("retraining asked for", "circle-open", "--muted", _requests(story)),
    ]
    return [_marks(*mark) for mark in marks if mark[3]]


def _marks(name: str, symbol: str, color: str, marks: Sequence[tuple[datetime, str, str]]) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers+text" if any(label for _, label, _ in marks) else "markers",
        "x": [at.strftime(WHOLE) for at, _, _ in marks],
        "y": [0.3 if symbol == "circle-open" else 1 for _ in marks],
        "text": [label for _, label, _ in marks],
        "customdata": [_wrapped(why) for _, _, why in marks],
        "textposition": "top center",
        "textfont": {"size": 10},
        "hovertemplate": f"{name} %{{text}}<br>%{{customdata}}<extra></extra>",
        "marker": {"symbol": symbol, "color": color, "size": 10},
        "name": name,
        "yaxis": "y2",
        "cliponaxis": False,
    }


def _outcomes(trained: Sequence[Trained], outcome: str) -> list[tuple[datetime, str, str]]:
    return [(t.at, f"v{t.version}", t.why) for t in trained if t.at and t.outcome == outcome]


def _requests(story: Story) -> list[tuple[datetime, str, str]]:
    reasons = {m.window[1]: m.decision.why for m in story.records if m.window and m.decision.retrain}
    return [(at, "", why) for at, why in sorted(reasons.items())]


def _line(trained: Trained) -> Figure:
    at = trained.at.strftime(WHOLE) if trained.at else None
    color = "--good" if trained.outcome == "promoted" else "--bad"
    return {"type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 0.9,
            "line": {"color": color, "width": 1, "dash": "dot"}, "opacity": 0.5, "layer": "below"}  # fmt: skip


def _figure(traces: list[Figure], *, height: int = 360, **layout: Any) -> Figure:
    common = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "--text", "family": "system-ui, sans-serif", "size": 12},
        "hoverlabel": {"bgcolor": "--panel", "bordercolor": "--rule", "font": {"color": "--text"}, "align": "left"},
        "legend": {"orientation": "h", "y": -0.12, "x": 0, "yanchor": "top", "traceorder": "normal"},
        "hovermode": "closest",
        "dragmode": False,
    }
    axis = {"automargin": True, "gridcolor": "--rule", "linecolor": "--rule", "zeroline": False, "fixedrange": True}
    axes = {
        name: {**axis, **layout.pop(name, {})} for name in ("xaxis", "yaxis", "yaxis2") if name in layout or name[-1] == "s"
    }
    return {"data": traces, "layout": {**common, **axes, **layout}}


def _by_importance(windows: Sequence[Monitoring]) -> list[str]:
    """Columns of any window, those with most of the newest model's gain first."""
    shares: dict[str, float] = {}
    for window in windows:
        shares |= {c.column: c.importance for c in window.drift.columns} if window.drift else {}
    return sorted(shares, key=lambda name: (-shares[name], name))


def _of(measured: Any, metric: str) -> float | None:
    return measured.metrics.get(metric) if measured is not None else None


def _middle(record: Monitoring) -> str:
    first, last = record.window or (None, None)
    return (first + (last - first) / 2).strftime(WHOLE) if first and last else ""


def _span(record: Monitoring) -> str:
    first, last = record.window or (None, None)
    return f"{first:%d %b} to {last:%d %b %y}" if first and last else ""


def _cell(column: ColumnDrift | None) -> str:
    if column is None:
        return "not judged"
    return f"{column.score:.3f}, threshold {column.threshold:g}, {column.importance:.1%} of the gain"


def _starts(windows: Sequence[Monitoring]) -> list[str]:
    """The windows' first days, told apart where two begin on one day."""
    days = [f"{m.window[0]:%Y-%m-%d}" if m.window else "" for m in windows]
    return [day if days.count(day) == 1 else f"{day} ({days[: i + 1].count(day)})" for i, day in enumerate(days)]


def title(metric: str) -> str:
    """A metric's name for people."""
    return TITLES.get(metric, metric.replace("_", " "))


def _window_title(record: Monitoring) -> str:
    model = f"v{record.model.version}" if record.model else "no model"
    return f"{_span(record)}, {record.rows:,} predictions by {model}"


def _day(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d") if at else "undated"


def _wrapped(text: str, width: int = 60) -> str:
    """Text in lines, safe inside a hover label, which reads some HTML."""
    from html import escape
    from textwrap import wrap

    return "<br>".join(escape(line) for line in wrap(text, width))
