"""Publishing to and reading from a real lakeFS server, beside its SDK alone.

    python -m tests.benches.lake [rows of a part]

Publishes ten audited Parquet parts of 20 columns through the hook (upload, commit, seal, merge) and uploads the same bytes
with the SDK alone, turn about, and prints the best of each and their ratio; then the share of the objects' bytes that
reading 2 of the 20 columns moves; then five writers of three files at once.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from deployments.lakefs_server.setup import init
from deployments.lakefs_server.webhook import create_app
from schemas.refs import Source
from schemas.usecases.flights import FLIGHTS
from schemas.verdicts import AuditVerdict
from tasks.contracts.audit import Audited
from tasks.contracts.partition_writer import Part
from tasks.publishing import publish as publishing
from tasks.versions.lakefs.store import LakeFSStore
from tests.faults.children import together
from tests.services.hook import KEY, WRITER, hook_settings, served
from tests.services.server import Server, server

PARTS, RUNS, INPUT = 10, 3, "labels"


def parts(folder: Path, rows: int, seed: int) -> list[Part]:
    """Ten files of 20 columns: a time, floats, integers and words."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(PARTS):
        columns: dict[str, object] = {"time_hour": pl.repeat(datetime(2013, 1, 1, tzinfo=UTC), rows, eager=True)}
        columns |= {f"f{i}": random.normal(size=rows) for i in range(9)}
        columns |= {f"i{i}": random.integers(0, 1_000_000, rows) for i in range(7)}
        columns |= {f"w{i}": random.choice(["aa", "bb", "cc"], rows) for i in range(3)}
        path = folder / f"{seed}-{number}.parquet"
        pl.DataFrame(columns).write_parquet(path)
        made.append(Part(path=path, partition=f"2013-{number + 1:02}", rows=rows, sha256=f"{seed:032x}{number:032x}"))
    return made


def publish(store: LakeFSStore, found: list[Part], seed: int) -> None:
    """Stage and publish audited parts, as the ingest flow does."""
    spec, rows = FLIGHTS.input(INPUT), sum(part.rows for part in found)
    source = Source(path="bench", name="bench", sha256=f"{seed:064x}", size=0)
    verdict = AuditVerdict(
        input=INPUT, contract_version="1", rows=rows, accepted=rows, rejected=0, publishable=True, why="it is a benchmark"
    )
    head = store.head()
    branch, commit = publishing.stage(store, spec, source, Audited(verdict, tuple(found), ()), "", head)
    publishing.publish_commit(store, spec, source, branch, commit, head, [part.partition for part in found])


def upload(store: LakeFSStore, found: list[Part], seed: int) -> None:
    """The SDK alone: no commit, no merge."""
    import lakefs

    branch = lakefs.repository(store.place.repository).branch(f"sdk-{seed}").create("main")
    for part in found:
        branch.object(f"sdk/{part.path.name}").upload(part.path.read_bytes(), mode="wb")


def timed(work: Callable[[LakeFSStore, list[Part], int], None], *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)  # type: ignore[arg-type]
    return time.perf_counter() - started


@contextmanager
def counting(port: int) -> Iterator[tuple[str, list[int]]]:
    """A relay to a local server that counts what comes back."""
    moved: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket, count: bool) -> None:
        try:
            while chunk := source.recv(1 << 16):
                if count:
                    moved.append(len(chunk))
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        try:
            while True:
                client = listener.accept()[0]
                there = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=pump, args=(client, there, False), daemon=True).start()
                threading.Thread(target=pump, args=(there, client, True), daemon=True).start()
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", moved
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def read(lake: Server, store: LakeFSStore, rows: int) -> None:
    """Two columns of all parts that were published first, at their commit."""
    found = [stored for stored in store.objects("main", "data/") if f"/{0:032x}" in stored.path]
    paths, size = [stored.path for stored in found], sum(stored.size for stored in found)
    for way in ("gateway", "API"):
        with counting(lake.port) as (url, moved):
            place = f"{store.place.repository}/{store.place.prefix}"
            reader = lake.store(place, url=url, **({} if way == "gateway" else {"lake_gateway": "none"}))
            started = time.perf_counter()
            total = reader.scan(store.head(), paths).select(pl.col("f1").sum(), pl.col("i1").max(), n=pl.len()).collect()
            seconds = time.perf_counter() - started
        assert total["n"].item() == rows
        share = sum(moved) / size
        print(f"2 of 20 columns of {rows:,} rows through the {way}: {share:.1%} of {size / 1e6:,.0f} MB, {seconds:.2f} s")


def main(rows: int = 1_000_000) -> None:
    """Print the numbers."""
    lake = server()
    lake.store("bench").create()
    url = "lakefs://bench"
    store = LakeFSStore(f"{url}/flights", hook_settings(url))
    os.environ["PENSTOCK_LAKE_SIGNING_KEY"] = KEY
    with served(create_app(hook_settings(url))) as address, tempfile.TemporaryDirectory() as folder:
        init(hook_settings(url, lake_hook_url=address), "flights", check=False)
        ours, theirs = [], []
        for seed in range(RUNS):
            found = parts(Path(folder), rows, seed)
            ours.append(timed(publish, store, found, seed))
            theirs.append(timed(upload, store, found, seed))
            size = sum(part.path.stat().st_size for part in found)
            for part in found:
                part.path.unlink()
        best, alone = min(ours), min(theirs)
        print(f"{PARTS} parts of {rows:,} x 20, {size / 1e6:,.0f} MB: published {best:.2f} s, SDK alone {alone:.2f} s")
        print(f"ratio {best / alone:.2f} (runs {', '.join(f'{a / b:.2f}' for a, b in zip(ours, theirs, strict=True))})")
        read(lake, store, PARTS * rows)
        before = len(list(store.log(first_parent=True)))
        started = time.perf_counter()
        assert all(done.returncode == 0 for done in together(WRITER, [[store.url, str(me)] for me in range(5)]))
        made = len(list(store.log(first_parent=True))) - before
        print(f"5 writers x 3 files: {made} commits in {time.perf_counter() - started:.1f} s, with the writers' start")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
