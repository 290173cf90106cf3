"""What readers ask of a registry: from a local one's own files where they can be read, else through MLflow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from schemas.errors import NotFound
from tasks.registry.location import Location
from tasks.registry.mlflow import local_read
from tasks.registry.mlflow.local_read import NotRead

if TYPE_CHECKING:
    from tasks.registry.mlflow.client import MlflowStore

T = TypeVar("T")


class RegistryReads:
    """The questions that change nothing, nor make a registry where there is none, as MLflow's client would.

    `store` gives that client, which is imported when it is first asked for.
    """

    def __init__(self, at: Location, store: Callable[[], MlflowStore]) -> None:
        self.at, self._store = at, store

    def entry(self, name: str, version: int) -> Any:
        """The entry of a version. Raises NotFound."""
        if not self.at.exists:
            raise NotFound(f"cannot read {name} {version}: there is no registry {self.at.url} yet")
        return self._read(
            lambda database: local_read.entry(database, name, version), lambda mlflow: mlflow.entry(name, version)
        )

    def search(self, name: str) -> list[Any]:
        """Entries of a model's versions, oldest first."""
        if not self.at.exists:
            return []
        return self._read(lambda database: local_read.entries(database, name), lambda mlflow: mlflow.search(name))

    def aliases(self, name: str) -> dict[str, int]:
        """Aliases of a model and the versions they name; none for a model that is not registered."""
        if not self.at.exists:
            return {}
        return self._read(lambda database: local_read.aliases(database, name), lambda mlflow: mlflow.aliases(name))

    def model_tag(self, name: str, key: str) -> str:
        """A tag of the model itself, whatever its versions; '' where there is none."""
        if not self.at.exists:
            return ""
        return self._read(
            lambda database: local_read.model_tag(database, name, key), lambda mlflow: mlflow.model_tag(name, key)
        )

    def read(self, source: str, path: str) -> bytes:
        """One file of an artifact folder. Raises NotFound."""
        return self._read(lambda _: local_read.artifact(source, path), lambda mlflow: mlflow.read(source, path))

    def _read(self, local: Callable[[Path], T], remote: Callable[[MlflowStore], T]) -> T:
        if self.at.database:
            with suppress(NotRead):
                return local(self.at.database)
        return remote(self._store())
