"""What flows return: typed, and useful at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from schemas.display import Shown
from schemas.refs import CommitId, DataRef, ModelRef, Sha256, Value
from schemas.verdicts import AuditVerdict, Comparison, Decision, DriftVerdict, Estimate, Evaluation, GateVerdict

DeliveryStatus = Literal["published", "already done", "rejected", "skipped"]


class Staged(Value):
    """An audited delivery on its branch, ready to be published or looked at."""

    branch: str
    commit: CommitId | None = Field(description="None where the source held no row")
    checked_at: CommitId = Field(description="commit of main at which the keys were checked")
    partitions: tuple[str, ...]
    verdict: AuditVerdict


class Delivery(Shown):
    """What became of one source."""

    source: str
    sha256: Sha256
    input: str
    status: DeliveryStatus
    why: str = Field(description="one sentence")
    commit: CommitId | None = Field(default=None, description="on main, where it was published")
    branch: str | None = Field(default=None, description="left for inspection, where it was rejected")
    audit: AuditVerdict | None = None


class IngestResult(Shown):
    """What became of every source of one call."""

    use_case: str
    deliveries: tuple[Delivery, ...]

    @property
    def why(self) -> str:
        """One sentence on all of them."""
        if len(self.deliveries) == 1:
            return f"{self.deliveries[0].status}: {self.deliveries[0].why}"
        counts = Counter(d.status for d in self.deliveries)
        return ", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing to ingest"

    @property
    def accepted(self) -> int:
        """Rows that this call published."""
        return sum(d.audit.accepted for d in self.deliveries if d.audit and d.status == "published")

    @property
    def rejected(self) -> int:
        """Rows that the contract rejected, published or not."""
        return sum(d.audit.rejected for d in self.deliveries if d.audit)

    @property
    def refused(self) -> bool:
        """Whether any source was refused as a whole."""
        return any(d.status == "rejected" for d in self.deliveries)


class Retraction(Shown):
    """What became of the wish to take a published source back."""

    use_case: str
    status: Literal["retracted", "already done"]
    why: str = Field(description="one sentence")
    source: str
    sha256: Sha256
    input: str
    commit: CommitId = Field(description="of main, that took the source back")
    trained_on: tuple[int, ...] = Field(
        default=(), description="model versions that were fitted on a commit with the source"
    )


class SweptBranch(Value):
    """A branch that a sweep looked at."""

    store: str
    branch: str
    what: Literal["finished", "stale", "kept"]
    why: str = Field(description="one sentence")


class SweptReceipts(Value):
    """Receipts past their time that a sweep looked at: those of one day's answers, or of one scoring."""

    store: str
    path: str = Field(description="folder in the log repository")
    objects: int
    what: Literal["let go", "kept"]
    why: str = Field(description="one sentence")


class Sweep(Shown):
    """What a sweep removed and what it left."""

    older_than_days: float
    dry_run: bool
    branches: tuple[SweptBranch, ...]
    receipts: tuple[SweptReceipts, ...] = Field(default=(), description="past their time; none where they are kept always")

    @property
    def why(self) -> str:
        """One sentence."""
        removed = "would be removed" if self.dry_run else "removed"
        text = f"{len(self.branches)} branches: {len(self.removed)} {removed}"
        return (
            f"{text}; {len(self.receipts)} folders of old receipts: {len(self.let_go)} {removed}" if self.receipts else text
        )

    @property
    def removed(self) -> tuple[SweptBranch, ...]:
        """Branches that are gone, or with `dry_run` would be."""
        return tuple(branch for branch in self.branches if branch.what != "kept")

    @property
    def let_go(self) -> tuple[SweptReceipts, ...]:
        """Receipts that are gone from the head of the log, or with `dry_run` would be."""
        return tuple(receipts for receipts in self.receipts if receipts.what == "let go")


class Challenge(Value):
    """A challenger fitted on one commit, recorded, with what the gate needs to compare it."""

    model: ModelRef
    data: DataRef
    evaluation: Evaluation
    verdict: GateVerdict
    champion: ModelRef | None = None
    by_hash: bool = Field(default=False, description="the holdout is a share of the keys, the same at every training")


TrainingStatus = Literal["promoted", "refused", "skipped", "already done"]


class Outcome(Shown):
    """What a gated version came to."""

    status: TrainingStatus
    why: str = Field(description="one sentence")
    model: ModelRef
    verdict: GateVerdict | None = None


class Training(Shown):
    """What became of one training."""

    use_case: str
    status: TrainingStatus
    why: str = Field(description="one sentence")
    model: ModelRef | None = Field(default=None, description="the version that ships, or the refused challenger")
    data: DataRef | None = None
    evaluation: Evaluation | None = Field(default=None, description="of the challenger on the gate's window")
    verdict: GateVerdict | None = None

    @property
    def made_a_model(self) -> bool:
        """Whether this very training brought a version to its end, one way or the other."""
        return self.status in ("promoted", "refused")

    @property
    def metrics(self) -> Mapping[str, float]:
        """The challenger's metrics on the gate's window."""
        return self.evaluation.metrics if self.evaluation else {}


