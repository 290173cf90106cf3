"""The settings of one process: read once by an entry point, then passed on or put in force.

An entry point is the command line, a deployed flow run, or a flow called from Python with nothing in force. Everything
below asks `in_force()`; nothing below reads the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import UsageError


class Settings(BaseSettings):
    """Every setting, as an environment variable with the prefix `PENSTOCK_`."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_", frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True
    )

    home: Path = Field(default=Path(".penstock"), description="root of everything that is not told to lie elsewhere")
    lake_url: str | None = Field(default=None, description="file://... or lakefs://...; default: a folder of the home")
    lake_namespace: str | None = Field(
        default=None, description="lakeFS: where repositories that Penstock makes keep objects, e.g. s3://bucket/lake"
    )
    lake_gateway: str | None = Field(
        default=None, description="lakeFS: URL of the S3 gateway; default: the server's; 'none' reads through its API"
    )
    lake_signing_key: SecretStr | None = Field(
        default=None, description="lakeFS: signs our merges for the lake's hook; the same for every writer and the hook"
    )
    lake_hook_url: str | None = Field(default=None, description="lakeFS: where its server reaches the hook's application")
    lake_hook_token: SecretStr | None = Field(
        default=None, description="lakeFS: bearer token that its server shows the hook"
    )
    lake_audit_rows: int = Field(
        default=2_000_000, ge=0, description="lakeFS: most rows that the hook audits of a merge that is not ours"
    )
    mlflow_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("PENSTOCK_MLFLOW_URL", "MLFLOW_TRACKING_URI"),
        description="tracking and registry URI; default: SQLite in the home",
    )
    landing: Path | None = Field(default=None, description="landing folder; default: a folder of the home")
    landing_bucket: str | None = Field(
        default=None, pattern="^s3://[^/]+", description="files also land here, e.g. s3://bucket/prefix, looked at in turns"
    )
    reports: Path | None = Field(default=None, description="HTML reports; default: a folder of the home")
    parse_memory_mb: int = Field(default=4096, ge=512, description="memory limit of the parsing child, MiB")
    parse_seconds: int = Field(default=600, ge=5, description="time limit of the parsing child, s")
    deployment: str = Field(default="penstock", description="name of the Prefect deployments that files and events start")
    server: Literal["shared", "ephemeral"] = Field(
        default="shared",
        description="Prefect's server where no PREFECT_API_URL is set: one that all of the home share, or one a process",
    )
    server_idle_minutes: float = Field(
        default=15.0, gt=0, description="minutes without use after which the home's shared server ends"
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where XGBoost computes")
    engine: Literal["memory", "external", "dask"] = Field(default="memory", description="where rows lie while training")
    spill: Path | None = Field(
        default=None, description="external and dask: folder for rows; workers elsewhere must see it; default: temporary"
    )
    task_runner: Literal["threads", "dask"] = Field(default="threads", description="where a backfill maps partitions")
    dask_address: str | None = Field(default=None, description="scheduler, e.g. tcp://host:8786; default: a local cluster")
    dask_workers: int = Field(default=2, ge=1, description="workers of the local cluster, of one thread each")
    alert_urls: SecretStr | None = Field(
        default=None, description="where alerts go: apprise URLs or prefect://<block type>/<name>, separated by spaces"
    )
    runbook_url: str = Field(default="docs/runbook.md", description="where alerts say that the runbook lies")
    api_token: SecretStr | None = Field(default=None, description="bearer token of the prediction server")
    shadow: bool = Field(default=True, description="whether the challenger scores served rows in shadow")
    canary_share: float = Field(default=0.0, ge=0, le=1, description="share of callers that the challenger answers")
    receipt_days: int | None = Field(
        default=None, ge=1, description="days that receipts, online and batch, stay at the head of the log; default: always"
    )

    @property
    def root(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def landing_dir(self) -> Path:
        """Where files land, as <use case>/<input>/<name>."""
        return (self.landing or self.root / "landing").expanduser().resolve()

    @property
    def reports_dir(self) -> Path:
        """Where HTML reports are written."""
        return (self.reports or self.root / "reports").expanduser().resolve()

    def store_url(self, repository: str) -> str:
        """URL of one repository: the use case's own, or `<use case>-log`."""
        lake = self.lake_url or (self.root / "lake").as_uri()
        return f"{lake.rstrip('/')}/{repository}" if not lake.endswith("://") else f"{lake}{repository}"

    @property
    def registry_url(self) -> str:
        """URI of the MLflow tracking store and registry."""
        return self.mlflow_url or f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"

    @contextmanager
    def active(self) -> Iterator[Settings]:
        """Put these settings in force for the block."""
        token = _in_force.set(self)
        try:
            yield self
        finally:
            _in_force.reset(token)


_in_force: ContextVar[Settings | None] = ContextVar("penstock_settings", default=None)


def in_force() -> Settings:
    """The settings in force; an entry point that has put none in force gets those of the environment.

    Raises UsageError that names each variable that could not be read.
    """
    return _in_force.get() or read_settings()


def read_settings(**overrides: object) -> Settings:
    """Settings from the environment, `overrides` first. Raises UsageError, one line, for a value that does not fit."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors())
        raise UsageError(f"a setting does not fit ({wrong}); settings are environment variables PENSTOCK_<NAME>") from None
