"""The lives that `lives` compares. Imported once Prefect has a home of its own."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

from schemas.settings import Settings
from schemas.usecases.flights import FLIGHTS
from tasks.replay import dated_source
from tests.lives_kit import Delivery, Faults, Life, differences, everything, in_order, late, realized

USE_CASE = "flights"
LABEL_DELAY = 1.0  # days
FAULTY = (2, 4, 6)  # weeks


def compared(folder: Path, span: tuple[datetime, datetime]) -> None:
    """Live, and print what differs."""
    deliveries = in_order([*weeks(folder / "in", span)])
    plain = lived(folder / "plain", deliveries, "undisturbed")
    faults = Faults(folder / "bad", "carrier", FAULTY)
    faulted = lived(folder / "faulted", deliveries, "with faults", faults)
    print(f"  what was planted: {', '.join(faults.seen)}")
    told(faulted, list(differences(plain, faulted, everything)))
    tardy = lived(folder / "tardy", with_late(plain, deliveries), "with a file and labels that come late")
    told(tardy, list(differences(plain, tardy, lambda life: {**life.published(), **realized(life, span)})))


def weeks(folder: Path, span: tuple[datetime, datetime]) -> list[dict[str, Path]]:
    """The files of what came before, and of each week."""
    rows = dated_source.read_dated_source(FLIGHTS, None, LABEL_DELAY)
    periods = [(None, span[0]), *dated_source.periods(*span, "week")]
    return [rows.land(folder, since, until) for since, until in periods]


def lived(home: Path, deliveries: list[Delivery], what: str, faults: Faults | None = None) -> Life:
    """A life from its first file to its last."""
    life, began = Life(USE_CASE, Settings(home=home)), time.monotonic()
    life.live(deliveries, faults)
    champion = life.champion()
    assert champion
    print(
        f"{what}: {len(deliveries)} files, {len(life.trained)} trainings, champion v{champion.version}"
        f" {champion.sha256[:12]}, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return life


def with_late(plain: Life, deliveries: list[Delivery]) -> list[Delivery]:
    """A week's rows, and another week's labels, a week late; neither where a training lies between."""
    trained = {at for at, _, _ in plain.trained}
    last = max(at for at, _, _ in deliveries)
    calm = [at for at in range(2, last) if not trained & {at, at + 1}]
    rows, labels = calm[0], calm[-1]
    print(f"  a week late: the rows of week {rows}, the labels of week {labels}")
    late_rows = late(deliveries, rows, FLIGHTS.rows, rows + 1)
    return late(late_rows, labels, FLIGHTS.label_input.name, labels + 1)


def told(other: Life, differing: list[str]) -> None:
    """One line."""
    moved = "never went back" if other.never_went_back() else "WENT BACK"
    print(f"  {'differs: ' + ', '.join(differing) if differing else 'ends the same'}; champion and watermark {moved}")
