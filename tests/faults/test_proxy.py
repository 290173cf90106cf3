"""The fault proxy does to a request what its mode says, and to the others nothing."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.faults.proxy import Fault, FaultProxy, answer, drop_reply, pass_on, reset, slow


class Counter(BaseHTTPRequestHandler):
    """Counts what takes effect: /commits by POST; echoes bodies; answers in chunks at /chunked."""

    protocol_version = "HTTP/1.1"
    effects: list[str] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(3):
                self.wfile.write(b"4\r\nabcd\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif self.headers.get("Upgrade"):
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
            self.wfile.write(self.rfile.readline().upper())
            self.close_connection = True
        else:
            self.reply(b"got " + self.path.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.effects.append(self.path)
        self.reply(body)

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    Counter.effects = []
    with serving(Counter) as url, FaultProxy(url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.url, timeout=30, trust_env=False) as client:
        yield client


def test_without_a_rule_everything_passes(proxy: FaultProxy, client: httpx.Client) -> None:
    body = bytes(range(256)) * 20_000
    assert client.post("/commits", content=body).content == body
    assert client.get("/a?b=c").text == "got /a?b=c"
    assert client.get("/chunked").text == "abcd" * 3
    assert proxy.requests == [("POST", "/commits"), ("GET", "/a?b=c"), ("GET", "/chunked")]


def test_a_client_that_asks_before_it_sends_is_let_go_on(proxy: FaultProxy) -> None:
    host, port = proxy.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw, raw.makefile("rb") as replies:
        raw.sendall(b"POST /commits HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert replies.readline() == b"HTTP/1.1 100 Continue\r\n"
        raw.sendall(b"abc")
        assert replies.read().endswith(b"abc")


def test_an_upgraded_connection_passes(proxy: FaultProxy) -> None:
    host, port = proxy.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += raw.recv(4096)
        raw.sendall(b"hello\n")
        while b"HELLO\n" not in reply:
            reply += raw.recv(4096)
    assert reply.startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(("fault", "effects"), [(drop_reply, 1), (reset, 0)])
def test_a_broken_connection_shows_as_an_error_and_the_effect_is_known(
    proxy: FaultProxy, client: httpx.Client, fault: Fault, effects: int
) -> None:
    rule = proxy.on(fault, method="POST", path="^/commits$", times=1)
    with pytest.raises(httpx.TransportError):
        client.post("/commits", content=b"x" * 300_000)
    assert (rule.hits, len(Counter.effects)) == (1, effects)
    assert client.post("/commits", content=b"again").text == "again"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_error_is_answered_without_the_server(proxy: FaultProxy, client: httpx.Client, status: int) -> None:
    rule = proxy.on(answer(status), path="commits")
    assert [client.post("/commits", content=b"x" * 2_000_000).status_code for _ in range(3)] == [status] * 3
    assert (rule.hits, Counter.effects) == (3, [])
    proxy.clear()
    assert client.post("/commits", content=b"x").status_code == 200


def test_a_slow_request_arrives_late(proxy: FaultProxy, client: httpx.Client) -> None:
    proxy.on(slow(0.2), path="late")
    start = time.monotonic()
    assert client.get("/late").text == "got /late"
    assert time.monotonic() - start >= 0.2
    with pytest.raises(httpx.ReadTimeout):
        proxy.on(slow(600), path="never") and client.get("/never", timeout=0.1)


def test_rules_pick_method_path_and_number(proxy: FaultProxy, client: httpx.Client) -> None:
    second = proxy.on(answer(500), method="GET", path=r"^/a/\d$", skip=1, times=1)
    paths = ["/a/1", "/a/x", "/a/2", "/a/3", "/b"]
    assert [client.get(path).status_code for path in paths] == [200, 200, 500, 200, 200]
    assert client.post("/a/4", content=b"").status_code == 200
    assert (second.seen, second.hits) == (3, 1)
    assert (proxy.count("GET"), proxy.count("GET", "^/a/"), proxy.count("POST"), proxy.count()) == (5, 4, 1, 6)


def test_the_first_rule_that_takes_a_request_counts(proxy: FaultProxy, client: httpx.Client) -> None:
    proxy.on(pass_on, path="/health")
    proxy.on(answer(503))
    assert [client.get(path).status_code for path in ("/health", "/other")] == [200, 503]


def test_a_refusing_proxy_is_down_and_comes_back_on_its_port(proxy: FaultProxy, client: httpx.Client) -> None:
    for _ in range(2):
        with proxy.refusing(), pytest.raises(httpx.ConnectError):
            client.get("/a")
        assert client.get("/a").status_code == 200


def test_a_server_that_is_gone_breaks_the_connection() -> None:
    with serving(Counter) as url:
        pass
    with FaultProxy(url) as proxy, pytest.raises(httpx.TransportError):
        httpx.get(proxy.url, trust_env=False)


def test_closing_ends_what_is_under_way() -> None:
    before = threading.active_count()
    with serving(Counter) as url, FaultProxy(url) as proxy:
        proxy.on(slow(600))
        connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"))
        connection.request("GET", "/a")
        while not proxy.requests:
            time.sleep(0.005)
    connection.close()
    assert threading.active_count() == before
