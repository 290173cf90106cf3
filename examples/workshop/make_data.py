"""Repairs of an invented bicycle workshop, the same every time: data/repairs.csv, repairs-next.csv, repairs-broken.csv.

A repair is late when it takes longer than promised: long queues, old bikes, missing parts and motors make that likely. In
the next month the workshop takes in far more bikes with motors, which the data before had seldom.
"""

import csv
import math
import random
from datetime import date, timedelta
from pathlib import Path

FOLDER = Path(__file__).parent / "data"
COLUMNS = (
    "repair_id", "received_on", "bought_on", "kind", "motor", "queue_length", "quoted_price", "part_in_stock", "remark",
    "finished_on", "late",
)  # fmt: skip
KINDS = {"city": 0.4, "road": 0.25, "cargo": 0.15, "child": 0.2}
COMPLAINTS = (
    "the chain jumps",
    "the front brake squeals",
    "the back light flickers",
    "the saddle creaks",
    "a spoke is loose",
)
WHEN = ("when it rains", "since last week", "when riding uphill", "now and then", "only in the morning")
WISHES = ("please call before you order parts", "as soon as you can", "no hurry at all", "it must not cost too much")


def repair(chance: random.Random, number: int, day: date, motors: float) -> dict[str, object]:
    """One repair received on a day; `motors` is the share of bikes with a motor."""
    kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
    motor, stock = chance.random() < motors, chance.random() < 0.8
    age, queue = int(chance.uniform(0, 4000)), chance.randint(0, 25)
    odds = -2.5 + 0.12 * queue + 0.0003 * age + 1.2 * motor + 1.5 * (not stock) + 0.8 * (kind == "cargo")
    late = chance.random() < 1 / (1 + math.exp(-odds))
    return {
        "repair_id": f"R{number:06d}",
        "received_on": day,
        "bought_on": day - timedelta(days=age),
        "kind": kind,
        "motor": str(motor).lower(),
        "queue_length": queue,
        "quoted_price": "" if chance.random() < 0.1 else round(chance.lognormvariate(4, 0.6), 2),
        "part_in_stock": "yes" if stock else "no",
        "remark": remark(chance) if chance.random() < 0.5 else "",
        "finished_on": day + timedelta(days=chance.randint(8, 20) if late else chance.randint(1, 7)),
        "late": str(late).lower(),
    }


def remark(chance: random.Random) -> str:
    """What a customer says."""
    return f"{chance.choice(COMPLAINTS)} {chance.choice(WHEN)}, {chance.choice(WISHES)}"


def repairs(seed: int, first: date, days: int, number: int, motors: float) -> list[dict[str, object]]:
    """Repairs of some days, five to fifteen a day, numbered on."""
    chance = random.Random(seed)
    received = [first + timedelta(days=day) for day in range(days) for _ in range(chance.randint(5, 15))]
    return [repair(chance, number + i, day, motors) for i, day in enumerate(received)]


def write(name: str, rows: list[dict[str, object]]) -> None:
    """Write rows to a CSV file of the data folder."""
    with (FOLDER / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Write the three files."""
    FOLDER.mkdir(exist_ok=True)
    write("repairs.csv", repairs(1, date(2024, 1, 1), 300, 1, motors=0.15))
    write("repairs-next.csv", repairs(2, date(2024, 10, 27), 31, 100_000, motors=0.6))
    broken = repairs(3, date(2024, 11, 27), 31, 200_000, motors=0.6)
    for row in broken[::40]:
        row.update(mishap(row))
    write("repairs-broken.csv", [*broken, broken[1]])


def mishap(row: dict[str, object]) -> dict[str, object]:
    """What goes wrong with a row, in turn: an unknown kind, a negative queue, a day that is none."""
    wrong: list[dict[str, object]] = [{"kind": "tandem"}, {"queue_length": -4}, {"received_on": "2024-13-01"}]
    return wrong[int(str(row["repair_id"])[1:]) % 3]


if __name__ == "__main__":
    main()
