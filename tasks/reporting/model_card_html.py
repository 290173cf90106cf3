"""A model card's sections as Markdown, and as one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from tasks.reporting.artifacts import markdown_table

SIDE, EDGE = 260, 34  # of the calibration plot, px

STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --dim: #5c6b7a; --line: #d5dde5; --paper: #fff; --blue: #2468a8;
  --wash: #eaf1f8; --red: #b3261e; --green: #1b7a43 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --dim: #9fb0c0; --line: #35424f; --paper: #151c23;
  --blue: #6fb0ea; --wash: #1f2b37; --red: #f28b82; --green: #7bd88f } }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 56rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.9rem } h2 { margin: 2.2rem 0 .4rem; font-size: 1.15rem; border-bottom: 2px solid var(--blue) }
.lead { color: var(--dim); font-size: 1.05rem } p { margin: .4rem 0 }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem 1rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
th { color: var(--dim); font-weight: 600; white-space: nowrap } td:last-child { overflow-wrap: anywhere }
.bar { width: 14rem } .bar i { display: block; height: .8rem; background: var(--blue); border-radius: 2px }
.passed { color: var(--green) } .failed { color: var(--red); font-weight: 600 }
svg text { fill: var(--dim); font-size: 12px } svg { background: var(--wash); border-radius: 4px }
"""


@dataclass(frozen=True)
class Section:
    """A heading with a sentence and a table; without a head its rows are facts. `bars` draws one for each row.

    `points`, pairs in [0, 1], are drawn as a curve beside the diagonal.
    """

    title: str
    text: str = ""
    head: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    bars: Sequence[float] = field(default=())
    points: Sequence[tuple[float, float]] = field(default=())


def markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The card as Markdown."""
    lines = [f"# {title}", "", lead]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        lines += [section.text, ""] if section.text else []
        if section.rows and len(section.rows[0]) == 1:
            lines += [f"- {row[0]}" for row in section.rows]
        elif section.rows:
            lines += [markdown_table(section.head or ("", ""), section.rows)]
    return "\n".join(lines) + "\n"


def html(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The card as one HTML file, without scripts."""
    body = "".join(_section(section) for section in sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f'<body><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{body}</body></html>\n'
    )


def _section(section: Section) -> str:
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    return f"<h2>{escape(section.title)}</h2>{text}{_plot(section.points)}{_rows(section)}"


def _rows(section: Section) -> str:
    if section.rows and len(section.rows[0]) == 1:
        return "<ul>" + "".join(f"<li>{escape(row[0])}</li>" for row in section.rows) + "</ul>"
    head = "".join(f"<th>{escape(cell)}</th>" for cell in section.head)
    most = max(section.bars, default=0.0) or 1.0
    bars = [f'<td class="bar"><i style="width:{100 * bar / most:.1f}%"></i></td>' for bar in section.bars]
    lines = "".join(
        f"<tr>{_cells(row, facts=not section.head)}{bars[n] if bars else ''}</tr>" for n, row in enumerate(section.rows)
    )
    return f'<div class="scroll"><table>{f"<tr>{head}</tr>" if head else ""}{lines}</table></div>' if lines else ""


def _cells(row: tuple[str, ...], *, facts: bool) -> str:
    cells = [
        f'<td class="{cell}">{cell}</td>' if cell in ("passed", "failed") else f"<td>{escape(cell)}</td>" for cell in row
    ]
    if facts:
        cells[0] = f'<th scope="row">{escape(row[0])}</th>'
    return "".join(cells)


def _plot(points: Sequence[tuple[float, float]]) -> str:
    if not points:
        return ""
    inner = SIDE - 2 * EDGE

    def place(x: float, y: float) -> str:
        return f"{EDGE + inner * x:.1f},{SIDE - EDGE - inner * y:.1f}"

    curve = " ".join(place(*point) for point in points)
    dots = "".join('<circle cx="{}" cy="{}" r="3.5" fill="var(--blue)"/>'.format(*place(*p).split(",")) for p in points)
    ends = [place(0, 0), place(1, 1)]
    return (
        f'<svg width="{SIDE}" height="{SIDE}" role="img" aria-label="what was said against what came true">'
        f'<polyline points="{ends[0]} {ends[1]}" stroke="var(--dim)" stroke-dasharray="4" fill="none"/>'
        f'<polyline points="{curve}" stroke="var(--blue)" stroke-width="2" fill="none"/>{dots}'
        f'<text x="{EDGE - 4}" y="{SIDE - 12}">0</text><text x="{SIDE - EDGE - 4}" y="{SIDE - 12}">1</text>'
        f'<text x="{SIDE / 2 - 16}" y="{SIDE - 12}">said</text><text x="{EDGE - 14}" y="{EDGE + 4}">1</text>'
        f'<text x="14" y="{SIDE / 2 + 32}" transform="rotate(-90 14 {SIDE / 2 + 32})">came true</text></svg>'
    )
