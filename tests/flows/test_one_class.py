"""A delivery whose rows all have one outcome: it is published, and there is nothing to learn from it yet."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from deployments.scaffold.draft import NewUseCaseOptions
from deployments.scaffold.location import nearby
from deployments.scaffold.new_use_case import new_use_case
from schemas.settings import Settings
from tasks.parsing.parse import Limits
from tests.unit import scaffold_domains as domains


@pytest.mark.slow
def test_one_class_only_is_published_and_trains_nothing(tmp_path: Path, settings: Settings) -> None:
    from flows.lifecycle import lifecycle
    from flows.train import train

    make, file, target, _ = domains.DOMAINS["gym-churn"]
    frame = make()
    one = frame.filter(pl.col(target) == frame[target].mode().first())
    with domains.importing():
        new_use_case(
            "gym-churn", domains.save(frame, tmp_path / file), NewUseCaseOptions(target), tmp_path, Limits(2048, 120)
        )
        case = nearby("gym-churn", tmp_path)
        loop = lifecycle(case, str(domains.save(one, tmp_path / f"one-{file}")))
        again = train(case)
    assert [delivery.status for delivery in loop.ingested.deliveries] == ["published"]
    assert loop.ingested.accepted == one.height
    assert not loop.ingested.refused  # what `penstock lifecycle` takes for its exit code
    assert {training.status for training in loop.trained} <= {"skipped"}
    assert again.status == "skipped"
    assert "one class" in again.why
