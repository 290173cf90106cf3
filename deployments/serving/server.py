"""One prediction server: its parts put together, started and stopped in order."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from deployments.serving import openapi
from deployments.serving.lookup_loader import Loader
from deployments.serving.metrics import Metrics
from deployments.serving.model_cache import Cache
from deployments.serving.model_reloader import ModelReloader
from deployments.serving.predict_app import MOST_BYTES, MOST_ROWS, Application
from deployments.serving.prediction_logger import PredictionLogger
from deployments.serving.promotion_listener import Listener, is_set
from deployments.serving.routes import ServiceRoutes
from deployments.serving.version_design import living_designs, request_case
from schemas.errors import PenstockError, UsageError, first_line
from schemas.model_design import DOCUMENT, Design
from schemas.settings import Settings
from schemas.usecase import UseCase
from tasks.inference.online import Prepared, prepare
from tasks.registry import open_registry
from tasks.versions import open_store

log = logging.getLogger("penstock.serving")
REGISTRY_SECONDS = 30.0  # how long a start waits for the registry to say what the champion reads
SWITCH_SECONDS = 0.0005  # threads behind the answers hand the interpreter over ten times as fast as by default
MOST_CONNECTIONS = 1000
IDLE_SECONDS = 75  # longer than the proxies in front keep a connection: they close first


@dataclass(frozen=True)
class Options:
    """How a server behaves; times in s."""

    poll_seconds: float = 2.0
    publish_seconds: float = 30.0


class Server:
    """The parts of one server. `start` begins to follow and to record, `application` answers, `stop` ends in order."""

    def __init__(self, use_case: UseCase, settings: Settings, token: str, options: Options | None = None) -> None:
        options = options or Options()
        self.folder = settings.root / "serving" / use_case.name
        self.metrics = Metrics()
        cache, with_challenger = Cache(self.folder / "model"), settings.shadow or settings.canary_share > 0
        case, wanted = request_case(use_case, designs_at_start(use_case, settings, cache, with_challenger=with_challenger))
        self.prepared = prepare(case, wanted)
        self.model_reloader = ModelReloader(
            self.prepared,
            lambda: open_registry(settings.registry_url),
            lambda: Loader(case, open_store(settings.store_url(use_case.name))),
            cache,
            contract_version=use_case.input(use_case.rows).contract_version(),
            seconds=options.poll_seconds,
            with_challenger=with_challenger,
        )
        self.prediction_logger = PredictionLogger(
            self.prepared,
            self.folder / "receipts",
            lambda: open_store(settings.store_url(f"{use_case.name}-log")),
            self.model_reloader.serving,
            self.metrics,
            publish_seconds=options.publish_seconds,
            keep_days=settings.receipt_days,
            shadow=settings.shadow,
        )
        self.listener = Listener(use_case.name, self.model_reloader.wake.set) if is_set() else None
        serving, share = self.model_reloader.serving, settings.canary_share
        rest = ServiceRoutes(use_case, serving, self.metrics, token, self.description, canary_share=share).application
        self.application = Application(
            self.prepared, serving, self.prediction_logger, self.metrics, token, rest, canary_share=share
        )

    def description(self) -> dict[str, Any]:
        """The OpenAPI document, with a row of the lake as its example where there is one."""
        serving, row = self.model_reloader.serving, example(self.prepared, self.model_reloader.sample)
        answering = [deployed.use_case.target for deployed in (serving.champion, serving.challenger) if deployed]
        return openapi.document(
            self.prepared.use_case, row, MOST_ROWS, MOST_BYTES, wanted=self.prepared.wanted, targets=answering
        )

    def start(self, loaded: Callable[[], None] = lambda: None) -> None:
        """Begin to follow the registry and to write receipts; `loaded` is called once a model answers and all is loaded."""
        self.prediction_logger.start()
        self.model_reloader.loaded = loaded
        self.model_reloader.start()
        if self.listener is not None:
            self.listener.start()

    def stop(self) -> None:
        """End in order: what was answered has its receipt on the disk when this returns."""
        if self.listener is not None:
            self.listener.stop()
        self.model_reloader.stop()
        self.application.close()
        self.prediction_logger.stop()


def designs_at_start(use_case: UseCase, settings: Settings, cache: Cache, *, with_challenger: bool) -> list[Design]:
    """The designs of the versions to serve, by which a server knows what callers have to send.

    Args:
        use_case: The use case as the code declares it.
        settings: Where the registry is.
        cache: What says it where the registry does not answer in time.
        with_challenger: Whether the challenger is served as well.

    Returns:
        What the versions carry, the champion's first.
    """
    answered: list[list[Design]] = []
    problem = [f"no answer within {REGISTRY_SECONDS:g} s"]

    def ask() -> None:
        try:
            registry = open_registry(settings.registry_url)
            answered.append(living_designs(use_case, registry, with_challenger=with_challenger))
        except Exception as error:
            problem.insert(0, first_line(error))

    asking = threading.Thread(target=ask, name="designs", daemon=True)
    asking.start()
    asking.join(REGISTRY_SECONDS)
    if answered:
        return answered[0]
    log.warning("the registry does not say what callers have to send (%s); the kept model does", problem[0])
    try:
        kept = cache.documents().get(DOCUMENT)
    except PenstockError as error:
        log.warning(str(error))
        kept = None
    return [kept] if kept else []


def example(prepared: Prepared, sample: pl.DataFrame) -> dict[str, Any] | None:
    """A row of a sample as a caller would send it; None without rows, or where the contract has private columns."""
    specs = prepared.use_case.input(prepared.use_case.rows).contract.to_schema().columns
    if sample.is_empty() or any((specs[name].metadata or {}).get("private") for name in prepared.columns):
        return None
    row = sample.select(*prepared.columns).row(0, named=True)
    return {
        name: value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value
        for name, value in row.items()
    }


def run(server: Server, listening: socket.socket) -> None:
    """Answer on an open socket until the process is told to stop (SIGINT or SIGTERM)."""
    import uvicorn

    sys.setswitchinterval(SWITCH_SECONDS)
    config = uvicorn.Config(
        server.application,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=10,
        proxy_headers=False,
        ws="none",
    )
    freeze_heap()
    server.start(freeze_heap)
    with stopping_orderly():
        uvicorn.Server(config).run(sockets=[listening])
    server.stop()


def freeze_heap() -> None:
    """Collect garbage once, and never walk over what is left again.

    Walking over the loaded libraries time after time would stop every answer for a fifth of a second each time.
    """
    gc.collect()
    gc.freeze()


class _Stopped(BaseException):
    """The process was told to stop."""


@contextmanager
def stopping_orderly() -> Iterator[None]:
    """SIGINT and SIGTERM end the block and not the process: uvicorn raises them again once it has answered what it holds."""

    def stop(number: int, frame: object) -> None:
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(_Stopped):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """An open socket; port 0 takes any free one. Raises UsageError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port} ({error.strerror or error}); choose another --port") from None
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened
