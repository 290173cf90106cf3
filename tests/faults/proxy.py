"""A real HTTP proxy in front of a real server, which spoils the requests that it is told to spoil.

    with FaultProxy("http://127.0.0.1:8000") as proxy:
        rule = proxy.on(drop_reply, method="POST", path="/commits$", times=1)
        ...                     # the client talks to proxy.url
        assert rule.hits == 1

Each connection carries one request (`Connection: close`), bodies of any length and upgrades (web sockets) pass through.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_CHUNK = 1 << 16
_HOP = re.compile(rb"\r\n(connection|keep-alive|proxy-connection):[^\r]*", re.IGNORECASE)

Fault = Callable[["Exchange"], None]


@dataclass
class Rule:
    """Which requests a fault falls on: the first `skip` that match pass, then `times` of them (None: all) are spoilt."""

    fault: Fault
    method: str
    path: re.Pattern[str]
    skip: int
    times: int | None
    seen: int = 0
    hits: int = 0

    def takes(self, method: str, path: str) -> bool:
        if (self.method and self.method != method) or not self.path.search(path):
            return False
        self.seen += 1
        taken = self.seen > self.skip and (self.times is None or self.hits < self.times)
        self.hits += taken
        return taken


class Exchange:
    """One request, as far as it was read, and the connection it came on."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, start: bytes) -> None:
        self.proxy, self.client, self._start = proxy, client, start
        self.method, self.path = start.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[:2]

    def forward(self, *, reply: bool = True) -> None:
        """Send the request on, and the server's reply back or nowhere. Returns when the server has closed."""
        with self.proxy.connection(socket.create_connection(self.proxy.upstream)) as server:
            server.sendall(_closing(self._start))
            sender = threading.Thread(target=_pump, args=(self.client, server))
            sender.start()
            _reply(server, self.client if reply else None)
            if not reply:
                self.client.shutdown(socket.SHUT_RD)  # wakes the sender
            sender.join()
        if not reply:
            self.reset()

    def answer(self, status: int) -> None:
        """Reply without the server, and read on until the client closes: a reset could overtake the reply."""
        reply = (
            f"HTTP/1.1 {status} Fault\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nfault\n"
        )
        self.client.sendall(reply.encode())
        self.client.shutdown(socket.SHUT_WR)
        _pump(self.client, None)

    def reset(self) -> None:
        """Break the connection, as a server that dies does."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()


def pass_on(exchange: Exchange) -> None:
    """No fault."""
    exchange.forward()


def drop_reply(exchange: Exchange) -> None:
    """The server does its work; the client never hears of it."""
    exchange.forward(reply=False)


def reset(exchange: Exchange) -> None:
    """The connection breaks before the server gets the request."""
    exchange.reset()


def answer(status: int = 500) -> Fault:
    """An error status instead of the server's reply; the server does not get the request."""
    return lambda exchange: exchange.answer(status)


def slow(seconds: float) -> Fault:
    """The request reaches the server late, and not at all once the proxy closes."""

    def wait(exchange: Exchange) -> None:
        if not exchange.proxy.closed.wait(seconds):
            exchange.forward()

    return wait


class FaultProxy:
    """Listens on a free loopback port as long as its block lasts."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.closed = threading.Event()
        self.requests: list[tuple[str, str]] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self._reserved = _bound(0)  # keeps the port while nothing listens on it
        self._port: int = self._reserved.getsockname()[1]
        self._listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.closed.set()
        self._stop_listening()
        self._reserved.close()
        with self._lock:
            for left in self._open:
                with suppress(OSError):
                    left.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def on(self, fault: Fault, *, method: str = "", path: str = "", skip: int = 0, times: int | None = None) -> Rule:
        """Spoil requests of a method whose path and query match a regular expression; the first rule to take one counts."""
        rule = Rule(fault, method, re.compile(path), skip, times)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Let everything pass again."""
        with self._lock:
            self._rules.clear()

    def count(self, method: str = "", path: str = "") -> int:
        """How many requests came, spoilt or not."""
        return sum(method in ("", came) and bool(re.search(path, where)) for came, where in list(self.requests))

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections for the block, as a server that is down does."""
        self._stop_listening()
        try:
            yield
        finally:
            self._listen()

    def _listen(self) -> None:
        self._listener = _bound(self._port)
        self._listener.listen(64)
        self._run(self._accept, self._listener)

    def _stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which close alone does not
        self._listener.close()

    def _run(self, work: Callable[[socket.socket], None], argument: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(argument,))
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # shut down
            while True:
                self._run(self._serve, listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), self.connection(client):
            start = _start(client)
            if start:
                exchange = Exchange(self, client, start)
                self._fault(exchange)(exchange)

    def _fault(self, exchange: Exchange) -> Fault:
        with self._lock:
            self.requests.append((exchange.method, exchange.path))
            taken = (rule.fault for rule in self._rules if rule.takes(exchange.method, exchange.path))
            return next(taken, pass_on)

    @contextmanager
    def connection(self, opened: socket.socket) -> Iterator[socket.socket]:
        """A connection that ends with the proxy."""
        with self._lock:
            self._open.add(opened)
        try:
            if self.closed.is_set():
                raise ConnectionAbortedError
            yield opened
        finally:
            with self._lock:
                self._open.discard(opened)
            opened.close()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _start(source: socket.socket, start: bytes = b"") -> bytes:
    """Read up to the end of the headers, or a little further. Empty where the other side closes before."""
    while b"\r\n\r\n" not in start:
        chunk = source.recv(_CHUNK)
        if not chunk:
            return b""
        start += chunk
    return start


def _closing(start: bytes) -> bytes:
    """Headers that end the connection after this exchange; an upgrade stays as it is."""
    head, end, rest = start.partition(b"\r\n\r\n")
    if b"\r\nupgrade:" in head.lower():
        return start
    return _HOP.sub(b"", head) + b"\r\nConnection: close" + end + rest


def _reply(server: socket.socket, client: socket.socket | None) -> None:
    """Pass a reply on, also one that announces itself by `100 Continue`."""
    start = _start(server)
    while start[8:].startswith(b" 100 "):
        interim, end, rest = start.partition(b"\r\n\r\n")
        if client:
            client.sendall(interim + end)
        start = _start(server, rest)
    if client:
        client.sendall(_closing(start) if start else b"")
    _pump(server, client)


def _pump(source: socket.socket, target: socket.socket | None) -> None:
    """Copy until the source ends, then end the target's input."""
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            if target:
                target.sendall(chunk)
        if target:
            target.shutdown(socket.SHUT_WR)
