"""A use case's code changes after its first champion: the champion goes on, and a training compares old and new."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from schemas.contract import column
from schemas.errors import NotEnoughEvidence, UsageError
from schemas.fitting import Plan
from schemas.function_features import function_feature
from schemas.refs import DataRef, ModelRef
from schemas.results import RowsToScore, Scores
from schemas.settings import Settings
from schemas.usecase import UseCase
from schemas.verdicts import GateVerdict
from tasks import flow_tasks
from tasks.inference import batch, frame_prediction
from tasks.registry.designs import use_case_of
from tasks.registry.factory import open_registry
from tasks.registry.protocol import ModelRegistry
from tasks.reporting.change_plan import plan_change
from tasks.training.reproduction import reproduce
from tasks.versions.factory import open_store
from tests import training_kit
from tests.changed_designs_kit import Longer, Sizeless, with_features, with_input, without
from tests.modelling_kit import START, TARGETS, Orders, Prices
from tests.training_kit import CHANGING, publish, train

NAME = "tests.training_kit:CHANGING"


class Blue(Orders):
    """Orders of one colour."""

    colour: str = column(nullable=True, isin=["blue"])


PRICES = CHANGING.lookups[0]
CHANGES = {
    "a feature more": with_features(CHANGING, weekday=pl.col("at").dt.weekday().cast(pl.Float32)),
    "a feature less": without(CHANGING, "hour"),
    "another feature": with_features(CHANGING, size=(pl.col("size") * 2).cast(pl.Float32)),
    "another order": replace(CHANGING, features=dict(reversed(CHANGING.features.items()))),
    "a category less": with_features(CHANGING, colour_of=pl.col("colour").cast(pl.Enum(["blue", "green"]), strict=False)),
    "a threshold": replace(CHANGING, target=replace(CHANGING.target, threshold=0.9)),
    "other words": replace(CHANGING, target=replace(CHANGING.target, classes=("punctual", "delayed"))),
    "another target": replace(CHANGING, target=replace(CHANGING.target, value=pl.col("delay") > 0.6)),
    "no lookup": without(replace(CHANGING, lookups=()), "price"),
    "another lookup": replace(CHANGING, lookups=(replace(PRICES, on={**PRICES.on, "shop": pl.lit("west")}),)),
    "a column less": without(with_input(CHANGING, "orders", contract=Sizeless), "size"),
    "a looked-up input less": without(replace(CHANGING, lookups=(), inputs=CHANGING.inputs[::2]), "price"),
    "a column that nothing reads": with_input(CHANGING, "orders", contract=Longer),
    "a block": replace(CHANGING, block=pl.col("at").dt.week()),
}
NOISES = 20
# Nothing is fitted otherwise: newer rows are asked for.
SCORED_ALIKE = (
    "a threshold",
    "other words",
    "a block",
    "a column that nothing reads",
)


@dataclass(frozen=True)
class Lived:
    settings: Settings
    registry: ModelRegistry
    data: DataRef
    champion: ModelRef
    rows: pl.DataFrame
    before: pl.DataFrame

    @property
    def recipe(self) -> int:
        return int(self.registry.document(self.champion, "manifest")["recipe_of"])

    def predict(self, case: UseCase) -> pl.DataFrame:
        made = frame_prediction.predict_frame(case, self.champion, self.data, self.rows)
        return made.select("category", "probability")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("designs")
    with Settings(home=folder / "home").active() as settings:
        data = publish(settings, "early", folder / "sources", NAME)
        challenged, champion = train(settings, data, NAME)
        assert challenged.verdict.promoted
        registry = open_registry(settings.registry_url)
        rows = training_kit.tables()[0].tail(200)
        made = frame_prediction.predict_frame(CHANGING, champion, data, rows)
        yield Lived(settings, registry, data, champion, rows, made.select("category", "probability"))


@pytest.fixture(params=CHANGES)
def changed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> UseCase:
    case = CHANGES[request.param]
    monkeypatch.setattr(training_kit, "CHANGING", case)
    return case


def test_the_champion_answers_as_before_whatever_the_code_says(lived: Lived, changed: UseCase) -> None:
    assert lived.predict(changed).equals(lived.before)
    own = use_case_of(changed, lived.registry, lived.champion)
    again = reproduce(changed, lived.registry, lived.champion, lived.data.store)
    assert again.identical, again.why
    assert own.target.threshold == CHANGING.target.threshold


def test_a_new_design_is_gated_at_once_against_the_version_that_the_champion_is_a_refit_of(
    lived: Lived, changed: UseCase, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["changed"] in SCORED_ALIKE:
        with pytest.raises(NotEnoughEvidence, match="no labelled rows newer"):
            flow_tasks.train_challenger.fn(NAME, lived.data, lived.settings.registry_url, Plan())
        return
    challenged = flow_tasks.train_challenger.fn(NAME, lived.data, lived.settings.registry_url, Plan())
    gated, verdict = lived.registry.version(changed.name, lived.recipe), challenged.verdict
    first = lived.registry.document(gated, "verdict")
    assert list(use_case_of(changed, lived.registry, challenged.model).features) == list(changed.features)
    assert challenged.champion == lived.champion
    assert verdict.window == GateVerdict.model_validate(first).window
    assert verdict.designs
    assert f"{100 * (1 - changed.gate.alpha / verdict.designs):.4g}% interval" in verdict.why + str(verdict.checks)
    if changed.target.value.meta.eq(CHANGING.target.value) and changed.block is None:
        assert verdict.champion == pytest.approx(first["challenger"], abs=1e-12)


def doubled(rows: pl.DataFrame) -> pl.Series:
    return (rows["size"] * 2).cast(pl.Float32)


def test_a_feature_of_a_function_goes_with_its_version_as_long_as_its_code_is_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    feature = function_feature(doubled, "size", dtype=pl.Float32)
    case = with_features(CHANGING, size=feature)
    monkeypatch.setattr(training_kit, "CHANGING", case)
    data = publish(settings, "early", tmp_path / "sources", NAME)
    champion = train(settings, data, NAME)[1]
    rows = training_kit.tables()[0].tail(50)
    before = frame_prediction.predict_frame(case, champion, data, rows)
    monkeypatch.setattr(training_kit, "CHANGING", CHANGING)
    after = frame_prediction.predict_frame(CHANGING, champion, data, rows)
    assert after["probability"].equals(before["probability"])

    monkeypatch.setattr(f"{__name__}.doubled", lambda rows: rows["size"])
    with pytest.raises(UsageError, match=r"v\d+: the feature size needs the function .*:doubled as it was") as changed:
        frame_prediction.predict_frame(CHANGING, champion, data, rows)
    assert "\n" not in str(changed.value)
    challenged = flow_tasks.train_challenger.fn(NAME, data, settings.registry_url, Plan())  # everything else goes on
    assert challenged.verdict.champion is None
    assert challenged.verdict.challenger is not None


def test_an_expression_that_no_tree_holds_is_taken_from_the_code_while_it_is_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case = with_features(CHANGING, hour=pl.col("at").dt.hour().rank().cast(pl.Float32))
    monkeypatch.setattr(training_kit, "CHANGING", case)
    data = publish(settings, "early", tmp_path / "sources", NAME)
    champion = train(settings, data, NAME)[1]
    more = with_features(case, weekday=pl.col("at").dt.weekday().cast(pl.Float32))
    assert list(use_case_of(more, open_registry(settings.registry_url), champion).features) == list(case.features)
    with pytest.raises(UsageError, match="the feature hour cannot be kept with a version"):
        use_case_of(CHANGING, open_registry(settings.registry_url), champion)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (with_input(CHANGING, "orders", contract=Prices), "its key was at, shop, number and is shop, day"),
        (with_input(CHANGING, "orders", time=None), "its time column was at and is None"),
        (replace(CHANGING, rows="outcomes"), "its rows input was orders and is outcomes"),
        (replace(CHANGING, target=TARGETS["regression"]), "its kind of target was binary and is regression"),
    ],
    ids=["key", "time", "rows", "kind"],
)
def test_a_use_case_that_became_another_is_refused_with_what_differs(lived: Lived, case: UseCase, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        use_case_of(case, lived.registry, lived.champion)


def test_a_column_that_the_champion_needs_stays_wanted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = publish(settings, "early", tmp_path / "sources", NAME)
    champion = train(settings, data, NAME)[1]
    less = CHANGES["a column less"]
    monkeypatch.setattr(training_kit, "CHANGING", less)
    log = settings.store_url(f"{less.name}-log")
    rows = training_kit.tables()[0].filter(pl.col("at") >= START + timedelta(days=30))
    halves = rows.filter(pl.col("at") < START + timedelta(days=35)), rows.filter(pl.col("at") >= START + timedelta(days=35))
    with_size, without_size = (
        training_kit.publish_rows(settings, NAME, "orders", frame, tmp_path / "more")
        for frame in (halves[0], halves[1].drop("size"))
    )

    def score(data: DataRef) -> Scores:
        return batch.score_commit(NAME, data, RowsToScore(arrival=data.commit), settings.registry_url, log, "")

    scored, skipped = score(with_size), score(without_size)
    assert (scored.status, scored.rows) == ("published", halves[0].height)
    assert (skipped.status, skipped.absent, skipped.rows) == ("skipped", ("size",), 0)
    assert f"lacks size, which v{champion.version} needs: its rows are not scored" in skipped.why
    with pytest.raises(UsageError, match="the frame lacks size"):
        frame_prediction.predict_frame(less, champion, without_size, halves[1].drop("size"))


def test_a_new_threshold_is_a_version_with_the_same_scores_and_other_words(settings: Settings, tmp_path: Path) -> None:
    data = publish(settings, "early", tmp_path / "sources", NAME)
    before = train(settings, data, NAME)[1]
    registry, log = settings.registry_url, settings.store_url(f"{CHANGING.name}-log")
    outcome, model = flow_tasks.change_threshold.fn(NAME, 0.9, registry, log, "me", "false alarms cost more")
    assert outcome.status == "promoted"
    assert outcome.why.endswith(f"threshold 0.5 of v{before.version} becomes 0.9: false alarms cost more")
    flow_tasks.smoke_test.fn(NAME, model, registry)
    champion = open_registry(registry).champion(CHANGING.name)
    assert champion == model != before
    assert reproduce(CHANGING, open_registry(registry), model, data.store).identical
    rows = training_kit.tables()[0].tail(400)
    old, new = (frame_prediction.predict_frame(CHANGING, each, data, rows) for each in (before, model))
    assert new["probability"].equals(old["probability"])
    assert new["category"].to_list() == ["late" if p >= 0.9 else "on time" for p in new["probability"]]
    assert old["category"].to_list() != new["category"].to_list()
    assert not set(old["prediction_id"]) & set(new["prediction_id"])
    with pytest.raises(UsageError, match=r"has the threshold 0\.9 already"):
        flow_tasks.change_threshold.fn(NAME, 0.9, registry, log, "me", "again")


def test_noise_is_refused_however_often_it_is_tried(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Two features fit the same way whatever stands beside them; four on 840 rows may fit better by chance, and then are.
    plain = without(CHANGING, "price", "hour")
    monkeypatch.setattr(training_kit, "CHANGING", plain)
    data = publish(settings, "early", tmp_path / "sources", NAME)
    champion = train(settings, data, NAME)[1]
    registry = open_registry(settings.registry_url)
    for number in range(NOISES):
        noise = pl.col("number").hash(number).mod(1000).cast(pl.Float32)
        monkeypatch.setattr(training_kit, "CHANGING", with_features(plain, noise=noise))
        verdict = train(settings, data, NAME)[0].verdict
        assert (verdict.promoted, verdict.designs) == (False, number + 2), verdict.why
    assert registry.champion(plain.name) == champion


def test_a_better_feature_is_promoted_on_the_day_of_a_promotion(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poor = without(CHANGING, "size")
    monkeypatch.setattr(training_kit, "CHANGING", poor)
    data = publish(settings, "early", tmp_path / "sources", NAME)
    champion = train(settings, data, NAME)[1]
    monkeypatch.setattr(training_kit, "CHANGING", CHANGING)
    challenged, shipped = train(settings, data, NAME)
    assert challenged.verdict.promoted, challenged.verdict.why
    assert challenged.verdict.designs == 2
    registry = open_registry(settings.registry_url)
    assert registry.champion(poor.name) == shipped != champion
    assert list(use_case_of(poor, registry, shipped).features) == list(CHANGING.features)


def test_the_plan_says_what_a_change_does_before_it_is_merged(lived: Lived, changed: UseCase) -> None:
    store = open_store(lived.data.store)
    planned = plan_change(changed, store, lived.registry)
    stages = {stage.name: stage for stage in planned.stages}
    assert not planned.breaks
    assert stages["champion"].what.startswith(f"v{lived.champion.version} goes on by its own design")
    assert plan_change(CHANGING, store, lived.registry).why == "nothing changes"


@pytest.mark.parametrize(
    ("change", "stage", "says"),
    [
        ("a feature more", "champion", "in the code feature weekday is new"),
        ("a feature less", "champion", "in the code feature hour is gone"),
        ("another feature", "champion", "in the code feature size is changed"),
        ("no lookup", "champion", "the lookup in prices is gone"),
        ("a threshold", "champion", "the target's threshold was 0.5 and is 0.9"),
        ("a threshold", "training", "the champion's features and target are those of the code"),
        ("a column less", "columns", "orders: size stays wanted until neither champion nor challenger needs it"),
        ("a feature more", "training", "compares it at once with v1, which v2 is a refit of, on its own holdout"),
    ],
)
def test_the_plan_names_each_stage(lived: Lived, change: str, stage: str, says: str) -> None:
    planned = plan_change(CHANGES[change], open_store(lived.data.store), lived.registry)
    assert any(says in each.what for each in planned.stages if each.name == stage), planned


def test_a_plan_breaks_where_published_rows_would_fail_or_the_champion_ends(lived: Lived) -> None:
    store = open_store(lived.data.store)
    narrow = plan_change(with_input(CHANGING, "orders", contract=Blue), store, lived.registry)
    assert narrow.breaks
    assert [stage.name for stage in narrow.stages if stage.breaks] == ["rows"]
    another = plan_change(with_input(CHANGING, "orders", time=None), store, lived.registry)
    assert another.breaks
    assert "its time column was at and is None" in another.why
