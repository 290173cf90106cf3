"""Everything around /predict: model card, health, metrics, the API's description and the page."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from deployments.serving import responses
from deployments.serving.metrics import Metrics
from deployments.serving.model_loader import Deployed
from deployments.serving.model_reloader import Serving
from schemas.usecase import UseCase
from tasks import registry

Handler = Callable[[Request], Awaitable[Response]]
NEVER_STORED = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class ServiceRoutes:
    """The Starlette application beside /predict, as `application`."""

    def __init__(
        self,
        use_case: UseCase,
        serving: Serving,
        metrics: Metrics,
        token: str,
        document: Callable[[], Mapping[str, Any]],
        *,
        canary_share: float = 0.0,
    ) -> None:
        self._case, self._serving, self._metrics, self._document = use_case, serving, metrics, document
        self._expected, self._canary_share = f"Bearer {token}".encode(), canary_share
        self._page, self._policy = page()
        routes = [
            Route("/", self._root),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/model", self._closed(self._model)),
            Route("/metrics", self._closed(self._exposition)),
            Route("/openapi.json", self._closed(self._description)),
        ]
        self.application = Starlette(routes=routes, exception_handlers={HTTPException: _refused, 500: _failed})

    def _closed(self, handler: Handler) -> Handler:
        """The handler for those who have the token."""

        async def checked(request: Request) -> Response:
            if not hmac.compare_digest(request.headers.get("authorization", "").encode("latin-1"), self._expected):
                raise HTTPException(401, "a bearer token is needed", {"www-authenticate": "Bearer"})
            return await handler(request)

        return checked

    async def _healthz(self, request: Request) -> Response:
        return _json({"status": "runs"})

    async def _readyz(self, request: Request) -> Response:
        ready = self._serving.champion is not None
        return _json({"status": "ready" if ready else "no verified model"}, 200 if ready else 503)

    async def _model(self, request: Request) -> Response:
        if self._serving.champion is None:
            raise HTTPException(503, "no verified model answers yet; try again later")
        return _json(card(self._case, self._serving, self._canary_share))

    async def _exposition(self, request: Request) -> Response:
        text = self._metrics.text(self._serving, fitted_until(self._serving.champion))
        return Response(text, media_type="text/plain; version=0.0.4")

    async def _description(self, request: Request) -> Response:
        return _json(self._document())

    async def _root(self, request: Request) -> Response:
        closed = {"content-security-policy": self._policy, "referrer-policy": "no-referrer"}
        return HTMLResponse(self._page, headers={**NEVER_STORED, **closed})


def card(use_case: UseCase, serving: Serving, canary_share: float) -> dict[str, Any]:
    """The champion's card: what it is, what it was made from, how it was judged, and what stands beside it.

    `use_case` is that of the code; threshold, classes and features are the version's own.
    """
    champion = serving.champion
    if champion is None:
        return {}
    own, documents = champion.use_case, champion.package.documents
    manifest = documents.get("manifest", {})
    return {
        "name": champion.ref.name,
        "version": champion.ref.version,
        "sha256": champion.ref.sha256,
        "run_id": champion.ref.run_id,
        "question": use_case.question,
        "target": {"kind": own.target.kind, "name": own.target.name, "classes": list(own.target.classes)},
        "threshold": own.target.threshold,
        "features": list(own.features),
        "lineage": {**manifest, "lookups": {name: each.commit for name, each in champion.tables.items()}},
        "same_use_case": manifest.get("use_case_version") == use_case.version(),
        "evaluation": documents.get("evaluation"),
        "verdict": documents.get("verdict"),
        "approved": documents.get("approval", {}).get("why", ""),
        "since": champion.since.isoformat(),
        "way": "compiled" if champion.scorer.fast else "frame",
        "way_why": champion.scorer.why,
        "challenger": serving.challenger.ref.version if serving.challenger else None,
        "canary_share": canary_share if serving.challenger else 0.0,
        "refused": serving.refused,
        "trouble": serving.trouble,
    }


def fitted_until(deployed: Deployed | None) -> float | None:
    """Event time of the newest row that a model was fitted on, in s since 1970."""
    until = registry.fitted_until(deployed.package.documents.get("manifest", {})) if deployed else None
    return until.timestamp() if until else None


def page() -> tuple[str, str]:
    """The page and the content security policy that lets nothing else run on it."""
    text = files("deployments.serving").joinpath("page.html").read_text("utf-8")
    allowed = {tag: _hashed(text, tag) for tag in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _hashed(page: str, tag: str) -> str:
    content = page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _json(content: Any, status: int = 200) -> Response:
    body = msgspec.json.encode(content, enc_hook=str)
    return Response(body, status, headers=NEVER_STORED, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(error.detail) if isinstance(error, HTTPException) else "the server failed"
    headers = dict(getattr(error, "headers", None) or {})
    return Response(responses.refusal(detail), status, headers={**NEVER_STORED, **headers}, media_type="application/json")


async def _failed(request: Request, error: Exception) -> Response:
    return Response(responses.refusal("the server failed; its log says where"), 500, media_type="application/json")
