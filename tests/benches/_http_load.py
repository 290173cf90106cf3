"""Driving a server over HTTP: wrk where it is installed, else a small client in Python; rates, latencies, CPU time."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx

CONNECTIONS, SECONDS = 4, 10


@dataclass(frozen=True)
class Target:
    """What is asked: a URL, bodies in turn, and headers."""

    url: str
    bodies: Sequence[str]
    headers: Mapping[str, str]
    process: int


@dataclass(frozen=True)
class Measured:
    """What one server reached: answers a second, latencies in ms, and CPU time an answer in us, which other work on the
    machine moves least."""

    rate: float
    median: float
    p99: float
    cpu: float = 0.0


def driven(target: Target) -> Measured:
    """Warm up, then measure. Every answer must be a 200."""
    headers = {"content-type": "application/json", **target.headers}
    with httpx.Client(headers=headers, timeout=30) as client:
        for body in target.bodies[:50]:
            answer = client.post(target.url, content=body)
            assert answer.status_code == 200, answer.text
    drive = with_wrk if shutil.which("wrk") else with_client
    drive(target, headers, 2)
    before = cpu_seconds(target.process)
    found = drive(target, headers, SECONDS)
    return replace(found, cpu=(cpu_seconds(target.process) - before) / (found.rate * SECONDS) * 1e6)


def cpu_seconds(process: int) -> float:
    """CPU time that a process and those below it have used, in s."""
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()  # from the state on: 1 is the parent, 11 and 12 the times
            number = int(stat.parent.name)
            parents[number], ticks[number] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {process}
    while more := {number for number, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(number, 0) for number in family) / os.sysconf("SC_CLK_TCK")


def with_wrk(target: Target, headers: Mapping[str, str], seconds: int) -> Measured:
    """One thread, four connections, the bodies in turn."""
    lines = ["local bodies = {", *(f"[==[{body}]==]," for body in target.bodies), "}", "local at = 0"]
    lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    lines += ["request = function()", "at = at % #bodies + 1", 'return wrk.format("POST", nil, nil, bodies[at])', "end"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write("\n".join(lines))
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script.name, target.url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate, said
    return Measured(float(rate[1]), _percentile(said, 50), _percentile(said, 99))


def _percentile(said: str, percent: int) -> float:
    found = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)", said)
    assert found, said
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def with_client(target: Target, headers: Mapping[str, str], seconds: int) -> Measured:
    """The same from Python."""
    parts = urlsplit(target.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    first = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\n{head}"
    requests = [f"{first}content-length: {len(body.encode())}\r\n\r\n{body}".encode() for body in target.bodies]
    latencies = asyncio.run(_many(parts.hostname or "", parts.port or 80, requests, seconds))
    ordered = sorted(latencies)
    at = [ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99)]
    return Measured(len(ordered) / seconds, *at)


async def _many(host: str, port: int, requests: Sequence[bytes], seconds: int) -> list[float]:
    ends = time.monotonic() + seconds
    each = await asyncio.gather(*(_one(host, port, requests[at:] + requests[:at], ends) for at in range(CONNECTIONS)))
    return [latency for found in each for latency in found]


async def _one(host: str, port: int, requests: Sequence[bytes], ends: float) -> list[float]:
    reader, writer = await asyncio.open_connection(host, port)
    latencies: list[float] = []
    while (began := time.perf_counter()) and time.monotonic() < ends:
        writer.write(requests[len(latencies) % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert length, head
        await reader.readexactly(int(length[1]))
        latencies.append(time.perf_counter() - began)
    writer.close()
    return latencies
