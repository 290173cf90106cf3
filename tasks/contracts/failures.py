"""Why rows were rejected: every failed check with the offending value, in words and in counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from schemas.verdicts import Example, Reason
from tasks.parsing import ROW, UNTYPED, as_text

CHECKS, REASONS = "_checks", "_reasons"
EXAMPLES, LOOKED_AT, LONGEST = 5, 200, 200
RECORD = "record"
UNIT = "\x1f"  # ASCII's unit separator, in no check's name: joining and splitting is 20 times faster than making lists


@dataclass(frozen=True)
class Failure:
    """One check and the rows (of the frame at hand) that fail it; `shows` are the columns whose values say why."""

    column: str | None
    check: str
    failed: pl.Series
    shows: tuple[str, ...]

    @property
    def label(self) -> str:
        """The check as a rejected row names it."""
        return f"{self.column}: {self.check}" if self.column else self.check


@dataclass
class FailureCounts:
    """Counts and examples per check, over all pieces of a source, or of the `file` at hand."""

    file: str | None = None
    rows: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    examples: dict[tuple[str, str | None], list[Example]] = field(default_factory=lambda: defaultdict(list))

    def add(self, check: str, column: str | None, rows: int, examples: pl.DataFrame) -> None:
        """Count rows that failed a check; of `examples`, row number and value, those with other values come first."""
        self.rows[check, column] += rows
        kept = self.examples[check, column]
        shown = examples.head(LOOKED_AT)
        telling = shown.filter(shown.to_series(1).is_first_distinct()).head(EXAMPLES)
        several = pl.concat([telling, shown.join(telling, on=ROW, how="anti", maintain_order="left")])
        left = several.head(EXAMPLES - len(kept)).iter_rows()
        kept += [Example(row=row, value=value[:LONGEST], file=self.file) for row, value in left]

    def reasons(self) -> tuple[Reason, ...]:
        """The checks that failed, the most frequent first."""
        order = sorted(self.rows.items(), key=lambda item: (-item[1], item[0][1] or "", item[0][0]))
        return tuple(
            Reason(check=check, column=column, rows=rows, examples=tuple(self.examples[check, column]))
            for (check, column), rows in order
        )


def explain(
    rows: pl.DataFrame, failures: Sequence[Failure], types: Mapping[str, pl.DataType], tally: FailureCounts
) -> pl.DataFrame:
    """The rejected rows with `_checks` (list of text) and `_reasons` (text), counted in `tally`.

    A value that could not be typed is told by its original text, and no check that reads it is told beside it.
    """
    untyped = _untyped(rows, types, tally)
    judged = _judged(rows, failures)
    for failure, failed in zip(failures, judged, strict=True):
        if failed.any():
            shown = rows.with_columns(_shown(failure.shows, types).alias("shown"))["shown"]
            examples = pl.DataFrame([rows[ROW], shown]).filter(failed)
            tally.add(failure.check, failure.column, examples.height, examples)
            untyped.append((failed, pl.lit(failure.label), pl.lit(f"{failure.label} fails for ") + shown))
    if not untyped:
        return rows.with_columns(pl.lit([], pl.List(pl.String)).alias(CHECKS), pl.lit("").alias(REASONS))
    checks = _joined([pl.when(failed).then(label) for failed, label, _ in untyped], UNIT).str.split(UNIT)
    reasons = _joined([pl.when(failed).then(text) for failed, _, text in untyped], "; ")
    return rows.with_columns(checks.alias(CHECKS), reasons.alias(REASONS))


def _joined(texts: Sequence[pl.Expr], separator: str) -> pl.Expr:
    return pl.concat_str(texts, separator=separator, ignore_nulls=True)


def _shown(columns: Sequence[str], types: Mapping[str, pl.DataType]) -> pl.Expr:
    texts = [as_text(pl.col(name), types[name]).fill_null("null").str.head(LONGEST) for name in columns]
    if len(texts) == 1:
        return texts[0]
    return pl.format(", ".join(f"{name}={{}}" for name in columns), *texts) if texts else pl.lit("this row")


def _judged(rows: pl.DataFrame, failures: Sequence[Failure]) -> list[pl.Series]:
    """Which rows fail each check, without those whose value the check could not see because it was not typed."""
    if not _any_untyped(rows):
        return [failure.failed for failure in failures]
    names = rows[UNTYPED].list.eval(pl.element().struct.field("column").fill_null(RECORD + ":"))
    whole = names.list.contains(RECORD + ":")
    blind = {name: whole | names.list.contains(name) for failure in failures for name in failure.shows}
    return [_without(failure, blind, whole) for failure in failures]


def _without(failure: Failure, blind: Mapping[str, pl.Series], whole: pl.Series) -> pl.Series:
    failed = failure.failed & ~whole
    for name in failure.shows:
        failed &= ~blind[name]
    return failed


def _any_untyped(rows: pl.DataFrame) -> bool:
    return bool(rows[UNTYPED].list.len().sum())


def _untyped(
    rows: pl.DataFrame, types: Mapping[str, pl.DataType], tally: FailureCounts
) -> list[tuple[pl.Series, pl.Expr, pl.Expr | pl.Series]]:
    """One entry per column with values that could not be typed: which rows, the check's label, what to say."""
    if not _any_untyped(rows):
        return []
    each = rows.select(ROW, UNTYPED).explode(UNTYPED, empty_as_null=False).unnest(UNTYPED)
    columns_untyped: list[tuple[pl.Series, pl.Expr, pl.Expr | pl.Series]] = []
    for (column,), column_texts in each.partition_by("column", as_dict=True, maintain_order=True).items():
        check = f"dtype('{types[str(column)]}')" if column is not None else RECORD
        label = f"{column}: {check}" if column is not None else RECORD
        texts = rows.select(ROW).join(column_texts.select(ROW, "text"), on=ROW, how="left", maintain_order="left")["text"]
        tally.add(check, str(column) if column is not None else None, column_texts.height, column_texts.select(ROW, "text"))
        what = (
            f"{column} cannot be {types[str(column)]}: "
            if column is not None
            else "the record has not the header's fields: "
        )
        columns_untyped.append((texts.is_not_null(), pl.lit(label), pl.lit(what) + texts.str.head(LONGEST)))
    return columns_untyped
