"""How often a first champion comes where nothing can be learned, and where something can.

Forty files of pure noise of each kind of target, 300 to 5,000 rows, with and without dates; then files whose outcome follows
two columns, by how strongly. Each goes the way of `penstock new` and of the first training, with the scaffold's policies.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.skill_kit import KINDS, file_of, first_gate, noise_files

REPEATS = 10


def _share(rows: int, effect: float) -> str:
    """Promoted of all kinds, with and without dates."""
    promoted = 0
    with TemporaryDirectory() as folder:
        for seed in range(REPEATS):
            for kind in KINDS:
                for dated in (False, True):
                    frame = file_of(kind, rows, 10_000 + seed, effect=effect, dated=dated)
                    promoted += first_gate(frame, Path(folder)).promoted
    return f"{promoted / (REPEATS * len(KINDS) * 2):.2f}"


def main() -> None:
    """Print all of it."""
    with TemporaryDirectory() as folder:
        champions = [name for name, frame in noise_files() if first_gate(frame, Path(folder)).promoted]
    print(f"pure noise: {len(champions)} of 40 files got a champion {champions or ''}")
    print("signal, in standard deviations of the noise; share of 60 files that got a champion")
    for rows in (150, 300, 600):
        shares = [f"{effect:.1f}: {_share(rows, effect)}" for effect in (0.3, 0.6, 1.0, 1.5)]
        print(f"  {rows} rows: {', '.join(shares)}", flush=True)


if __name__ == "__main__":
    main()
