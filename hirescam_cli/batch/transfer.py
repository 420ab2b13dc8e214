"""Objects that hold large arrays, handed from one process to another without copying the arrays through a
pipe.

The sender writes the object's pickle and its buffers into an anonymous file, which lives in memory and has no
name that a crash could leave behind; the receiver maps it.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from dataclasses import dataclass
from typing import Any

_ALIGNMENT = 64


@dataclass(frozen=True)
class Layout:
    """Where the pickle and the buffers lie in the file: (offset, length) in bytes each."""

    pickled: tuple[int, int]
    buffers: tuple[tuple[int, int], ...]
    size: int


def pack(value: object) -> tuple[int, Layout]:
    """Write `value` into an anonymous file: its descriptor, for the caller to close, and its layout."""
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(stream), *(buffer.raw() for buffer in buffers)]
    places, end = [], 0
    for part in parts:
        start = -(-end // _ALIGNMENT) * _ALIGNMENT
        places.append((start, part.nbytes))
        end = start + part.nbytes
    descriptor = _anonymous_file()
    try:
        os.truncate(descriptor, end)
        for (start, _length), part in zip(places, parts, strict=True):
            _write_all(descriptor, part, start)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, Layout(places[0], tuple(places[1:]), end)


def unpack(descriptor: int, layout: Layout) -> Any:
    """The value that `pack` wrote; its arrays are private, writable views of the mapped file."""
    mapped = mmap.mmap(descriptor, layout.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    view = memoryview(mapped)
    start, length = layout.pickled
    return pickle.loads(view[start : start + length], buffers=[view[s : s + n] for s, n in layout.buffers])


def _write_all(descriptor: int, part: memoryview, start: int) -> None:
    done = 0
    while done < part.nbytes:
        done += os.pwrite(descriptor, part[done:], start + done)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("hirescam", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
