"""Ranges with slack: round numbers that a person would sign, with room for values that this file did not show."""

from __future__ import annotations

import math

LARGEST = 2**63 - 1
SMALLEST = 1e-300


def bounds(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """Round bounds around [low, high] with half its span of room on each side; 0 and a share's 1 are not crossed.

    0.02..0.97 gives 0..1, 3..88 gives 0..130, -12.5..31 gives -40..60, 1931..2012 gives 1890..2060.
    """
    lower, upper = _whole(int(low), int(high)) if whole else _fractional(low, high)
    if is_share(low, high, whole=whole):
        upper = 1
    return (max(lower, 0) if low >= 0 else lower), (min(upper, 0) if high <= 0 else upper)


def is_share(low: float, high: float, *, whole: bool) -> bool:
    """Whether numbers look like shares: fractions from 0 to 1 that use more than the half of it."""
    return not whole and low >= 0 and 0.5 < high <= 1


def _whole(low: int, high: int) -> tuple[int, int]:
    """In whole numbers throughout: the largest ones are no floats."""
    span = high - low or abs(high) or 1
    unit = int(10 ** (len(str(span)) - 1))
    lower, upper = (low - span // 2) // unit * unit, -(-(high + span // 2) // unit) * unit
    return max(lower, -LARGEST - 1), min(upper, LARGEST)


def _fractional(low: float, high: float) -> tuple[float, float]:
    span = high - low or abs(high) or 1.0
    if not SMALLEST < span < 1 / SMALLEST or not math.isfinite(abs(low) + abs(high) + span):
        return low, high
    unit = 10.0 ** math.floor(math.log10(span))
    lower, upper = math.floor((low - span / 2) / unit) * unit, math.ceil((high + span / 2) / unit) * unit
    return min(_tidy(lower), low), max(_tidy(upper), high)


def _tidy(value: float) -> float:
    """Without the dust of floating point; a whole number where it is one."""
    tidy = float(f"{value:.12g}")
    return int(tidy) if tidy.is_integer() and abs(tidy) < 1e15 else tidy
