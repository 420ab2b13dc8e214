"""Timing that survives a busy machine: candidates take turns, and ratios are formed within a turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    before: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round; in a round every candidate runs once, one after the other.

    `before` runs before each, and its time does not count.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, work in candidates.items():
            before()
            times[name].append(seconds(work))
    return times


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """Median over the rounds of over / under, so that a slow spell of the machine meets both sides."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))
