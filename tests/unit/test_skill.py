"""A first champion must be surely better than the constant: of files of noise hardly any gets one, of signal most do."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.results import IngestResult, Loop, Scores, Training
from schemas.verdicts import GateVerdict, Leak
from tasks.evaluation.baseline_models import constant_scores
from tasks.evaluation.gate import gate_challenger
from tasks.evaluation.intervals import student_interval
from tasks.features.engineering import BLOCK, TARGET
from tests.modelling_kit import START, case
from tests.skill_kit import KINDS, file_of, first_gate

SIZES = (300, 700, 1_500, 4_000)


def test_files_of_pure_noise_get_no_champion(tmp_path: Path) -> None:
    champions = []
    for seed, rows in enumerate(SIZES):
        for kind in KINDS:
            verdict = first_gate(file_of(kind, rows, 500 + seed, dated=bool(seed % 2)), tmp_path)
            if verdict.promoted:
                champions.append((kind, rows))
            else:
                assert verdict.why.startswith("refused: no model beats the baseline: "), verdict.why
    assert len(champions) <= len(SIZES) * len(KINDS) // 20


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [150, 600])
def test_where_there_is_something_to_learn_the_champion_comes(rows: int, kind: str, dated: bool, tmp_path: Path) -> None:
    verdict = first_gate(file_of(kind, rows, 7, effect=2.0, dated=dated), tmp_path)  # type: ignore[arg-type]
    assert verdict.promoted, verdict.why


def judged(
    gains: list[float],
    *,
    simple: float | None = None,
    champion: float | None = None,
    leaks: tuple[Leak, ...] = (),
    **policy: object,
) -> GateVerdict:
    """The gate on errors by block: the constant errs by 1, the challenger by what it gains less."""
    days = np.repeat(np.arange(len(gains)), 2)
    held = pl.DataFrame({"at": [START] * days.size, "shop": "north", BLOCK: days, TARGET: np.zeros(days.size)})
    made = case("regression", **{"metric": "mae", "min_rows": 1, "min_blocks": 2, "min_slice_rows": 10**6, **policy})
    ours, constant = np.repeat(1 - np.asarray(gains), 2), np.ones(days.size)
    baseline = constant if simple is None else np.full(days.size, simple)
    theirs = None if champion is None else np.full(days.size, champion)
    others = {} if simple is None else {"constant_scores": constant}
    return gate_challenger(made, held, ours, theirs, baseline, data_commit="c0ffee", seed=1, leaks=leaks, **others)


def failed(verdict: GateVerdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.passed]


def test_the_margin_is_not_for_the_first_champion() -> None:
    gains = [0.3, -0.25, 0.2, -0.2, 0.1]  # better on average, but not surely
    alone = judged(gains, margin=9.0)
    assert failed(alone) == ["skill"]
    assert alone.why.startswith("refused: no model beats the baseline: mae 0.9700 against the baseline's 1.0000: ")
    assert "try more rows" in alone.why
    assert judged(gains, champion=1.0, margin=9.0).promoted


def test_a_sure_gain_over_the_constant_is_skill_whatever_the_linear_model_does() -> None:
    gains = [0.3, 0.25, 0.2, 0.3, 0.35]
    verdict = judged(gains, simple=0.75, margin=0.1)  # as good as the linear model, within the margin
    assert verdict.promoted, verdict.why
    assert [check.name for check in verdict.checks][:6] == [
        "complete",
        "rows",
        "blocks",
        "skill",
        "baseline",
        "non_inferiority",
    ]
    skill = next(check.detail for check in verdict.checks if check.name == "skill")
    assert "against the mean's 1.0000: the gain of +0.2800 is surely above 0 (95% interval from +0.2" in skill
    assert (verdict.baseline, verdict.interval and verdict.interval[0] < 0.03) == (0.75, True)
    assert failed(judged(gains, simple=0.5, margin=0.1)) == ["baseline", "non_inferiority"]
    lost = judged([-gain for gain in gains], simple=2.0, margin=0.1)  # beats a bad linear model, and not the constant
    assert failed(lost) == ["skill"]


def test_the_scores_of_the_constant_are_evidence_like_the_others() -> None:
    held = pl.DataFrame({"at": [START] * 4, "shop": "north", BLOCK: [0, 0, 1, 1], TARGET: np.zeros(4)})
    made = case("regression", metric="mae", min_rows=1, min_blocks=2)
    nan = np.array([0.0, np.nan, 0.0, 0.0])
    scores = [np.zeros(4), None, np.ones(4)]
    verdict = gate_challenger(made, held, *scores, data_commit="c0ffee", seed=1, constant_scores=nan)  # type: ignore[misc]
    assert verdict.why == "refused: 1 scores of the constant are not finite"


def test_the_constant_scores_what_the_training_rows_say() -> None:
    train = pl.DataFrame({TARGET: [1.0, 2.0, 6.0]})
    assert constant_scores(case("regression"), train, train[:2]).tolist() == [3.0, 3.0]


def test_students_interval_of_blocks_by_their_rows() -> None:
    low, high = student_interval(np.ones(3), np.array([0.1, 0.2, 0.3]), 0.05)
    assert (low, high) == pytest.approx((0.2 - 4.3027 * 0.1 / 3**0.5, 0.2 + 4.3027 * 0.1 / 3**0.5), abs=1e-4)


@pytest.mark.parametrize(
    ("trained", "scored", "refused"), [("refused", False, True), ("refused", True, False), ("promoted", False, False)]
)
def test_an_arrival_after_which_there_is_still_no_champion_is_refused(trained: str, scored: bool, refused: bool) -> None:
    training = Training(use_case="orders", status=trained, why="-")  # type: ignore[arg-type]
    scores = (Scores(use_case="orders", status="already done", why="-"),) if scored else ()
    ingested = IngestResult(use_case="orders", deliveries=())
    assert Loop(use_case="orders", why="-", ingested=ingested, scored=scores, trained=(training,)).refused is refused
