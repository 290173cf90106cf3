"""Train: a challenger on one commit, through the gate; what ships becomes champion, or the champion stays."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.errors import NotEnoughEvidence, StaleCheck, UsageError
from schemas.fitting import Device, Engine, Plan
from schemas.refs import DataRef, ModelRef
from schemas.results import Challenge, Training
from schemas.settings import Settings, in_force
from schemas.usecase import UseCase, resolve
from tasks import flow_tasks, inference, orchestration
from tasks.orchestration import penstock_flow, require_data, wait_for_approval, wait_for_turn
from tasks.parsing import Frame

ATTEMPTS = 3


class TrainResult(Training):
    """What became of a training, with a model that predicts."""

    def predict(self, frame: Frame) -> Frame:
        """Predictions of the trained version, whether it was promoted or not.

        Args:
            frame: Rows with the columns of the use case's contract that are known at the prediction, as a pandas or polars
                frame.

        Returns:
            One prediction a row, in the rows' order, with its receipt: a frame of the same kind, of pandas with the same
                index.

        Raises:
            UsageError: The training made no model, a column is missing, or a value cannot be what the contract says.
        """
        if self.model is None or self.data is None:
            raise UsageError(f"this training made no model ({self.why}); look at .status before calling predict")
        return inference.predict_frame(resolve(self.use_case), self.model, self.data, frame)


@penstock_flow("train", "train {use_case}", checks=[require_data])
def train(
    use_case: Annotated[str, Field(min_length=1)],
    commit: str | None = None,
    device: Device | None = None,
    engine: Engine | None = None,
    search: Annotated[int, Field(ge=0, le=10_000)] = 0,
    jobs: Annotated[int, Field(ge=1, le=64)] = 1,
) -> TrainResult:
    """Train a challenger, compare it with the champion on labelled rows that neither has seen, promote or refuse.

    Args:
        use_case: Short name of a registered use case, e.g. flights.
        commit: Data commit to train on; the head of main where it is left out.
        device: Where XGBoost computes, cpu or cuda; the setting where it is left out.
        engine: Where the rows lie meanwhile, memory, external or dask; the setting where it is left out.
        search: How many trials a search for parameters takes before the challenger is fitted; 0 for none.
        jobs: How many of these trials run at once, in threads.

    Returns:
        What became of the challenger: promoted, refused or skipped, with version, evaluation and verdict; `.predict(frame)`
            scores rows.

    Raises:
        UsageError: There is no such use case, or a value is not one that the flow takes.
        ServiceUnavailable: Prefect, the lake or the registry does not answer.
        StaleCheck: The champion kept changing while the challenger was gated.
    """
    case = orchestration.begin_flow(use_case)
    settings = in_force()
    held = flow_tasks.hold_reason(use_case, settings.registry_url, settings.store_url(f"{case.name}-log"))
    if held:
        result = TrainResult(use_case=use_case, status="skipped", why=held)
        flow_tasks.report_training(case, result)
        return result
    flow_tasks.report_unnotified_versions(case)
    data = flow_tasks.data_at(settings.store_url(case.name), commit)
    try:
        plan = Plan(device=device or settings.device, engine=engine or settings.engine, trials=search, jobs=jobs)
        result = _train(use_case, case, data, settings, plan)
    except NotEnoughEvidence as refusal:
        result = TrainResult(use_case=use_case, status="skipped", why=str(refusal), data=data)
    flow_tasks.report_training(case, result)
    orchestration.record_model_asset(case, result)
    return result


def _train(use_case: str, case: UseCase, data: DataRef, settings: Settings, plan: Plan) -> TrainResult:
    for _ in range(ATTEMPTS):
        with wait_for_turn("train", case.name):  # not held while a person is asked
            if done := flow_tasks.previous_outcome(use_case, data, settings.registry_url, plan.trials):
                return TrainResult(use_case=use_case, status=done.status, why=done.why, model=done.model, data=data)
            challenged = flow_tasks.train_challenger(use_case, data, settings.registry_url, plan)
            shipped = _to_ship(use_case, case, challenged, settings, plan)
        try:
            return _conclude(use_case, case, challenged, shipped, settings)
        except StaleCheck:
            continue  # another champion came in between: gate again, against that one
    raise StaleCheck(f"{case.name}: the champion kept changing while the challenger was gated; train again")


def _to_ship(use_case: str, case: UseCase, challenged: Challenge, settings: Settings, plan: Plan) -> ModelRef:
    """The gated version, or its recipe fitted on all rows, tried out."""
    shipped, registry = challenged.model, settings.registry_url
    if challenged.verdict.promoted:
        if case.gate.refit and not challenged.by_hash:
            shipped = flow_tasks.refit_challenger(use_case, challenged, registry, plan.device)
        flow_tasks.smoke_test(use_case, shipped, registry)
    return shipped


def _conclude(use_case: str, case: UseCase, challenged: Challenge, shipped: ModelRef, settings: Settings) -> TrainResult:
    challenged, person = wait_for_approval(case, challenged, shipped)
    log, registry = settings.store_url(f"{case.name}-log"), settings.registry_url
    outcome = flow_tasks.promote_challenger(use_case, shipped, challenged, registry, log, orchestration.actor_name(person))
    return TrainResult(
        use_case=use_case,
        status=outcome.status,
        why=outcome.why,
        model=shipped,
        data=challenged.data,
        evaluation=challenged.evaluation,
        verdict=challenged.verdict,
    )
