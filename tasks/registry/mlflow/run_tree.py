"""Runs that belong together: under a search its trials and its challenger, under a challenger its refit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.registry.protocol import Candidate
from tasks.registry.tags import STUDY

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"


def parent(client: MlflowClient, experiment: str, candidate: Candidate) -> dict[str, str]:
    """The tag that puts a candidate's run under the run of its recipe, else of its search; none where it has neither."""
    if recipe := candidate.manifest.get("recipe_of"):
        return {PARENT: str(client.get_model_version(candidate.name, str(recipe)).run_id)}
    study = (candidate.manifest.get("search") or {}).get("study")
    runs = client.search_runs([experiment], f"tags.`{STUDY}` = '{study}'", max_results=1) if study else []
    return {PARENT: str(runs[0].info.run_id)} if runs else {}
