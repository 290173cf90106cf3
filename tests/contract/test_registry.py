"""What every registry does, whichever backend it stands on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import IntegrityError, NotFound, StaleCheck, UsageError
from schemas.refs import ModelRef
from schemas.verdicts import Check, Evaluation, GateVerdict
from tasks.promotion import champion
from tasks.registry.factory import open_registry
from tasks.registry.protocol import ModelRegistry
from tests.registry_kit import candidate, crowned, server, unique, verdict


@pytest.fixture(scope="module", params=["sqlite", "server"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """URL of a registry and the folder its artifacts lie in."""
    if request.param == "server":
        return server().url, server().artifacts
    home = tmp_path_factory.mktemp("a home & ünïcode")
    return f"sqlite:///{home / 'deep' / 'mlflow.db'}", home / "deep" / "artifacts"


@pytest.fixture
def registry(backend: tuple[str, Path]) -> ModelRegistry:
    return open_registry(backend[0])


@pytest.fixture
def name() -> str:
    return unique()


def stored(registry: ModelRegistry, backend: tuple[str, Path], ref: ModelRef, path: str) -> Path:
    """The file behind an artifact of a version."""
    source = registry._store.entry(ref.name, ref.version).source  # type: ignore[attr-defined]
    return Path(str(source).replace("mlflow-artifacts:", str(backend[1]))) / path


def test_it_is_a_registry_and_says_how_to_open_it_again(registry: ModelRegistry, name: str) -> None:
    assert isinstance(registry, ModelRegistry)
    ref = registry.record(candidate(name))
    assert ref.registry == registry.url
    assert open_registry(registry.url).version(name, 1) == ref


def test_nothing_is_there_at_first(registry: ModelRegistry, name: str) -> None:
    assert (registry.champion(name), registry.challenger(name), registry.versions(name)) == (None, None, [])
    with pytest.raises(NotFound, match=f"{name} 1"):
        registry.version(name, 1)


def test_a_manifest_is_recorded_once(registry: ModelRegistry, name: str) -> None:
    first = registry.record(candidate(name, 1))
    second = registry.record(candidate(name, 2))
    assert registry.record(candidate(name, 1, tags={"owner": "others"}, golden=b"other rows")) == first
    assert registry.versions(name) == [first, second]
    assert [ref.version for ref in registry.versions(name)] == [1, 2]


def test_a_recorded_model_is_the_challenger(registry: ModelRegistry, name: str) -> None:
    first = registry.record(candidate(name, 1))
    assert registry.challenger(name) == first
    second = registry.record(candidate(name, 2))
    assert registry.challenger(name) == second
    assert registry.champion(name) is None


def test_what_is_stored_comes_back(registry: ModelRegistry, name: str) -> None:
    model = bytes(range(256)) * 50
    given = candidate(
        name, model=model, metrics={"rare": math.nan}, documents={"reference": {"bins": [1, 2.5]}, "other": {}}
    )
    ref = registry.record(given)
    assert registry.model_bytes(ref) == model
    assert registry.golden(ref) == b"golden rows"
    assert registry.document(ref, "reference") == {"bins": [1, 2.5]}
    assert registry.document(ref, "manifest") == {"format_version": 1, **given.manifest}
    read = Evaluation.model_validate(registry.document(ref, "evaluation"))
    assert (read.model_sha256, read.metrics["auc"]) == (ref.sha256, 0.7)
    assert math.isnan(read.metrics["rare"])
    with pytest.raises(NotFound, match=r"documents/shap\.json"):
        registry.document(ref, "shap")
    with pytest.raises(NotFound, match=r"documents/verdict\.json"):
        registry.document(ref, "verdict")


def test_tags_tell_lineage_and_state(registry: ModelRegistry, name: str) -> None:
    tags = registry.tags(registry.record(candidate(name, manifest={"use_case_version": "abc", "recipe_of": None})))
    assert tags["owner"] == "team"
    assert tags["penstock.data_commit"] == "c0ffee"
    assert tags["penstock.use_case_version"] == "abc"
    assert tags["penstock.state"] == "challenger"
    assert "penstock.recipe_of" not in tags


def test_mlflow_sees_run_model_and_data(registry: ModelRegistry, name: str) -> None:
    ref = registry.record(candidate(name, description="What it is."))
    store: Any = registry._store  # type: ignore[attr-defined]
    run = store.call("look", lambda client: client.get_run(ref.run_id))
    (output,) = run.outputs.model_outputs
    model = store.call("look", lambda client: client.get_logged_model(output.model_id))
    assert run.info.status == "FINISHED"
    assert run.data.params == {"max_depth": "3"}
    assert run.data.metrics == {"auc": 0.7, "log_loss": 0.5}
    assert [(d.dataset.name, d.dataset.digest) for d in run.inputs.dataset_inputs] == [(name, "c0ffee")]
    assert store.entry(name, 1).source == model.artifact_location
    assert {metric.key: metric.value for metric in model.metrics} == {"auc": 0.7, "log_loss": 0.5}
    assert (str(model.status), store.entry(name, 1).description) == ("READY", "What it is.")


def test_a_first_champion_and_its_successor(registry: ModelRegistry, name: str) -> None:
    first = registry.record(candidate(name, 1))
    assert registry.promote(first, verdict(champion=None, interval=None), expected=None)
    assert (registry.champion(name), registry.challenger(name)) == (first, None)
    second = registry.record(candidate(name, 2))
    says = verdict(why="Better by far.", checks=(Check(name="slices", passed=True, detail=""),))
    assert registry.promote(second, says, expected=first)
    assert registry.champion(name) == second
    assert GateVerdict.model_validate(registry.document(second, "verdict")) == says
    assert registry.tags(second)["penstock.why"] == "Better by far."
    assert [registry.tags(ref)["penstock.state"] for ref in (first, second)] == ["archived", "champion"]


def test_what_nobody_was_told_of_is_known_until_somebody_was(registry: ModelRegistry, name: str) -> None:
    assert registry.unnotified(name) == []
    first, second, third = (registry.record(candidate(name, number)) for number in (1, 2, 3))
    assert registry.unnotified(name) == []
    assert registry.promote(first, verdict(champion=None, interval=None), expected=None)
    assert registry.unnotified(name) == [first]
    assert not registry.promote(second, verdict(promoted=False, why="No."), expected=first)
    assert registry.unnotified(name) == [first, second]
    registry.mark_notified(second)
    assert registry.promote(third, None, expected=first, override="It must be.")
    assert registry.unnotified(name) == [third]  # of the first there is nothing to tell any more
    registry.mark_notified(third)
    assert registry.promote(second, None, expected=third, override="After all.")
    assert registry.unnotified(name) == [second]  # it was told of before, but as refused


def test_a_challenger_whose_refit_ships_keeps_its_verdict(registry: ModelRegistry, name: str) -> None:
    gated = registry.record(candidate(name, 1))
    refit = registry.record(candidate(name, 2))
    assert registry.promote(refit, verdict(), expected=None)
    registry.supersede_with_refit(gated, verdict(), by=refit)
    assert registry.record(candidate(name, 1)) == gated
    assert (registry.champion(name), registry.challenger(name)) == (refit, None)
    assert registry.tags(gated)["penstock.state"] == "refitted"
    assert GateVerdict.model_validate(registry.document(gated, "verdict")) == verdict()


def test_a_refit_that_was_killed_before_its_challenger_was_told_tells_it(registry: ModelRegistry, name: str) -> None:
    gated = registry.record(candidate(name, 1))
    refit = registry.record(candidate(name, 2, manifest={"recipe_of": gated.version}))
    assert registry.promote(refit, verdict(), expected=None)
    for _ in range(2):
        champion.mark_superseded(registry, refit)
        assert registry.tags(gated)["penstock.state"] == "refitted"
    assert GateVerdict.model_validate(registry.document(gated, "verdict")) == verdict()


def test_a_refit_made_champion_without_a_verdict_tells_nothing(registry: ModelRegistry, name: str) -> None:
    gated = registry.record(candidate(name, 1))
    refit = registry.record(candidate(name, 2, manifest={"recipe_of": gated.version}))
    assert registry.promote(refit, None, expected=None, override="in a hurry")
    champion.mark_superseded(registry, refit)
    assert registry.tags(gated)["penstock.state"] == "challenger"


def test_a_trial_that_was_cut_off_is_finished(registry: ModelRegistry, name: str) -> None:
    parent, _ = registry.begin_study(name, "study", {"trials": 2})
    tags = {"mlflow.parentRunId": parent, "penstock.trial": "1"}

    def cut_off(client: Any) -> Any:
        return client.create_run(client.get_run(parent).info.experiment_id, tags=tags).info.run_id

    left = registry._store.call("start a trial", cut_off)  # type: ignore[attr-defined]
    for depth in (3, 3, 4):
        assert registry.record_trial(parent, 1, {"max_depth": depth}, {"loss": 0.5}, pruned=False) == left
    run = registry._store.call("read a trial", lambda client: client.get_run(left))  # type: ignore[attr-defined]
    assert (run.info.status, run.data.params, run.data.metrics) == ("FINISHED", {"max_depth": "3"}, {"loss": 0.5})


def test_promoting_the_champion_again_does_nothing(registry: ModelRegistry, name: str) -> None:
    first = crowned(registry, name, 1)
    assert not registry.promote(first, verdict(), expected=None)
    assert not registry.promote(first, verdict(promoted=False), expected=first)
    assert registry.champion(name) == first
    assert registry.tags(first)["penstock.state"] == "champion"


NO = {
    "it says no": ({"promoted": False, "why": "Too close."}, "Too close."),
    "it lacks a number": ({"challenger": math.nan}, "lacks challenger"),
}


@pytest.mark.parametrize(("changes", "why"), NO.values(), ids=NO)
def test_a_refusal_changes_no_champion(registry: ModelRegistry, name: str, changes: dict[str, Any], why: str) -> None:
    first = crowned(registry, name, 1)
    second = registry.record(candidate(name, 2))
    assert not registry.promote(second, verdict(**changes), expected=first)
    assert (registry.champion(name), registry.challenger(name)) == (first, None)
    assert registry.tags(second)["penstock.state"] == "refused"
    assert why in registry.tags(second)["penstock.why"]
    assert registry.document(second, "verdict")["metric"]
    assert registry.record(candidate(name, 2)) == second
    assert registry.challenger(name) is None, "a second recording put a refused model up again"


def test_a_model_whose_own_metrics_are_no_numbers_is_refused(registry: ModelRegistry, name: str) -> None:
    ref = registry.record(candidate(name, metrics={"brier": math.nan}))
    assert not registry.promote(ref, verdict(), expected=None)
    assert registry.champion(name) is None
    assert "lacks brier" in registry.tags(ref)["penstock.why"]


def test_a_stale_check_changes_nothing(registry: ModelRegistry, name: str) -> None:
    first = crowned(registry, name, 1)
    second, third = (registry.record(candidate(name, seed)) for seed in (2, 3))
    for expected in (None, third):
        with pytest.raises(StaleCheck, match="gate it again"):
            registry.promote(second, verdict(), expected=expected)
    assert (registry.champion(name), registry.challenger(name)) == (first, third)
    assert registry.tags(second)["penstock.state"] == "challenger"


OLD = "2013-02-01T00:00:00+00:00"


def test_the_champion_never_goes_back(registry: ModelRegistry, name: str) -> None:
    first = crowned(registry, name, 1)
    older = registry.record(candidate(name, 2, until=OLD))
    assert not registry.promote(older, verdict(), expected=first)
    assert (registry.champion(name), registry.challenger(name)) == (first, None)
    assert registry.tags(older)["penstock.state"] == "superseded"
    assert "the champion on rows until 2013-03-01" in registry.tags(older)["penstock.why"]


def test_a_person_can_override_age_and_verdict_but_not_a_stale_check(registry: ModelRegistry, name: str) -> None:
    first = crowned(registry, name, 1, until=OLD)
    second = crowned(registry, name, 2)
    no = verdict(promoted=False, challenger=None)
    with pytest.raises(StaleCheck):
        registry.promote(first, no, expected=None, override="rollback: it hurts")
    assert registry.promote(first, no, expected=second, override="rollback: it hurts")
    assert registry.champion(name) == first
    assert registry.tags(first)["penstock.override"] == "rollback: it hurts"
    assert [registry.tags(ref)["penstock.state"] for ref in (first, second)] == ["champion", "archived"]


DAMAGE = {
    "the model swapped": ("model.ubj", b"another model", "model_bytes"),
    "MLmodel naming another class": ("MLmodel", b"flavors: {xgboost: {model_class: antigravity.Bomb}}", "model_bytes"),
    "the predictor changed": ("code/*", b"raise SystemExit('imported')", "model_bytes"),
    "the hashes changed": ("hashes.json", b'{"files": {}, "format_version": 1}', "model_bytes"),
    "the model gone": ("model.ubj", None, "model_bytes"),
    "golden rows changed": ("golden.parquet", b"other", "golden"),
    "a document changed": ("documents/reference.json", b'{"content": 1}', "document"),
}


@pytest.fixture
def no_new_module() -> Iterator[None]:
    """Checking stored files imports none of them. What the checking itself needs was imported by the first test."""
    import sys

    before = {module for module in sys.modules if "penstock_predictor" in module or "antigravity" in module}
    yield
    assert {module for module in sys.modules if "penstock_predictor" in module or "antigravity" in module} == before


@pytest.mark.usefixtures("no_new_module")
@pytest.mark.parametrize(("path", "data", "read"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_refused_before_anything_is_imported(
    registry: ModelRegistry, backend: tuple[str, Path], name: str, path: str, data: bytes | None, read: str
) -> None:
    ref = registry.record(candidate(name))
    folder = stored(registry, backend, ref, "")
    (damaged,) = folder.glob(path)
    damaged.write_bytes(data) if data is not None else damaged.unlink()
    with pytest.raises(IntegrityError, match=damaged.name):
        getattr(registry, read)(ref, *(["reference"] if read == "document" else []))
    if read == "model_bytes":
        with pytest.raises(IntegrityError):
            registry.promote(ref, verdict(), expected=None)
        assert registry.champion(name) is None


def test_a_reference_to_other_bytes_is_refused(registry: ModelRegistry, name: str) -> None:
    ref = registry.record(candidate(name))
    with pytest.raises(IntegrityError, match="look it up again"):
        registry.model_bytes(ref.model_copy(update={"sha256": "0" * 64}))


def copied(store: Any, ref: ModelRef, tags: dict[str, str]) -> None:
    """Register the files of a version once more, as somebody else or a late request would."""

    def again(client: Any) -> None:
        (model,) = client.get_run(ref.run_id).outputs.model_outputs
        source = client.get_model_version(ref.name, str(ref.version)).source
        client.create_model_version(ref.name, source, ref.run_id, tags, model_id=model.model_id)

    store.call("register again", again)


def test_a_version_that_someone_else_registered_is_not_served(registry: ModelRegistry, name: str) -> None:
    ours = crowned(registry, name, 1)
    store: Any = registry._store  # type: ignore[attr-defined]
    copied(store, ours, {})
    store.set_alias(name, "champion", 2)
    assert registry.versions(name) == [ours]
    with pytest.raises(IntegrityError, match="not recorded by Penstock"):
        registry.champion(name)


def test_a_double_made_by_a_late_request_goes(registry: ModelRegistry, name: str) -> None:
    ref = registry.record(candidate(name))
    copied(registry._store, ref, registry.tags(ref))  # type: ignore[attr-defined]
    assert len(registry.versions(name)) > 1  # one, or more where a slow server had the request repeated
    assert registry.record(candidate(name)) == ref
    assert registry.versions(name) == [ref]


def test_a_bad_candidate_leaves_nothing(registry: ModelRegistry, name: str) -> None:
    with pytest.raises(UsageError, match="JSON"):
        registry.record(candidate(name, documents={"x": {"a": object()}}))
    assert registry.versions(name) == []
