"""Telling label maps from scans, so that the masks of a data set are not explained.

Discovery asks this of every file of a folder. In nearly all scans the first voxels answer; where they do not, a
process of its own looks further, at no more than the first 64 MiB of voxels: 128 slices of 512 x 512 whole numbers
without one below 0 are not a CT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry.types import DType, Voxels
from hirescam_cli.io.bytesource import Readable
from hirescam_cli.io.gzipped import GzipError
from hirescam_cli.io.input_format import LeftOut

StoredValues = Iterator[Voxels]
"""The voxels of a volume as stored, piece by piece."""

MASK = LeftOut("label-map", "holds few whole numbers and none below 0: a mask, not a CT in HU")

COMPRESSED_BYTES = 16 << 20
"""As much of a compressed file may be read to find the voxels that are looked at."""

FIRST_BYTES = 1 << 16
"""As much is looked at first: in most scans it suffices."""

_MOST_LABELS = 256
_MOST_BYTES = 64 << 20
_NEXT_BYTES = 1 << 20


def at_first_sight(values: Callable[[], StoredValues]) -> bool | None:
    """What the first piece of the voxels says of `is_label_map`: True, False, or None where more must be read."""
    try:
        every = values()
        first = next(every, None)
        if first is None or not _few_labels(iter((first,))):
            return False
        return True if next(every, None) is None else None
    except (ScanError, GzipError, OSError):
        return False


def is_label_map(values: Callable[[], StoredValues]) -> bool:
    """Whether a volume's voxels are whole numbers from 0 up and of at most 256 different values.

    Reads only as far as the first value that says otherwise, in a CT mostly the first voxels of air. A file
    that cannot be read is not a label map: its reader will say what is wrong with it.
    """
    try:
        return _few_labels(values())
    except (ScanError, GzipError, OSError):
        return False


def pieces(source: Readable, kept: bytes, left: int, dtype: DType) -> StoredValues:
    """The voxels of a stream, `kept` being bytes already read. Raises GzipError where bytes are missing."""
    size = FIRST_BYTES
    while left > 0:
        data = kept + source.read(min(size, left) - len(kept))
        if len(data) < min(size, left):
            raise GzipError("ends too early")
        yield np.frombuffer(data, dtype=dtype)
        kept, left, size = b"", left - len(data), _NEXT_BYTES


def _few_labels(chunks: StoredValues) -> bool:
    labels: set[float] = set()
    seen = 0
    for chunk in chunks:
        low, high = chunk.min(), chunk.max()
        if not low >= 0:
            return False
        different = chunk[:1] if low == high else np.unique(chunk)
        if different.size > _MOST_LABELS or (different % 1 != 0).any():
            return False
        labels.update(different.tolist())
        if len(labels) > _MOST_LABELS:
            return False
        seen += chunk.nbytes
        if seen >= _MOST_BYTES:
            break
    return bool(labels)
