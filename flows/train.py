"""Train: a challenger on one commit, through the gate; what ships becomes champion, or the champion stays."""

from __future__ import annotations

from typing import Annotated

import polars as pl
from pydantic import Field

from flows.entry import entry
from flows.turns import turn
from schemas.errors import NotEnoughEvidence, StaleCheck, UsageError
from schemas.refs import DataRef
from schemas.results import Challenge, Training
from schemas.settings import Settings, in_force
from schemas.usecase import UseCase, resolve
from tasks import batch, catalog
from tasks.training import Device

ATTEMPTS = 3


class TrainResult(Training):
    """What became of a training, with a model that predicts."""

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Predictions with receipts for rows of the use case's contract, one row each, in the rows' order.

        Raises UsageError where the training made no model.
        """
        if self.model is None or self.data is None:
            raise UsageError(f"this training made no model ({self.why}); look at .status before calling predict")
        return batch.predict_frame(resolve(self.use_case), self.model, self.data, frame)


@entry("train", "train {use_case}")
def train(
    use_case: Annotated[str, Field(min_length=1)],
    commit: str | None = None,
    device: Device | None = None,
) -> TrainResult:
    """Train a challenger, compare it with the champion on labelled rows that neither has seen, promote or refuse.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        commit: Data commit to train on; the head of main where it is left out.
        device: Where XGBoost computes, cpu or cuda; the setting where it is left out.
    """
    case = catalog.begin(use_case)
    settings = in_force()
    data = catalog.data_at(settings.store_url(case.name), commit)
    try:
        with turn("train", case.name):
            result = _train(use_case, case, data, settings, device or settings.device)
    except NotEnoughEvidence as refusal:
        result = TrainResult(use_case=use_case, status="skipped", why=str(refusal), data=data)
    catalog.tell_training(case, result)
    return result


def _train(use_case: str, case: UseCase, data: DataRef, settings: Settings, device: Device) -> TrainResult:
    if done := catalog.settled(use_case, data, settings.registry_url):
        return TrainResult(use_case=use_case, status=done.status, why=done.why, model=done.model, data=data)
    for _ in range(ATTEMPTS):
        challenged = catalog.challenge(use_case, data, settings.registry_url, device)
        try:
            return _conclude(use_case, case, challenged, settings, device)
        except StaleCheck:
            continue  # another champion came in between: gate again, against that one
    raise StaleCheck(f"{case.name}: the champion kept changing while the challenger was gated; train again")


def _conclude(use_case: str, case: UseCase, challenged: Challenge, settings: Settings, device: Device) -> TrainResult:
    shipped, registry = challenged.model, settings.registry_url
    if challenged.verdict.promoted:
        if case.gate.refit and case.time is not None:
            shipped = catalog.refit(use_case, challenged, registry, device)
        catalog.try_out(use_case, shipped, registry)
    outcome = catalog.promote(shipped, challenged, registry)
    return TrainResult(
        use_case=use_case,
        status=outcome.status,
        why=outcome.why,
        model=shipped,
        data=challenged.data,
        evaluation=challenged.evaluation,
        verdict=challenged.verdict,
    )
