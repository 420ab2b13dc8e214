"""Telling label maps from scans, so that the masks of a data set are not explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.io.bytesource import Readable, opened, skip
from hirescam_cli.io.gzipped import GzipError
from hirescam_cli.io.scan import ReadOptions

_MOST_LABELS = 256
_FIRST_BYTES = 1 << 16
_NEXT_BYTES = 1 << 20


def is_label_map(files: tuple[Path, ...], kind: str) -> bool:
    """Whether a volume's voxels are whole numbers from 0 up and of at most 256 different values.

    Reads only as far as the first value that says otherwise, in a CT mostly the first voxels of air. A file
    that cannot be read is no label map: its reader will say what is wrong with it.
    """
    try:
        return _few_labels(_chunks(files, kind))
    except (ScanError, GzipError, OSError):
        return False


def _few_labels(chunks: Iterator[NDArray[Any]]) -> bool:
    values: set[float] = set()
    for chunk in chunks:
        different = np.unique(chunk)
        with np.errstate(invalid="ignore"):
            if different.size > _MOST_LABELS or not (different >= 0).all() or (different % 1 != 0).any():
                return False
        values.update(different.tolist())
        if len(values) > _MOST_LABELS:
            return False
    return bool(values)


def _chunks(files: tuple[Path, ...], kind: str) -> Iterator[NDArray[Any]]:
    if kind == "nifti":
        return _nifti_chunks(files)
    if kind in ("nrrd", "metaimage"):
        return _itk_chunks(files[0], kind)
    return iter(())


def _nifti_chunks(files: tuple[Path, ...]) -> Iterator[NDArray[Any]]:
    from hirescam_cli.io.nifti_header import LONGEST_HEADER, parse

    with opened(files[0], files[0].name) as (source, _):
        start = source.read(LONGEST_HEADER)
        header = parse(start, files[0].name, ReadOptions(prefer="sform", assume_affine=True))
        if (header.slope, header.intercept) != (1.0, 0.0) or header.pair != (len(files) == 2):
            return
        if not header.pair:
            skip(source, header.offset - len(start))
            yield from _pieces(source, start[header.offset :], header.data_bytes, header.dtype)
    if header.pair:
        with opened(files[1], files[1].name) as (source, _):
            skip(source, header.offset)
            yield from _pieces(source, b"", header.data_bytes, header.dtype)


def _itk_chunks(path: Path, kind: str) -> Iterator[NDArray[Any]]:
    from hirescam_cli.io.itk import voxel_stream
    from hirescam_cli.io.itk_header import parse

    header = parse(path, kind, path.name, ReadOptions())
    with voxel_stream(header) as source:
        yield from _pieces(source, b"", header.data_bytes, header.dtype)


def _pieces(source: Readable, kept: bytes, left: int, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The voxels piece by piece, `kept` being bytes already read. Raises GzipError where bytes are missing."""
    size = _FIRST_BYTES
    while left > 0:
        data = kept + source.read(min(size, left) - len(kept))
        if len(data) < min(size, left):
            raise GzipError("ends too early")
        yield np.frombuffer(data, dtype=dtype)
        kept, left, size = b"", left - len(data), _NEXT_BYTES
