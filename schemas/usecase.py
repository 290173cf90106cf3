"""A use case: one prediction problem, declared. Nothing here computes; tasks read these values and do the work.

inputs    where rows come from, each with its contract, its key and its partitions
rows      the input whose rows are predicted; lookups add columns of other inputs to them; features are made of both
labels    the input that brings the outcomes later (or none: the rows hold the outcome themselves)
target    what is predicted, in the words of the business
policies  split, training, gate, monitoring: the numbers a team argues about
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, overload

import polars as pl

from schemas.digests import sha256, sorted_json
from schemas.errors import UsageError
from schemas.output_columns import refuse_clashes
from schemas.reader import PLAIN, Reader, check_reader, describe_reader
from schemas.row_key import ROW_COLUMNS, delivered, is_keyed_by_row, keyed_by_row
from schemas.verdicts import Kind

if TYPE_CHECKING:
    from schemas.contract import Contract

GROUP = "penstock.use_cases"
NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
Redelivery = Literal["reject", "keep_first", "replace_partition", "append"]


class Key:
    """`key="row"` is what an input is made with; what is read are the key columns of its contract."""

    @overload
    def __get__(self, spec: None, owner: type[Input]) -> None: ...
    @overload
    def __get__(self, spec: Input, owner: type[Input]) -> tuple[str, ...]: ...
    def __get__(self, spec: Input | None, owner: type[Input]) -> tuple[str, ...] | None:
        return spec.contract.key() if spec is not None else None

    def __set__(self, spec: Input, key: Literal["row"] | tuple[str, ...] | None) -> None:
        vars(spec)["key"] = key


@dataclass(frozen=True, kw_only=True)
class Input:
    """A source of rows.

    `partition` maps the input's rows to the name of the partition they lie in (a string expression of its time column);
    `time` is the event time; `known_at`, for labels, is the column that says when a row became known. `reader` says how the
    files are written; it is versioned with the contract.

    `key` reads as the key columns, unique over all of `main`: those of the contract's `Config.unique`. `key="row"` is for
    rows that nothing tells apart: the key is then `penstock_row`, a hash of what was known at the prediction, and
    `penstock_occurrence`, the number of that value in its delivery (see schemas/row_key.py); `contract` gets both columns.

    `on_redelivery` says what becomes of a row whose key lies on `main`: `reject` it, drop it (`keep_first`), or let the
    delivery replace the partitions that it touches (`replace_partition`). `append`, for `key="row"` alone, takes every row
    as a new one: its occurrence counts on from `main`. Left out it is `reject`, and `keep_first` for `key="row"`.
    """

    name: str
    contract: type[Contract]
    reader: Reader = PLAIN
    key: Key = Key()
    time: str | None = None
    partition: pl.Expr = field(default_factory=lambda: pl.lit("all"))
    known_at: str | None = None
    on_redelivery: Redelivery | None = None
    max_rejected_share: float = 0.05

    def __post_init__(self) -> None:
        if self.reader is not PLAIN:
            check_reader(self.reader, self.contract.dtypes(), self.name)
        key = vars(self).pop("key")
        if key == "row" or (key == ROW_COLUMNS and not self.by_row):
            vars(self)["contract"] = keyed_by_row(self.contract)
        elif key is not None and not (isinstance(key, tuple) and self.key):  # a tuple is what `replace` hands on
            where = f"Config.unique of {self.contract.__name__}"
            raise UsageError(f'input {self.name!r}: key={key!r} is not "row": list key columns in {where}')
        if self.on_redelivery is None:
            vars(self)["on_redelivery"] = "keep_first" if self.by_row else "reject"
        if self.on_redelivery == "append" and not self.by_row:
            raise UsageError(
                f'input {self.name!r}: on_redelivery="append" takes rows that repeat a key, so it is for key="row" alone'
            )

    @property
    def by_row(self) -> bool:
        """Whether the key is the row itself: `key="row"`."""
        return is_keyed_by_row(self.contract)

    @property
    def delivered(self) -> type[Contract]:
        """The contract of what a source brings: `contract`, without the key that is made at ingest."""
        return delivered(self.contract)

    def described(self) -> dict[str, Any]:
        """The contract as plain data, with its reader where that is not the plain one: what a publish records."""
        from schemas.contract import describe

        reader = describe_reader(self.reader)
        return describe(self.contract) | ({"reader": reader} if reader else {})

    def contract_version(self) -> str:
        """Content hash of contract and reader."""
        from schemas.contract import version_of

        return version_of(self.described())


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted. `value` is an expression over the labels (or rows): null where there is no outcome.

    binary: a Boolean, `classes` are (negative, positive) in business words, `threshold` on the probability of the positive.
    multiclass: one of `classes`. regression: a number in `unit`.
    """

    kind: Kind
    name: str
    value: pl.Expr
    classes: tuple[str, ...] = ()
    threshold: float = 0.5
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Columns of another input, found by key: `on` maps that input's key columns to expressions over the rows.

    `columns` maps new names to columns of the input. A key that is not there gives nulls.
    """

    input: str
    on: Mapping[str, pl.Expr]
    columns: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Time split, newest last: [ training | early stopping | holdout of the gate ], in days.

    Where rows have no event time, the shares count instead. Rows of one delivery are split by a hash of their key. From the
    second delivery on the holdout is the newest delivered rows that no living version was fitted on, up to its share.
    """

    holdout_days: int = 14
    stopping_days: int = 14
    holdout_share: float = 0.2
    stopping_share: float = 0.15


