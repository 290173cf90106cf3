"""Predictions of one cause in parts: each lies on the cause's branch as soon as it is made, and one merge publishes all.

A part holds the predictions of a fixed range of the rows and is named by its number, so that a run that takes up what a
killed one left makes only the parts that are missing. What a part counts lies in its object's metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl

from schemas.errors import NotFound, NothingToCommit, StaleCheck
from schemas.refs import Commit, CommitId, Guard, StoredObject
from tasks.fault_injection import fault_point
from tasks.versions import MAIN, VersionStore

PREDICTIONS_FOLDER, REJECTED = "predictions/", "rejected-predictions/"
ROWS = 1 << 18  # of a part
ATTEMPTS = 8

Window = tuple[datetime, datetime] | None

SCORE_KIND, SCORE_FILE_KIND = "score", "score-file"


def prediction_paths(log: VersionStore, ref: str, path: str) -> list[str]:
    """The Parquet objects of one scoring: `path` is that of the only one, or the folder of several, ending in a slash.

    Args:
        log: The use case's log repository.
        ref: Branch or commit of the log repository.
        path: Path of the only object, or of the folder.

    Returns:
        Paths of the objects.
    """
    return [stored.path for stored in log.objects(ref, path)] if path.endswith("/") else [path]


def scorings(log: VersionStore) -> list[Commit]:
    """The log's commits that published predictions of rows of the lake, newest first; none where there is no log.

    Args:
        log: The use case's log repository.

    Returns:
        The commits.
    """
    if not log.exists():
        return []
    return [entry for entry in log.log(MAIN, first_parent=True) if entry.metadata.get("kind") == SCORE_KIND]


def published_predictions(log: VersionStore, entry: Commit) -> pl.LazyFrame:
    """The predictions that a commit of the log brought, read in place.

    Args:
        log: The use case's log repository.
        entry: The commit of the log.

    Returns:
        One row a prediction, with its receipt.
    """
    return log.scan(entry.id, prediction_paths(log, entry.id, entry.metadata["path"]))


class PredictionWriter:
    """The parts of one cause on their branch, named by what they were made with; one process after the other adds to it."""

    def __init__(self, log: VersionStore, cause: str, made_with: str, scratch: Path) -> None:
        self._log, self._scratch, self._cause = log, scratch, cause[:32]
        self._folder, self._aside = f"{PREDICTIONS_FOLDER}{self._cause}/", f"{REJECTED}{self._cause}/"
        self.branch = f"score/{self._cause}-{made_with[:12]}"
        self._seen = log.head(MAIN)
        log.branch(self.branch, self._seen)
        self._there = {number for number, _ in self._objects()}

    def has(self, number: int) -> bool:
        """Whether the part is there already."""
        return number in self._there

    def add(self, number: int, predictions: pl.DataFrame, window: Window) -> None:
        """Put a part on the branch; `window` is the first and last event time of its rows."""
        counts = predictions["category"].value_counts().rows() if "category" in predictions.columns else []
        summary = {
            "rows": str(predictions.height),
            "categories": json.dumps(dict(sorted(counts))),
            "window": json.dumps([str(moment) for moment in window or ()]),
        }
        self._upload(self._folder, number, predictions, summary)
        fault_point("predictions.after_part")

    def set_aside(self, number: int, rejected: pl.DataFrame) -> str:
        """Put rejected rows beside the parts; returns the folder they lie in."""
        held = {stored.path for stored in self._log.objects(self.branch, self._aside, staged=True)}
        if not any(path.startswith(f"{self._aside}{number:06}-") for path in held):
            self._upload(self._aside, number, rejected, {})
        return self._aside

    def publish(self, title: str, metadata: Mapping[str, str]) -> Commit | None:
        """Bring all parts to main in one merge; None where there are none.

        Raises StaleCheck where another run of the same cause got in between: it has published them, or will.
        """
        with self._not_alone():
            committed = self._commit(title, metadata)
            if committed is None:
                self._log.delete_branch(self.branch)
                return None
            commit, described = committed
            fault_point("predictions.after_commit")
            guard = Guard(commit=self._seen, prefixes=(self._folder, self._aside))
            merged = self._log.merge(commit, MAIN, title, described, guard=guard)
        fault_point("predictions.after_merge")
        for left in self._log.branches(f"score/{self._cause}-"):
            self._log.delete_branch(left)
        return merged

    @contextmanager
    def _not_alone(self) -> Iterator[None]:
        """Another run that published the same rows has taken the branch away."""
        try:
            yield
        except (NotFound, NothingToCommit):
            raise StaleCheck(f"another run scored the same rows at the same time ({self.branch}); score again") from None

    def _commit(self, title: str, metadata: Mapping[str, str]) -> tuple[CommitId, dict[str, str]] | None:
        """A commit with one object a part, and what it tells; None where there are no parts.

        Another run may put a part on the branch between look and commit, so the commit is looked at, not the branch.
        """
        for _ in range(ATTEMPTS):
            parts = self._one_each()
            if not parts:
                return None
            described = {**metadata, **_summary(parts), "path": self._path(parts), "branch": self.branch}
            try:
                commit = self._log.commit(self.branch, title, described).id
            except NothingToCommit:  # a killed run came as far as this
                commit = self._log.head(self.branch)
            if {stored.path for stored in self._log.objects(commit, self._folder)} == {part.path for part in parts}:
                return commit, described
        raise StaleCheck(f"other runs keep adding to {self.branch}; score again")

    def _upload(self, folder: str, number: int, rows: pl.DataFrame, metadata: Mapping[str, str]) -> None:
        file = self._scratch / f"{number:06}.parquet"
        rows.write_parquet(file, compression_level=1)  # ids hardly compress: more effort is lost on them
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        with self._not_alone():
            self._log.upload(self.branch, f"{folder}{number:06}-{digest}.parquet", file, metadata)
        file.unlink()

    def _objects(self) -> list[tuple[int, StoredObject]]:
        objects = self._log.objects(self.branch, self._folder, staged=True)
        return [(int(each.path.removeprefix(self._folder)[:6]), each) for each in objects]

    def _one_each(self) -> list[StoredObject]:
        """One object a part: of two runs at one time both may have made it."""
        kept: dict[int, StoredObject] = {}
        for number, stored in self._objects():
            if kept.setdefault(number, stored) is not stored:
                self._log.remove(self.branch, stored.path)
        return list(kept.values())

    def _path(self, parts: list[StoredObject]) -> str:
        return parts[0].path if len(parts) == 1 else self._folder


def _summary(parts: Iterable[StoredObject]) -> dict[str, str]:
    """Rows, categories and window of all parts, as the commit tells them."""
    rows, categories, moments = 0, Counter[str](), list[str]()
    for part in parts:
        rows += int(part.metadata["rows"])
        categories.update(json.loads(part.metadata["categories"]))
        moments += json.loads(part.metadata["window"])
    window = sorted(moments, key=_moment)
    return {
        "rows": str(rows),
        "categories": ";".join(f"{name}={n}" for name, n in sorted(categories.items())),
        "first": window[0] if window else "",
        "last": window[-1] if window else "",
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
