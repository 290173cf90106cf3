"""How home.tar.xz was made: by the code of commit e94218d, the last one before the modules moved.

Not run by the tests: what the archive proves is that nothing in it was written by newer code. To make it again, with
orders.py as it was added (its imports name the modules of that commit):

    git worktree add ../before e94218d
    PYTHONPATH=$PWD/../before python tests/contract/old_home/make.py tests/contract/old_home/home.tar.xz

It writes the home to /srv/penstock-home, so that no other path gets into it, and removes it. There a first training is
promoted (v1 is what was gated, v2 its refit), days are added and scored, a second training is refused (v3), and two servers
answer one order each: one publishes the receipt, the other is killed while it lies in the journal. Left out is what nobody
looks at or what is written again: Prefect's databases, landed files, reports, the server's copy of the model, locks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

HERE = Path(__file__).parent
HOME = Path("/srv/penstock-home")
START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, A_DAY = 38, 40
SPANS = {"early": (0, 28), "late": (28, DAYS)}
SHOPS, COLOURS = ("north", "south", "west"), ("blue", "green", "red")
LEFT_OUT = ("prefect", "landing", "reports", "frames", "serving/orders/model", "mlflow/locks")
HEAD = 32  # bytes, more than a journal begins with and less than a receipt takes
TOKEN = "a-token-for-the-archive-0123456789"


def tables() -> dict[str, pl.DataFrame]:
    """Prices, orders and outcomes; the delay follows size, colour and price, with noise."""
    rng = np.random.default_rng(2)
    n = DAYS * A_DAY
    day = np.repeat(np.arange(DAYS), A_DAY)
    at = [START + timedelta(days=int(d), minutes=int(m)) for d, m in zip(day, rng.integers(0, 1440, n), strict=True)]
    days = [START.date() + timedelta(days=d) for _ in SHOPS for d in range(DAYS)]
    prices = pl.DataFrame(
        {"shop": np.repeat(SHOPS, DAYS), "day": days, "price": rng.normal(size=len(days)).round(3)},
        schema_overrides={"shop": pl.String},
    )
    colour, size = rng.choice(COLOURS, n), rng.normal(size=n).round(3)
    orders = pl.DataFrame({"at": at, "shop": rng.choice(SHOPS, n), "number": np.arange(n), "size": size, "colour": colour})
    orders = orders.cast({"at": pl.Datetime("us", "UTC")})
    price = orders.with_columns(day=pl.col("at").dt.date()).join(prices, on=["shop", "day"], maintain_order="left")["price"]
    delay = 1.2 * np.abs(size) - 1 + np.where(colour == "red", 0.8, -0.4) * price.to_numpy() + rng.normal(size=n, scale=0.5)
    told = {"delay": pl.Series(delay.round(3)), "known_at": pl.col("at") + timedelta(days=1)}
    return {"prices": prices, "orders": orders, "outcomes": orders.select("at", "shop", "number", **told)}


def deliver(span: str) -> None:
    """Publish the files of some days."""
    low, high = (START + timedelta(days=day) for day in SPANS[span])
    for name, rows in tables().items():
        moment = pl.col("day") if name == "prices" else pl.col("at").dt.date()
        file = HOME / "landing" / "orders" / name / f"{name}-{span}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.filter((moment >= low.date()) & (moment < high.date())).write_parquet(file)
        penstock("ingest", "orders", str(file), "--input", name)


def command(*arguments: str) -> dict[str, Any]:
    """A command of the code on the path; `orders` is the use case beside this file."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH")}
    told = {"PENSTOCK_HOME": str(HOME), "PENSTOCK_API_TOKEN": TOKEN, "DO_NOT_TRACK": "true", "HOME": str(HOME / "prefect")}
    line = [sys.executable, "-P", "-c", "from deployments.cli import main; main()", *arguments, "--json"]
    return {"args": line, "cwd": HERE, "env": {**kept, **told}, "stdout": subprocess.PIPE, "text": True}


def penstock(*arguments: str, code: int = 0) -> Any:
    """What a command says."""
    told = subprocess.run(**command(*arguments), check=False)
    assert told.returncode == code, told
    return json.loads(told.stdout)


def ask(order: dict[str, Any], end: signal.Signals) -> dict[str, Any]:
    """What a server answers to an order, ended when the receipt lies in its journal: by SIGTERM it is published."""
    order = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in order.items()}
    with subprocess.Popen(**command("serve", "orders", "--port", "0", "--publish", "3600")) as server:
        assert server.stdout
        url = json.loads(server.stdout.readline())["url"]
        with httpx.Client(base_url=url, headers={"authorization": f"Bearer {TOKEN}"}) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            answer = client.post("/predict", json=order).raise_for_status().json()
        until(lambda: any(file.stat().st_size > HEAD for file in HOME.glob("serving/orders/receipts/*/*.journal")))
        server.send_signal(end)
    return {"order": order, "answer": answer}


def until(condition: Callable[[], object]) -> None:
    """Wait."""
    while not condition():
        time.sleep(0.1)


def pack(target: Path) -> None:
    """One file in which nothing tells the machine, and the time only where the home itself does."""
    for name in LEFT_OUT:
        shutil.rmtree(HOME / name, ignore_errors=True)
    for lock in [*HOME.rglob("lock"), *HOME.rglob("*.lock")]:
        lock.unlink()
    with closing(sqlite3.connect(HOME / "mlflow" / "mlflow.db")) as database:
        database.execute("VACUUM")

    def nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        return member

    with tarfile.open(target, "w:xz", preset=9) as archive:
        archive.add(HOME, arcname="home", filter=nobodys)


def main(target: Path) -> None:
    """Live through it, then pack it."""
    HOME.mkdir(parents=True)
    try:
        deliver("early")
        assert penstock("train", "orders")["model"]["version"] == 2
        deliver("late")
        assert penstock("score", "orders")["model"]["version"] == 2
        assert penstock("train", "orders", code=1)["model"]["version"] == 3
        published, journal = tables()["orders"][-2:].to_dicts()
        asked = {"published": ask(published, signal.SIGTERM), "journal": ask(journal, signal.SIGKILL)}
        (HOME / "asked.json").write_text(json.dumps(asked, indent=2))
        penstock("models", "orders", "--verify")
        pack(target)
    finally:
        shutil.rmtree(HOME)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
