"""A seeded search: its trials lie under one run, its best goes through the gate, and its result is made again."""

import sys

import pytest

from schemas.errors import NotEnoughEvidence, UsageError
from schemas.fitting import Plan
from schemas.settings import Settings
from tasks import flow_tasks
from tasks.features.splitting import split_by_time
from tasks.registry.factory import open_registry
from tasks.registry.mlflow.run_tree import PARENT
from tasks.registry.tags import STUDY, TRIAL
from tasks.training import engines, tuning
from tasks.training.reproduction import reproduce
from tests.modelling_kit import frame
from tests.training_kit import PLAIN, manifest, publish, train

NAME = "tests.training_kit:PLAIN"


@pytest.fixture(scope="module")
def parts():
    known = frame(PLAIN)
    return engines.Split(*split_by_time(PLAIN, known), known)


def told(parts, **plan):
    trials: list[tuning.TrialResult] = []
    best = tuning.search(PLAIN, parts, Plan(**plan), trials.append)
    return best, sorted(trials, key=lambda found: found.number)


def test_one_seed_one_search_and_never_below_the_own_parameters(parts):
    best, trials = told(parts, trials=9)
    assert (best, trials) == told(parts, trials=9)
    assert [found.number for found in trials] == list(range(9))
    assert trials[0].params == {}
    assert best.loss <= trials[0].loss
    assert best == min((found for found in trials if not found.pruned), key=lambda found: found.loss)
    assert any(found.pruned for found in trials)


def test_a_searched_challenger_is_gated_recorded_and_made_again(tmp_path):
    with Settings(home=tmp_path / "home").active() as settings:
        data = publish(settings, "early", tmp_path / "sources", NAME)
        challenged, shipped = train(settings, data, NAME, trials=6, jobs=2)
        registry = open_registry(settings.registry_url)
        made = [manifest(settings, model) for model in (challenged.model, shipped)]
        assert made[0]["search"]["trials"] == 6
        assert made[0]["params"] == made[1]["params"]
        assert made[0]["use_case_version"] == PLAIN.version()
        for model in {challenged.model.version: challenged.model, shipped.version: shipped}.values():
            assert reproduce(PLAIN, registry, model, data.store).identical
        parent, children = tree(made[0]["search"]["study"], settings)
        whole = [run for run in children if run.data.tags[f"{TRIAL}.pruned"] == "false"]
        least = min(run.data.metrics["stopping_loss"] for run in whole)
        assert parent.data.metrics["stopping_loss"] == made[0]["search"]["stopping_loss"] == least
        with engines.split_rows(PLAIN, data, "memory") as rows:  # the same search again: recorded once
            tuned, told_again = tuning.tune(PLAIN, rows, data, registry, Plan(trials=6, jobs=2))
        assert (tuned.training.params, told_again) == (made[0]["params"], made[0]["search"])
        assert len(tree(made[0]["search"]["study"], settings)[1]) == 6
        assert [under(each, settings) for each in (challenged.model, shipped)] == [
            parent.info.run_id,
            challenged.model.run_id,
        ]
        assert flow_tasks.previous_outcome.fn(NAME, data, settings.registry_url, trials=6)
        assert flow_tasks.previous_outcome.fn(NAME, data, settings.registry_url, trials=7) is None


def tree(study, settings):
    """The run of a search, and those of its trials under it, all finished."""
    client = open_registry(settings.registry_url)._store._client
    experiment = client.get_experiment_by_name(PLAIN.name).experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`{STUDY}` = '{study}'")
    children = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent.info.run_id}'")
    children = [run for run in children if TRIAL in run.data.tags]
    assert sorted(int(run.data.tags[TRIAL]) for run in children) == list(range(len(children)))
    assert all(run.info.status == "FINISHED" for run in (parent, *children))
    return parent, children


def under(model, settings):
    """The run that a model's run lies under."""
    return open_registry(settings.registry_url)._store._client.get_run(model.run_id).data.tags[PARENT]


def test_what_a_search_needs_is_said(parts, monkeypatch):
    with pytest.raises(NotEnoughEvidence):
        told(engines.Split(parts.train.clear(), parts.stopping, parts.holdout, parts.known), trials=2)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install .*optuna"):
        told(parts, trials=2)
