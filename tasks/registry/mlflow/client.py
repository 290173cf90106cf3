"""Exchanges with MLflow: each bounded, silent, tried again where it failed in passing, its errors translated.

MLflow is a SQLite file with a folder of artifacts beside it, or a server. Only this module and its siblings `mlflow_*`
import it. What makes something (`run`, `logged_model`, `version`) looks first whether it is there, inside the exchange that
is repeated: a reply that was lost on the way makes no second one.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from schemas.digests import canonical_json
from schemas.errors import NotFound, UsageError
from tasks.registry import artifacts
from tasks.registry.location import SETTING, Location
from tasks.registry.mlflow import database, environment, model_metadata, run_tree
from tasks.registry.mlflow.errors import translated
from tasks.registry.mlflow.run_tree import PARENT
from tasks.registry.protocol import Candidate
from tasks.registry.tags import MANIFEST, RESULT, STUDY, TRIAL

with environment.importing():
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")
PAUSE = 0.25  # s before the second attempt is twice that, then doubled


class MlflowStore:
    """What Penstock asks of MLflow. `timeout`: s for one request; `attempts`: how often one exchange is tried."""

    def __init__(self, at: Location, *, timeout: int, attempts: int) -> None:
        self.at = at
        self._timeout = timeout
        self._attempts = attempts

    def call(self, what: str, effect: Callable[[MlflowClient], T]) -> T:
        """Run one exchange; `what` completes "cannot ...". Raises ServiceUnavailable, NotFound, UsageError."""
        for attempt in range(1, self._attempts + 1):
            try:
                with environment.calling(self._timeout):
                    return effect(self._client)
            except (MlflowException, SQLAlchemyError, OSError) as error:
                problem = translated(error, what, self.at.url)
                if not problem.transient or attempt == self._attempts:
                    raise problem from error
            time.sleep(PAUSE * 2**attempt)
        raise AssertionError("an exchange ends in an answer or an error")

    @cached_property
    def _client(self) -> MlflowClient:
        with environment.importing():
            if self.at.database is not None:
                if not self.at.exists:
                    database.make_database(self.at, self.at.database)
                database.refuse_others(self.at.url, self.at.database)
            return MlflowClient(tracking_uri=self.at.url, registry_uri=self.at.url)

    # Versions, aliases, tags

    def entry(self, name: str, version: int) -> Any:
        """MLflow's entry of a version. Raises NotFound."""
        return self.call(f"read {name} {version}", lambda client: client.get_model_version(name, str(version)))

    def search(self, name: str, condition: str = "") -> list[Any]:
        """Entries of a model's versions, oldest first."""
        if not self.at.exists:
            return []
        entries: list[Any] = []
        token: str | None = ""

        def page(client: MlflowClient) -> Any:
            return client.search_model_versions(f"name = '{name}'{condition}", 200, page_token=token or None)

        while token is not None:
            page_entries = self.call(f"list {name}", page)
            entries.extend(page_entries)
            token = page_entries.token or None
        return sorted(entries, key=lambda entry: int(entry.version))

    def aliases(self, name: str) -> dict[str, int]:
        """Aliases of a model and the versions they name; none for a model that is not registered."""
        try:
            model = self.call(f"look up {name}", lambda client: client.get_registered_model(name))
        except NotFound:
            return {}
        return {alias: int(version) for alias, version in model.aliases.items()}

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let an alias name a version."""
        what = f"make {name} {version} the {alias}"
        self.call(what, lambda client: client.set_registered_model_alias(name, alias, str(version)))

    def drop_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        self.call(f"drop the {alias} of {name}", lambda client: client.delete_registered_model_alias(name, alias))

    def model_tag(self, name: str, key: str) -> str:
        """A tag of the model itself, whatever its versions; '' where there is none."""
        try:
            return str(self.call(f"look up {name}", lambda client: client.get_registered_model(name)).tags.get(key, ""))
        except NotFound:
            return ""

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of the model itself. Raises NotFound where no version was ever registered."""
        self.call(f"tag {name}", lambda client: client.set_registered_model_tag(name, key, value))

    def describe(self, name: str, version: int, text: str) -> None:
        """Set a version's description, Markdown that MLflow's pages show."""
        self.call(f"describe {name} {version}", lambda client: client.update_model_version(name, str(version), text))

    def page(self, run_id: str, path: str) -> str:
        """Where MLflow's pages show an artifact of a run's model, relative to the server's root."""

        def effect(client: MlflowClient) -> str:
            run = client.get_run(run_id)
            outputs = run.outputs.model_outputs if run.outputs else []
            model = f"models/{outputs[0].model_id}" if outputs else f"runs/{run_id}"
            return f"#/experiments/{run.info.experiment_id}/{model}/artifacts/{path}"

        return self.call(f"look up run {run_id}", effect)

    def tag(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""

        def effect(client: MlflowClient) -> None:
            for key, value in tags.items():
                client.set_model_version_tag(name, str(version), key, value)

        self.call(f"tag {name} {version}", effect)

    # Artifacts

    def read(self, source: str, path: str) -> bytes:
        """One file of an artifact folder. Raises NotFound."""

        def effect(_: MlflowClient) -> bytes:
            with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
                return Path(self._artifacts(source).download_artifacts(path, folder)).read_bytes()

        return self.call(f"read {path} of {source}", effect)

    def write(self, source: str, files: Mapping[str, bytes]) -> None:
        """Store files in an artifact folder; the same file again replaces it."""

        def effect(_: MlflowClient) -> None:
            with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
                for path, data in files.items():
                    local = Path(folder, path)
                    local.parent.mkdir(parents=True, exist_ok=True)
                    local.write_bytes(data)
                self._artifacts(source).log_artifacts(folder)

        self.call(f"store files in {source}", effect)

    def _artifacts(self, source: str) -> Any:
        return get_artifact_repository(source, tracking_uri=self.at.url, registry_uri=self.at.url)

    # Runs, logged models, versions: found, or made

    def run(self, candidate: Candidate, digest: str) -> Any:
        """The run of a manifest."""

        def effect(client: MlflowClient) -> Any:
            experiment = self._experiment(client, candidate.name)
            if known := client.search_runs([experiment], f"tags.`{MANIFEST}` = '{digest}'", order_by=["start_time ASC"]):
                return known[0]
            tags = {MANIFEST: digest, **run_tree.parent(client, experiment, candidate)}
            return client.create_run(experiment, tags=tags, run_name=f"{candidate.name}-{digest[:8]}")

        return self.call(f"start a run of {candidate.name}", effect)

    # Searches: a run with its trials as child runs

    def study(self, name: str, study: str, params: Mapping[str, Any]) -> tuple[str, Any]:
        """The run of a search, found or made, and its result where it has ended."""

        def effect(client: MlflowClient) -> tuple[str, Any]:
            experiment = self._experiment(client, name)
            known = client.search_runs([experiment], f"tags.`{STUDY}` = '{study}'", order_by=["start_time ASC"])
            request: dict[str, Any] = {"tags": {STUDY: study}, "run_name": f"{name}-search-{study[:8]}"}
            run = known[0] if known else client.create_run(experiment, **request)
            client.log_batch(run.info.run_id, params=model_metadata.params(params))
            result = run.data.tags.get(RESULT)
            return str(run.info.run_id), json.loads(result) if result else None

        return self.call(f"start a search of {name}", effect)

    def trial(
        self, parent: str, number: int, params: Mapping[str, Any], metrics: Mapping[str, float], *, pruned: bool
    ) -> str:
        """The run of a trial, a child of the search's, found or made."""

        def effect(client: MlflowClient) -> str:
            experiment = client.get_run(parent).info.experiment_id
            same = f"tags.`{PARENT}` = '{parent}' and tags.`{TRIAL}` = '{number}'"
            known = client.search_runs([experiment], same)
            if known and known[0].info.status == "FINISHED":
                return str(known[0].info.run_id)
            tags = {PARENT: parent, TRIAL: str(number), f"{TRIAL}.pruned": str(pruned).lower()}
            run = known[0] if known else client.create_run(experiment, tags=tags, run_name=f"trial-{number}")
            info = run.info
            if not run.data.params:  # which cannot change once they are there
                client.log_batch(
                    info.run_id, model_metadata.metrics(metrics, info.start_time), model_metadata.params(params)
                )
            client.set_terminated(info.run_id, "FINISHED")
            return str(info.run_id)

        return self.call(f"record trial {number}", effect)

    def end_study(self, parent: str, result: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Keep a search's result with its run and finish it."""

        def effect(client: MlflowClient) -> None:
            tag = RunTag(RESULT, canonical_json(result).decode())
            client.log_batch(parent, model_metadata.metrics(metrics, client.get_run(parent).info.start_time), tags=[tag])
            client.set_terminated(parent, "FINISHED")

        self.call("finish a search", effect)

    def _experiment(self, client: MlflowClient, name: str) -> str:
        known = client.get_experiment_by_name(name)
        if known is None:
            return client.create_experiment(name, str(self.at.artifacts / name) if self.at.artifacts else None)
        if known.lifecycle_stage == "deleted":
            raise UsageError(
                f"the experiment {name} was deleted in MLflow ({SETTING}={self.at.url}): restore it, or rename it"
            )
        return str(known.experiment_id)

    def logged_model(self, run: Any, digest: str) -> Any:
        """The logged model of a manifest, whose artifact folder holds all files."""
        experiment, run_id = run.info.experiment_id, run.info.run_id

        def effect(client: MlflowClient) -> Any:
            known = client.search_logged_models([experiment], f"tags.`{MANIFEST}` = '{digest}'")
            return known[-1] if known else client.create_logged_model(experiment, "model", run_id, {MANIFEST: digest})

        return self.call("start a model", effect)

    def finish(self, candidate: Candidate, run: Any, model: Any, tags: Mapping[str, str]) -> None:
        """Log parameters, metrics, tags and the data commit; the run is FINISHED when all of it is there."""
        run_id, model_id, at = run.info.run_id, model.model_id, run.info.start_time
        numbers = {name: value for name, value in candidate.evaluation.metrics.items() if artifacts.finite(value)}
        metrics = [Metric(name, value, at, 0, model_id=model_id, run_id=run_id) for name, value in numbers.items()]
        params = [Param(name, str(value)) for name, value in candidate.params.items()]

        def effect(client: MlflowClient) -> None:
            client.log_batch(run_id, metrics, params, [RunTag(name, value) for name, value in tags.items()])
            client.log_inputs(run_id, [model_metadata.dataset(candidate)])
            outputs = client.get_run(run_id).outputs
            if outputs is None or not outputs.model_outputs:
                client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
            client.finalize_logged_model(model_id, "READY")
            client.set_terminated(run_id, "FINISHED")

        self.call(f"log a run of {candidate.name}", effect)

    def register(self, candidate: Candidate, run: Any, model: Any, tags: Mapping[str, str]) -> Any:
        """The version of a manifest."""
        name, run_id, model_id = candidate.name, run.info.run_id, model.model_id

        def effect(client: MlflowClient) -> Any:
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name)
            if known := self.recorded(name, tags[MANIFEST]):
                return known
            request = {"tags": dict(tags), "description": candidate.description or None, "model_id": model_id}
            return client.create_model_version(name, model.artifact_location, run_id, **request)

        return self.call(f"register a version of {name}", effect)

    def recorded(self, name: str, digest: str) -> Any:
        """The version of a manifest, or None. A request that was answered too late may have made it twice: one stays."""
        known = self.search(name, f" and tags.`{MANIFEST}` = '{digest}'")
        for extra in known[1:]:
            self._remove(name, extra.version)
        return known[0] if known else None

    def _remove(self, name: str, version: str) -> None:
        self.call(f"remove the double {name} {version}", lambda client: client.delete_model_version(name, version))
