"""How many threads work on the CPU, and running pieces of work on them.

NumPy's products here are kept so small that BLAS computes each on one thread: whole slabs are handed to threads
instead, which gives the same bits for any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

_VARIABLE = "OMP_NUM_THREADS"

Item = TypeVar("Item")
Result = TypeVar("Result")


def available() -> int:
    """Threads to use: OMP_NUM_THREADS if it is set, else the processors that this process may run on."""
    asked = os.environ.get(_VARIABLE, "").partition(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`work` of each item, in order. After an exception nothing more is begun, and the first one is raised."""
    todo, count = list(items), available()
    if count == 1 or len(todo) < 2:
        return [work(item) for item in todo]
    pool = ThreadPoolExecutor(min(count, len(todo)), thread_name_prefix="hirescam")
    try:
        return list(pool.map(work, todo))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def shares(items: Sequence[Item], smallest: int = 1) -> list[Sequence[Item]]:
    """`items` in runs of at least `smallest`, at most one for each thread."""
    size = max(smallest, -(-len(items) // available()))
    return [items[start : start + size] for start in range(0, len(items), size)]


@contextmanager
def limited(count: int) -> Iterator[None]:
    """Let this process, and those that it starts, use `count` threads; afterwards as before."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