class Reproduction(Shown):
    """What came of training a recorded version again."""

    use_case: str
    model: ModelRef
    identical: bool = Field(description="whether the model's bytes are the recorded ones")
    why: str = Field(description="one sentence")
    sha256: Sha256 = Field(description="of the bytes made now")
    rows: int = Field(ge=0, description="rows that the version was fitted on")
    differences: tuple[str, ...] = Field(default=(), description="recorded inputs that are otherwise here and now")


class RowsToScore(Value):
    """Which rows to score: those that one publish brought, all or from a moment on."""

    arrival: CommitId | None = Field(default=None, description="a publish on main; None: the newest of them")
    since: datetime | None = Field(default=None, description="event time of the oldest row wanted")
    once: bool = Field(default=False, description="leave rows alone that any model has scored before")


class Beginning(Value):
    """The rows on which the gate judged the first champion, and the data that they are seen as of."""

    commit: CommitId
    since: datetime | None = Field(description="event time of the oldest; None for all that the newest publish brought")


class Scores(Shown):
    """One batch of predictions with receipts."""

    use_case: str
    status: Literal["published", "already done", "skipped", "rejected"]
    why: str = Field(description="one sentence")
    cause: str = Field(default="", description="names (model, rows): the same cause is scored once")
    model: ModelRef | None = None
    data: DataRef | None = None
    predictions: DataRef | None = Field(default=None, description="the log repository at the commit that holds them")
    path: str | None = Field(
        default=None, description="of the predictions in the log repository: an object, or a folder of several, ending in /"
    )
    rejected: str | None = Field(default=None, description="folder of the log repository that holds a file's rejected rows")
    audit: AuditVerdict | None = Field(default=None, description="what the contract said about a file")
    absent: tuple[str, ...] = Field(default=(), description="columns that the model needs and the rows lack: not scored")
    rows: int = Field(default=0, ge=0)
    categories: Mapping[str, int] = {}


class Monitoring(Shown):
    """What monitoring saw in one window, and what it decided."""

    use_case: str
    why: str = Field(description="one sentence")
    window: tuple[datetime, datetime] | None = None
    arrival: CommitId | None = Field(default=None, description="the publish whose scored rows are the window")
    rows: int = Field(default=0, ge=0, description="predictions in the window")
    model: ModelRef | None = None
    drift: DriftVerdict | None = None
    estimate: Estimate | None = Field(default=None, description="of the same metrics, without labels")
    realized: Evaluation | None = Field(default=None, description="where labels have come")
    coverage: float = Field(default=0.0, ge=0, le=1, description="share of the predictions that have a label")
    in_sample: int = Field(
        default=0, ge=0, description="predictions of rows that the model was fitted on; they count nowhere"
    )
    judged_by: ModelRef | None = Field(
        default=None, description="the gated version whose scores are realized, where its refit was fitted on every row"
    )
    shadow: tuple[Comparison, ...] = Field(default=(), description="challengers on the rows that the server answered")
    current: bool = Field(default=True, description="whether the model that scored the window is still the champion")
    newest: bool = Field(default=True, description="whether no window that begins later was seen before")
    decision: Decision

    @property
    def in_sample_note(self) -> str:
        """That the model was fitted on rows, and who judged them, or ''."""
        if not self.in_sample:
            return ""
        if self.judged_by is None or self.model is None:
            return f"{self.in_sample:,} of {self.rows:,} rows are in-sample and not judged: the model was fitted on them"
        refit, gated = f"v{self.model.version}", f"v{self.judged_by.version}"
        return f"realized by {gated}, which was gated and has not seen these rows; its refit {refit} was fitted on them"

    @property
    def error(self) -> Mapping[str, float]:
        """Realized minus estimated value of each metric that has both: what the scores alone got wrong."""
        if self.realized is None or self.estimate is None or self.judged_by is not None:
            return {}
        known = self.realized.metrics
        return {name: known[name] - value for name, value in self.estimate.raw.items() if name in known}


class Loop(Shown):
    """What one arrival set in motion."""

    use_case: str
    why: str = Field(description="one sentence")
    ingested: IngestResult
    scored: tuple[Scores, ...] = ()
    monitored: tuple[Monitoring, ...] = ()
    trained: tuple[Training, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the source was refused, or no model was good enough to become the first champion."""
        first = self.trained if not self.scored and not self.monitored else ()
        return self.ingested.refused or bool(first and first[-1].status == "refused")

    @property
    def status(self) -> Literal["done", "already done", "rejected"]:
        """Whether anything is new."""
        if self.ingested.refused:
            return "rejected"
        effects = {d.status for d in self.ingested.deliveries} | {s.status for s in self.scored}
        return "already done" if effects | {t.status for t in self.trained} == {"already done"} else "done"


class Rescan(Shown):
    """What a look at the landing folder found."""

    files: int = Field(ge=0, description="files that have landed")
    started: tuple[str, ...] = Field(default=(), description="files that no run had taken up")
    again: tuple[str, ...] = Field(default=(), description="runs that had died")
    strange: tuple[str, ...] = Field(default=(), description="files of no use case, one sentence each")

    @property
    def why(self) -> str:
        """One sentence."""
        text = f"{self.files} files: {len(self.started)} started, {len(self.again)} runs taken up again"
        return f"{text}; {'; '.join(self.strange)}" if self.strange else text
