"""A use case's code changes after its first champion: the champion goes on, and a training compares old and new."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl
import pytest

from schemas.contract import Contract, column
from schemas.errors import NotEnoughEvidence
from schemas.fitting import Plan
from schemas.refs import DataRef, ModelRef
from schemas.settings import Settings
from schemas.usecase import UseCase
from schemas.verdicts import GateVerdict
from tasks import flow_tasks
from tasks.inference import batch
from tasks.registry.designs import use_case_of
from tasks.registry.factory import open_registry
from tasks.registry.protocol import ModelRegistry
from tasks.training.reproduction import reproduce
from tests import training_kit
from tests.modelling_kit import Orders, Utc
from tests.training_kit import CHANGING, publish, train

NAME = "tests.training_kit:CHANGING"


class Sizeless(Contract):
    """Orders whose size is asked for no more, and whose weight is new."""

    at: Utc = column()
    shop: str = column()
    number: int = column()
    colour: str = column(nullable=True)

    class Config:
        unique = ["at", "shop", "number"]


class Finer(Orders):
    """Orders whose number may have decimals."""

    number: float = column()


def with_input(case: UseCase, name: str, **changes: object) -> UseCase:
    return replace(case, inputs=tuple(replace(each, **changes) if each.name == name else each for each in case.inputs))


def with_features(case: UseCase, **features: pl.Expr) -> UseCase:
    return replace(case, features={**case.features, **features})


def dropping(case: UseCase, *names: str) -> UseCase:
    return replace(case, features={name: each for name, each in case.features.items() if name not in names})


PRICES = CHANGING.lookups[0]
CHANGES = {
    "a feature more": with_features(CHANGING, weekday=pl.col("at").dt.weekday().cast(pl.Float32)),
    "a feature less": dropping(CHANGING, "hour"),
    "another feature": with_features(CHANGING, size=(pl.col("size") * 2).cast(pl.Float32)),
    "another order": replace(CHANGING, features=dict(reversed(CHANGING.features.items()))),
    "a category less": with_features(CHANGING, colour_of=pl.col("colour").cast(pl.Enum(["blue", "green"]), strict=False)),
    "a threshold": replace(CHANGING, target=replace(CHANGING.target, threshold=0.9)),
    "other words": replace(CHANGING, target=replace(CHANGING.target, classes=("punctual", "delayed"))),
    "another target": replace(CHANGING, target=replace(CHANGING.target, value=pl.col("delay") > 0.6)),
    "no lookup": dropping(replace(CHANGING, lookups=()), "price"),
    "another lookup": replace(CHANGING, lookups=(replace(PRICES, on={**PRICES.on, "shop": pl.lit("west")}),)),
        CHANGING, lookups=(replace(CHANGING.lookups[0], on={**CHANGING.lookups[0].on, "shop": pl.lit("west")}),)
    ),
    "a column less": dropping(with_input(CHANGING, "orders", contract=Sizeless), "size"),
    "a looked-up input less": dropping(replace(CHANGING, lookups=(), inputs=CHANGING.inputs[::2]), "price"),
        replace(CHANGING, lookups=(), inputs=(CHANGING.inputs[0], CHANGING.inputs[2])), "price"
    ),
    "a block": replace(CHANGING, block=pl.col("at").dt.week()),
}
SCORED_ALIKE = ("a threshold", "other words", "a block")  # nothing to fit: newer rows are asked for


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
        made = batch.predict_frame(case, self.champion, self.data, self.rows)
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
        made = batch.predict_frame(CHANGING, champion, data, rows)
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
