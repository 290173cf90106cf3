"""The flights' year by weeks through the loop, beside never retraining and retraining weekly and daily, over label delays.

    python -m tests.benches.replay          labels come 1, 7 and 28 days late, one replay after the other: an hour and a half
    python -m tests.benches.replay 7        only so many days

Settings were chosen on March to June; July to December are reported, as far as labels have come by then. It begins in
March, and a week later as often as the gate lets nothing become the first champion. Recovered: the share of the log loss
between never retraining and retraining every day that the loop recovers, all at the same label delay.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

DELAYS = (1, 7, 28)  # days
SINCE = ("2013-03-01", "2013-03-08", "2013-03-15", "2013-03-22", "2013-03-29")
WANTED = "wanted: recovered at least 75%, at most 30 trainings, worst month at most +.0030, the loop within 900 s"


def main() -> None:
    """One line a delay."""
    print(f"{'delay':>5} {'loop':>6} {'never':>6} {'weekly':>6} {'daily':>6} {'recovered':>9} {'trainings':>24}"
          f" {'worst month':>17} {'loop s':>7}")  # fmt: skip
    for delay in [int(told) for told in sys.argv[1:] if told.isdigit()] or DELAYS:
        print(line(delay, replayed(delay)), flush=True)
    print(WANTED)


def replayed(delay: int) -> dict[str, Any]:
    """What `penstock replay` says, begun as early as there is a first champion."""
    for since in SINCE:
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
            command = [sys.executable, "-c", "from deployments.cli import main; main()", "replay", "flights", "--oracle"]
            told = ["--from", since, "--judge-from", "2013-07-01", "--label-delay", str(delay)]
            where = ["--home", f"{folder}/home", "--json"]
            done = subprocess.run([*command, *told, *where], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        assert "there is no first champion" in done.stderr, done.stderr[-2000:]
        print(f"  a delay of {delay} days, from {since}: {done.stderr.splitlines()[-1]}", file=sys.stderr)
    raise AssertionError("there never was a first champion")


def line(delay: int, told: dict[str, Any]) -> str:
    """Totals, trainings (loop, weekly, daily) and the month in which the loop was worst beside never."""
    courses = {course["name"]: course for course in told["courses"]}
    losses = {name: course["total"]["log_loss"] for name, course in courses.items()}
    trained = {name: sum(course["trainings"].values()) for name, course in courses.items()}
    judged = told["judged_from"][:7]
    months = {
        month: found["log_loss"] - courses["never"]["months"][month]["log_loss"]
        for month, found in courses["loop"]["months"].items()
        if month >= judged
    }
    worst = max(months, key=lambda month: months[month])
    counts = f"{trained['loop']} ({trained['weekly']} weekly, {trained['daily']} daily)"
    return (
        f"{delay:>5} {losses['loop']:>6.4f} {losses['never']:>6.4f} {losses['weekly']:>6.4f} {losses['daily']:>6.4f}"
        f" {told['recovered']:>9.0%} {counts:>24} {worst} {months[worst]:+.4f} {told['seconds']:>7.0f}"
    )


if __name__ == "__main__":
    main()
