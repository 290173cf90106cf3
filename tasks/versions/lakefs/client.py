"""One client of a lakeFS server: bounded requests, bounded retries, and its errors as ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import stamina

from schemas.errors import (
    Conflict,
    NotFound,
    NothingToCommit,
    PenstockError,
    ProtectedBranch,
    Refused,
    ServiceUnavailable,
    StoreError,
    UsageError,
)

T = TypeVar("T")
CONNECT_SECONDS, READ_SECONDS = 5.0, 75.0  # a merge waits for a hook, and lakeFS gives that a minute
ATTEMPTS = 4
_RUN = re.compile(r"run id '([^']+)'")
_TRIED = "LAKECTL_SERVER_ENDPOINT_URL, LAKECTL_CREDENTIALS_ACCESS_KEY_ID and _SECRET_ACCESS_KEY, then ~/.lakectl.yaml"


def body(kind: str, /, **fields: Any) -> Any:
    """A request body of the SDK, by its class's name."""
    import lakefs_sdk

    return getattr(lakefs_sdk, kind)(**fields)


class HookRefusal(Refused):
    """A hook of the lake said no to a merge; `run` names its run."""

    def __init__(self, message: str, run: str | None) -> None:
        super().__init__(message)
        self.run = run


class Lake:
    """A server with the credentials that lakeFS's own settings name. It connects when it is first asked."""

    def __init__(self, **credentials: str) -> None:
        self._credentials = credentials

    @cached_property
    def client(self) -> Any:
        """lakeFS's client. Raises UsageError where no credentials are found."""
        import urllib3
        from lakefs.client import Client
        from lakefs.exceptions import LakeFSException

        try:
            client: Any = Client(**self._credentials)  # type: ignore[no-untyped-call]
        except (LakeFSException, ValueError, OSError) as error:
            reason = type(error).__name__
            raise UsageError(f"cannot connect to lakeFS ({reason}): no usable credentials; looked at {_TRIED}") from None
        if not (client.config.host or "").startswith("http"):
            raise UsageError(f"cannot connect to lakeFS: no endpoint; looked at {_TRIED}")
        pool = client.sdk_client.objects_api.api_client.rest_client.pool_manager
        pool.connection_pool_kw.update(
            retries=False, blocksize=1 << 20, timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        )
        return client

    @property
    def sdk(self) -> Any:
        """The generated client, whose `..._api` members are the server's operations."""
        return self.client.sdk_client

    @cached_property
    def config(self) -> Any:
        """What the server says about itself and its storage."""
        return self.ask(self.sdk.config_api.get_config)

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return str(self.client.config.host).removesuffix("/api/v1").rstrip("/")

    @property
    def keys(self) -> tuple[str, str] | None:
        """Access key id and secret; None where a token is used instead."""
        config = self.client.config
        return (config.username, config.password) if config.username and config.password else None

    def once(self, operation: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """One request, its error one of ours."""
        with self.reporting():
            return operation(*args, _request_timeout=(CONNECT_SECONDS, READ_SECONDS), **kwargs)

    def ask(self, operation: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """A request that may be repeated as it is: it reads, or has the same effect twice as once."""
        return self.change(lambda: self.once(operation, *args, **kwargs), lambda: None)

    def change(self, act: Callable[[], T], done: Callable[[], T | None]) -> T:
        """A change that must happen once: before it is repeated, `done` looks whether it took place already.

        The reply may be lost, and the server may even be at work on it still when the first look finds nothing.
        """
        for attempt in _attempts():
            with attempt:
                if attempt.num > 1 and (earlier := done()) is not None:
                    return earlier
                try:
                    return act()
                except (NothingToCommit, Conflict):
                    if attempt.num > 1 and (earlier := done()) is not None:
                        return earlier
                    raise
        raise AssertionError("unreachable")

    def pages(self, operation: Callable[..., Any], *args: Any, amount: int = 1000, **kwargs: Any) -> Iterator[Any]:
        """Results of a listing, page by page."""
        after = ""
        while True:
            page = self.ask(operation, *args, amount=amount, after=after, **kwargs)
            yield from page.results
            if not page.pagination.has_more:
                return
            after = page.pagination.next_offset

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn lakeFS's errors, and those of the connection, into ours."""
        import urllib3
        from lakefs.exceptions import ServerException
        from lakefs_sdk.exceptions import ApiException

        try:
            yield
        except ApiException as error:
            raise self._explained(error.status, _server_message(error.body) or str(error.reason or "")) from error
        except ServerException as error:
            message = error.body.get("message") if isinstance(error.body, dict) else ""
            raise self._explained(error.status_code, _server_message(message) or str(error.reason or "")) from error
        except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            raise ServiceUnavailable(
                f"lakeFS at {self.endpoint} does not answer ({type(error).__name__}): start it, or set "
                "LAKECTL_SERVER_ENDPOINT_URL to where it is"
            ) from error

    def _explained(self, status: int | None, message: str) -> PenstockError:
        where = f"lakeFS at {self.endpoint}"
        if status == 400:
            return _bad_request(message, where)
        if status == 401:
            return UsageError(f"{where} does not know these credentials; looked at {_TRIED}")
        if status == 403:
            if "protected branch" in message or "default branch" in message:
                return ProtectedBranch(f"{where}: {message}; it takes merges only")
            return StoreError(f"{where} does not allow this ({message}): ask for the rights that docs/lakefs.md lists")
        if status == 404:
            return NotFound(f"{where}: {message}")
        if status == 409:
            return Conflict(f"{where}: {message or 'both sides changed a path'}: redo the change on the newest state")
        if status == 412:
            run = _RUN.search(message)
            return HookRefusal(f"a hook of {where} refused: {message}", run and run.group(1))
        if status is None or status == 0 or status == 429 or status >= 500:
            return ServiceUnavailable(f"{where} answers {status or 'nothing'} ({message}): try again, or look at its log")
        return StoreError(f"{where} answers {status}: {message}")


def _bad_request(message: str, where: str) -> PenstockError:
    if "no changes" in message:
        return NothingToCommit("nothing to bring over: the destination has all of it")
    if "uncommitted" in message or "dirty" in message:
        return Conflict(f"{where}: {message}: the branch has uncommitted changes, commit or reset them first")
    return StoreError(f"{where} refuses the request: {message}")


def _server_message(body: Any) -> str:
    """The server's message as one short line."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        document = json.loads(text)
        text = str(document.get("message", "")) if isinstance(document, dict) else text
    except ValueError:
        pass
    return " ".join(text.split())[:400]


def _attempts() -> Any:
    return stamina.retry_context(on=ServiceUnavailable, attempts=ATTEMPTS, timeout=180.0, wait_initial=0.1, wait_max=3.0)
