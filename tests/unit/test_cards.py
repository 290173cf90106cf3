"""Model cards: what they say of each kind of model, and that nothing in them is taken for markup."""

from __future__ import annotations

import re

import numpy as np
import pytest

from schemas.verdicts import Kind
from tasks.evaluation.metrics import block_metric, with_scores
from tasks.features.splitting import split_by_time
from tasks.registry.artifacts import card_path
from tasks.registry.factory import open_registry
from tasks.reporting.model_card import attach_card, card_evidence, render_card
from tasks.reporting.model_card_html import Section, html, markdown
from tests.modelling_kit import case, frame
from tests.registry_kit import candidate
from tests.unit.test_evaluation import noisy_scores


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_evidence_holds_the_mean_over_blocks_in_its_interval_and_a_curve_of_all_rows(kind: Kind) -> None:
    use_case = case(kind)
    rows = split_by_time(use_case, frame(use_case)).holdout
    scores = noisy_scores(kind, rows)  # type: ignore[no-untyped-call]
    found = card_evidence(use_case, rows, scores)
    for name, (mean, low, high) in found["intervals"].items():
        blocks = block_metric(use_case, with_scores(use_case, rows, scores), name).drop_nulls()
        assert mean == pytest.approx(np.average(blocks["value"], weights=blocks["rows"]))
        assert low < mean < high
    assert use_case.gate.metric in found["intervals"]
    bins = found["calibration"]
    assert sum(b["rows"] for b in bins) == (0 if kind == "regression" else rows.height)
    assert [b["said"] for b in bins] == sorted(b["said"] for b in bins)


def test_a_perfectly_calibrated_model_lies_on_the_diagonal() -> None:
    use_case = case("binary")
    rows = frame(use_case).drop_nulls("_target")
    share = rows.group_by("shop").agg(rate=rows["_target"].mean())
    scores = rows.join(share, on="shop", maintain_order="left")["rate"].to_numpy()
    curve = card_evidence(use_case, rows, scores)["calibration"]
    gap = sum(b["rows"] * (b["said"] - b["happened"]) for b in curve)
    assert gap == pytest.approx(0, abs=1e-6)


def test_a_card_of_a_version_that_holds_little(tmp_path: object) -> None:
    registry = open_registry(f"sqlite:///{tmp_path}/mlflow.db")
    ref = registry.record(candidate("orders"))
    pages = {suffix: page.decode() for suffix, page in render_card(case("binary"), registry, ref).items()}
    for page in pages.values():
        assert "orders v1" in page
        assert ref.sha256 in page
        assert "0.7000" in page
    assert "## Gate" not in pages["md"]


def test_a_damaged_card_is_made_again(tmp_path: object) -> None:
    registry = open_registry(f"sqlite:///{tmp_path}/mlflow.db")
    ref = registry.record(candidate("orders"))
    attach_card(case("binary"), registry, ref)
    page, path = registry.card(ref, "md"), card_path(registry.tags(ref)["penstock.card_sha256.md"], "md")
    registry._store.write(registry._store.entry("orders", 1).source, {path: b"damaged"})  # type: ignore[attr-defined]
    attach_card(case("binary"), registry, ref)
    assert registry.card(ref, "md") == page


def test_nothing_in_a_card_is_markup() -> None:
    evil = "<img src=x onerror=alert(1)>|`"
    sections = [
        Section(evil, evil, (evil, "share"), [(evil, "1")], bars=[0.0]),
        Section("facts", rows=[(evil, evil)]),
        Section("list", rows=[(evil,)]),
    ]
    page = html(evil, evil, sections)
    assert "<img" not in page
    assert page.count("&lt;img") == 10
    assert re.search(r"\| \\?<img[^\n]*\\\|", markdown(evil, evil, sections)), "a bar ends a cell"