@dataclass(frozen=True, kw_only=True)
class Training:
    """XGBoost's parameters and how long to boost.

    `calibration`: `sigmoid` fits a logistic curve to the margins of the early-stopping rows and ships it in the leaves.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 400
    stopping_rounds: int = 20
    seed: int = 2013
    calibration: Literal["none", "sigmoid"] = "none"


@dataclass(frozen=True, kw_only=True)
class GatePolicy:
    """What a challenger must show on the holdout before it replaces the champion.

    rule: `superiority` (the gain's interval lies above 0) or `non_inferiority` (above -margin). The interval is two-sided at
    level 1 - `alpha`, so that a wrong promotion stays rarer than `alpha` where few blocks make the interval less exact.
    `metric` is compared within blocks; of log_loss, rmse and mae less is better. A slice with `min_slice_rows` may lose at
    most `slice_margin`. Calibration passes at `max_calibration_error`, or at most `calibration_slack` above the reference's
    error on the same rows: a week unlike the past miscalibrates everyone. `refit`: the model that
    ships is fitted once more, on all rows; without event times on all but the deliveries held out, and not at all where a
    share of the keys is held out. `baseline` is the simple model that each challenger must beat: the better of a linear
    model and the base rate (or mean), or the base rate alone, for problems so close to linear that no tree model beats the
    linear one. `approval`: how long a promotion waits for a person's yes in the Prefect dashboard before it is refused;
    none asks nobody.
    """

    metric: Literal["log_loss", "auc", "rmse", "mae"] = "log_loss"
    rule: Literal["superiority", "non_inferiority"] = "non_inferiority"
    margin: float = 0.005
    alpha: float = 0.05
    min_rows: int = 500
    min_blocks: int = 5
    slice_margin: float = 0.05
    min_slice_rows: int = 200
    max_calibration_error: float = 0.10
    calibration_slack: float = 0.02
    baseline: Literal["linear", "constant"] = "linear"
    refit: bool = True
    approval: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class MonitorPolicy:
    """When drift and loss are worth an alert, and when a retraining.

    `method` and `threshold` say when a column drifted (Wasserstein is for numbers; categories then take Jensen-Shannon).
    `impact` is the share of the model's gain that lies in drifted features from which drift is worth a warning.
    Loss is in the unit of the gate's metric: `loss_tolerance` above its level at promotion, or the level's own uncertainty
    where that is larger, asks for retraining. A request that the gate refused raises that tolerance by the share
    `hysteresis`; none follows another within `cooldown_days`. A window of whose rows more than `rejected_share` broke the
    contract is not judged by estimates.
    """

    method: Literal["wasserstein", "psi", "jensenshannon"] = "wasserstein"
    threshold: float = 0.1
    impact: float = 0.1
    min_rows: int = 200
    loss_tolerance: float = 0.01
    hysteresis: float = 0.5
    max_age_days: int = 28
    cooldown_days: int = 6
    rejected_share: float = 0.05


@dataclass(frozen=True, kw_only=True)
class UseCase:
    """One prediction problem. See the module's docstring."""

    name: str
    question: str
    inputs: tuple[Input, ...]
    rows: str
    target: Target
    features: Mapping[str, pl.Expr]
    labels: str | None = None
    lookups: tuple[Lookup, ...] = ()
    block: pl.Expr | None = None
    slices: tuple[str, ...] = ()
    split: Split = Split()
    training: Training = Training()
    gate: GatePolicy = GatePolicy()
    monitor: MonitorPolicy = MonitorPolicy()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UsageError(f"use case {self.name!r}: a name is lower case letters, digits and dashes")
        names = [i.name for i in self.inputs]
        wanted = [self.rows, *([self.labels] if self.labels else []), *(lookup.input for lookup in self.lookups)]
        if missing := sorted(set(wanted) - set(names)):
            raise UsageError(f"use case {self.name!r}: no input named {', '.join(missing)}; it has {', '.join(names)}")
        self._refuse_joins_by_row()
        refuse_clashes(self)

    def _refuse_joins_by_row(self) -> None:
        """What is known of a row by itself cannot be found from elsewhere."""
        by_row = {spec.name for spec in self.inputs if spec.by_row}
        if self.labels not in (None, self.rows) and by_row & {self.rows, self.labels}:
            raise UsageError(
                f'use case {self.name!r}: the labels of {self.labels!r} cannot be joined to {self.rows!r} by key="row": '
                "deliver the outcome with its row, or name key columns that both have"
            )
        if looked_up := sorted(by_row & {lookup.input for lookup in self.lookups}):
            raise UsageError(
                f'use case {self.name!r}: nothing can be looked up in {looked_up[0]!r} by key="row": name its key columns'
            )

    def input(self, name: str) -> Input:
        """The input of that name. Raises UsageError that lists those there are."""
        for candidate in self.inputs:
            if candidate.name == name:
                return candidate
        raise UsageError(f"use case {self.name!r} has no input {name!r}; it has {', '.join(i.name for i in self.inputs)}")

    def choose_input(self, name: str | None, source: str = "") -> Input:
        """The input a source delivers: the one named, the only one, or the one that its folder or file name begins with.

        Raises UsageError that lists the inputs where none of these tells.
        """
        if name:
            return self.input(name)
        path = PurePath(source)
        named = [i for i in self.inputs if path.parent.name == i.name or re.match(rf"{i.name}\b", path.name)]
        candidates = named or list(self.inputs)
        if len(candidates) == 1:
            return candidates[0]
        names = ", ".join(i.name for i in self.inputs)
        raise UsageError(f"use case {self.name!r} has the inputs {names}: say which one {source or 'the source'} delivers")

    @property
    def key(self) -> tuple[str, ...]:
        """Key columns of the rows that are predicted."""
        return self.input(self.rows).key

    @property
    def time(self) -> str | None:
        """Event time of the rows that are predicted."""
        return self.input(self.rows).time

    @property
    def label_input(self) -> Input:
        """The input that holds the outcome: the labels, or the rows themselves."""
        return self.input(self.labels or self.rows)

    def version(self) -> str:
        """Content hash of all that shapes a model: contracts, lookups, features, target, split, training."""
        parts: dict[str, Any] = {
            "contracts": {i.name: i.contract_version() for i in self.inputs},
            "lookups": [[k.input, {c: _text(e) for c, e in k.on.items()}, dict(k.columns)] for k in self.lookups],
            "features": [[name, _text(expr)] for name, expr in self.features.items()],
            "target": [self.target.kind, _text(self.target.value), self.target.classes],
            "split": vars(self.split),
            "training": {**vars(self.training), "params": dict(self.training.params)},
        }
        return sha256(sorted_json(parts).encode())[:16]


def _text(expr: pl.Expr) -> str:
    return str(expr.meta.serialize(format="json"))


def registered() -> dict[str, str]:
    """Short names of the registered use cases and where each lies, as `module:NAME`."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def name_of(use_case: str) -> str:
    """The name that a use case's repositories and models bear, without importing a registered one, which bears its own.

    Raises UsageError, as `resolve` does, for what is not registered and cannot be imported.
    """
    return use_case if use_case in registered() else resolve(use_case).name


def resolve(name: str, *, modules: bool = True) -> UseCase:
    """The use case of that short name, or at `module:NAME` where `modules` allows it.

    Events and deployments pass `modules=False`: what they carry must not import anything. Raises UsageError.
    """
    known = registered()
    if ":" in name and not modules:
        raise UsageError(f"use case {name!r}: only the command line and Python take module:NAME; register it as {GROUP}")
    target = name if ":" in name else known.get(name)
    if target is None:
        raise UsageError(f"unknown use case {name!r}; registered: {', '.join(sorted(known)) or 'none'}; or give module:NAME")
    module, _, attribute = target.partition(":")
    try:
        use_case = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"use case {name!r}: cannot load {target!r} ({error}); check the module's path and name") from None
    if not isinstance(use_case, UseCase):
        raise UsageError(f"use case {name!r}: {target!r} is a {type(use_case).__name__}, not a UseCase")
    return use_case
