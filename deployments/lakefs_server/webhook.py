"""The application that a lakeFS server asks before it merges into `main`, and tells afterwards.

Run it beside the server: `penstock lake hook`, or `uvicorn --factory deployments.lakefs_server.webhook:create_app`. It
answers one endpoint, which `penstock lake init` writes into the repository's hook, to whoever shows the shared token.
"""

from __future__ import annotations

import logging
import secrets
from functools import lru_cache
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from schemas.errors import PenstockError, UsageError
from schemas.settings import Settings, read_settings
from schemas.usecase import UseCase, resolve
from schemas.verdicts import Alert
from tasks import alerting, publishing
from tasks.parsing import Limits
from tasks.publishing import IncomingMerge, MergeRules, Ruling
from tasks.versions.lakefs.hooks import answer
from tasks.versions.lakefs.store import LakeFSStore

LOGGER = logging.getLogger("penstock.hook")
PATH = "/lake"
CLOSE = {"Connection": "close"}  # lakeFS would ask again on a connection that has just been given up as idle
STATUS = {"admitted": 200, "stale": 409, "refused": 403}


class Event(BaseModel):
    """What lakeFS tells a hook; `source_ref` is the commit to merge, or, afterwards, the merge itself."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    event_type: str
    repository_id: str
    branch_id: str = ""
    source_ref: str = ""
    commit_metadata: dict[str, str] = Field(default_factory=dict)


class Hook:
    """What the events mean for the registered use cases."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = lru_cache(maxsize=64)(self._open)
        key = settings.lake_signing_key
        self._rules = MergeRules(
            key=key.get_secret_value() if key else None,
            rows=settings.lake_audit_rows,
            limits=Limits(memory_mb=settings.parse_memory_mb, seconds=publishing.HOOK_SECONDS),
        )

    def _open(self, use_case: str) -> LakeFSStore:
        return LakeFSStore(self._settings.store_url(use_case), self._settings)

    def judge(self, case: UseCase, event: Event) -> Ruling:
        """Answer one event."""
        store = self._store(case.name)
        if store.place.repository != event.repository_id:
            return Ruling("refused", f"this hook is for {store.url}, not for {event.repository_id!r}: mend its use_case")
        if event.event_type == "pre-merge":
            arrival = IncomingMerge(event.source_ref, event.branch_id, event.commit_metadata)
            return publishing.admit_merge(store, case, arrival, self._rules)
        if event.event_type == "pre-revert":
            return publishing.admit_revert(store, event.branch_id, event.commit_metadata, self._rules)
        if event.event_type == "post-merge":
            return self._tell(store, case, event)
        return Ruling("refused", f"{event.branch_id!r} takes merges only, not {event.event_type.removeprefix('pre-')}")

    def _tell(self, store: LakeFSStore, case: UseCase, event: Event) -> Ruling:
        """Make a merge that is not ours known; one that no hook was asked about is audited now."""
        merge = store.get(event.source_ref)
        found = publishing.audit_past_merges(store, case, merge, event.commit_metadata, self._rules, event.branch_id)
        if found.refused:
            self._raise_alert(alerting.unaudited_merge_alert(case.name, merge, found.refused))
        for name in found.inputs:
            told = {"commit": merge.id, "input": name, "origin": "external", "why": found.why}
            _emit("data.published", case.name, told)
            if not found.refused:
                with self._settings.active():
                    _start(case.name, name, merge.id)
        return Ruling("admitted", found.why)

    def _raise_alert(self, alert: Alert) -> None:
        """Keep the alert open and tell its sinks; what cannot be told now waits for the next flow of the use case."""
        log = self._settings.store_url(f"{alert.use_case}-log")
        with self._settings.active():
            try:
                alerting.sync_alerts(alert.use_case, log, (alert.cause,), (alert,))
                alerting.send_pending(alert.use_case, log)
            except PenstockError as error:
                LOGGER.warning("%s (%s)", error, alert.summary)
        _emit("alert.raised", alert.use_case, alert.model_dump(mode="json"))


def _start(use_case: str, input: str, commit: str) -> None:
    """What follows from rows that others brought, once, where a Prefect server is set."""
    if not _has_prefect():
        return
    from tasks.orchestration import start_published

    try:
        start_published(use_case, input, commit)
    except PenstockError as error:
        LOGGER.warning("what follows from %s was not started: %s", commit[:12], error)


def _has_prefect() -> bool:
    """Whether there is a Prefect server to tell: without one, Prefect would start a server in this process for the event."""
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def _emit(event: str, use_case: str, payload: dict[str, Any]) -> None:
    if not _has_prefect():
        return
    from tasks.orchestration import emit

    emit(event, use_case, payload)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Raises UsageError where no token is set: an open one would tell strangers what the lake holds."""
    settings = settings or read_settings()
    if settings.lake_hook_token is None:
        raise UsageError("the hook needs PENSTOCK_LAKE_HOOK_TOKEN, the token that the lakeFS server shows it")
    expected = f"Bearer {settings.lake_hook_token.get_secret_value()}".encode()
    app, hook = FastAPI(title="Penstock's hook for lakeFS", docs_url=None, redoc_url=None, openapi_url=None), Hook(settings)

    @app.post(PATH)
    def lake(event: Event, use_case: str, authorization: Annotated[str, Header()] = "") -> JSONResponse:
        if not secrets.compare_digest(authorization.encode(), expected):
            raise HTTPException(401, "wrong or no bearer token")
        return _answered(hook, event, use_case)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _answered(hook: Hook, event: Event, use_case: str) -> JSONResponse:
    try:
        ruling = hook.judge(resolve(use_case, modules=False), event)
    except PenstockError as error:
        status: Any = 503 if error.transient else 422
        return JSONResponse(answer("refused", str(error)), status_code=status, headers=CLOSE)
    return JSONResponse(answer(ruling.verdict, ruling.why), status_code=STATUS[ruling.verdict], headers=CLOSE)
