"""Writing NIfTI: exact maps in float32 and overlays in signed 8 bits, streamed through a fast gzip.

Files are NIfTI-1 (NIfTI-2 beyond 32767 voxels an axis), little endian, in mm, with nothing in any free-text
field but hirescam's own name, and the same bytes for the same content.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import nibabel
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import aligned_axes, linear_matrix, resample_linear

Buffer: TypeAlias = bytes | memoryview


_GZIP_WBITS = 16 + isal_zlib.MAX_WBITS
_GZIP_MEMORY = 9
_SLAB = 4
_EQUAL_ROWS = 8
_FEWEST_ROWS = 64
_MOST_ROWS = 128
_INT8_MAX = 127
_SHOWN_FROM = 0.05
_SHEAR_TOLERANCE = 1e-5


def write_cams(path: Path, cams_lsyx: NDArray[np.float32], affine_ras: Affine, *, compress: int) -> None:
    """Every label's exact signed map as one 4-D float32 image [s, y, x, label] at `affine_ras`."""
    header = _header((*cams_lsyx.shape[1:], cams_lsyx.shape[0]), affine_ras, np.float32)
    _set_shown(header, float(cams_lsyx.max(initial=0.0)))
    data = np.transpose(cams_lsyx, (1, 2, 3, 0)).astype("<f4")
    _write(path, header, [data.tobytes(order="F")], compress)


def write_map(path: Path, cam_syx: NDArray[np.float32], affine_ras: Affine, *, compress: int) -> Path:
    """One label's exact signed map [s, y, x] in float32 on its own grid; returns `path`."""
    header = _header(cam_syx.shape, affine_ras, np.float32)
    _set_shown(header, float(cam_syx.max()))
    _write(path, header, [cam_syx.astype("<f4").tobytes(order="F")], compress)
    return path


def write_overlay(
    path: Path, cam_syx: NDArray[np.float32], affine_ras: Affine, target: Grid, *, compress: int
) -> Path:
    """A map [s, y, x] (cell to RAS mm: `affine_ras`) interpolated onto the scan's grid, in signed 8 bits.

    Returns `path`. The slope gives logit units; 0 means no evidence or, outside the map's cells, that the network
    saw nothing there.
    """
    # The slope is stored in float32: quantise with the value that readers will multiply by.
    slope = np.float32(np.abs(cam_syx).max() / _INT8_MAX)
    if slope < np.finfo(np.float32).tiny:
        slope = np.float32(1.0)
    header = _header(target.shape, target.affine_ras, np.int8)
    header["scl_slope"], header["scl_inter"] = slope, 0.0
    _set_shown(header, float(cam_syx.max()))
    _write(path, header, _quantised(cam_syx / slope, affine_ras, target), compress)
    return path


def _quantised(scaled_syx: NDArray[np.float32], affine_ras: Affine, target: Grid) -> Iterator[Buffer]:
    """Slabs of the interpolated map in int8, in NIfTI's order (first axis fastest).

    A slab is good until the next one is asked for.
    """
    index_affine = np.linalg.inv(affine_ras) @ target.affine_ras
    source = aligned_axes(index_affine, target.shape)
    if source is None:
        values = resample_linear(scaled_syx, affine_ras, target)
        flat = np.transpose(values, (2, 1, 0))
        yield _int8(flat, np.empty(flat.shape, dtype=np.int8)).data
        return
    w_i, w_j, w_k = (
        linear_matrix(
            scaled_syx.shape[s], index_affine[s, t] * np.arange(target.shape[t]) + index_affine[s, 3]
        ).astype(np.float32)
        for t, s in enumerate(source)
    )
    along_i = np.ascontiguousarray(np.transpose(scaled_syx, source[::-1]) @ w_i.T)
    cells_k, cells_j, width = along_i.shape
    along_k = along_i.reshape(cells_k, -1)
    blocks = list(_row_blocks(w_j))
    floats = np.empty((_SLAB, max(len(weights) for _, _, weights in blocks), width), dtype=np.float32)
    whole = np.empty((_SLAB, target.shape[1], width), dtype=np.int8)
    for start in range(0, target.shape[2], _SLAB):
        weights_k = w_k[start : start + _SLAB]
        needed = np.flatnonzero(weights_k.any(axis=0))
        slab = whole[: len(weights_k)]
        if needed.size:
            cells = slice(int(needed[0]), int(needed[-1]) + 1)
            lines = (weights_k[:, cells] @ along_k[cells]).reshape(len(slab), cells_j, width)
            for rows, columns, weights in blocks:
                values = np.matmul(weights, lines[:, columns], out=floats[: len(slab), : len(weights)])
                _int8(values, slab[:, rows])
        else:
            slab.fill(0)
        yield slab.data


def _row_blocks(weights: NDArray[np.float32]) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """An interpolation matrix in blocks of rows that need few of the columns: (rows, columns, their weights).

    A run of equal rows (the outer half cells, or where there is no cell) comes as a block with a single row of
    weights. The blocks are so small that BLAS leaves their products to the calling thread: several overlays are
    written at once instead.
    """
    size = len(weights)
    first = (weights != 0).argmax(axis=1)
    starts = np.r_[0, np.flatnonzero((weights[1:] != weights[:-1]).any(axis=1)) + 1]
    lengths = np.diff(np.r_[starts, size])
    equal_rows = np.repeat(starts + lengths, lengths) - np.arange(size)
    begin = 0
    while begin < size:
        stop, alike = begin + 1, equal_rows[begin] >= _EQUAL_ROWS
        if alike:
            stop = begin + int(equal_rows[begin])
        while not alike and stop < size and equal_rows[stop] < _EQUAL_ROWS and stop - begin < _MOST_ROWS:
            if stop - begin >= _FEWEST_ROWS and first[stop] != first[stop - 1]:
                break
            stop += 1
        part = weights[begin : begin + 1] if alike else weights[begin:stop]
        used = np.flatnonzero(part.any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
        yield slice(begin, stop), columns, np.ascontiguousarray(part[:, columns])
        begin = stop


def _int8(values: NDArray[np.float32], out: NDArray[np.int8]) -> NDArray[np.int8]:
    """Round `values`, in place, and put them into `out`, a single row into all of its rows."""
    np.copyto(out, np.rint(values, out=values), casting="unsafe")
    return out


def _header(shape: tuple[int, ...], affine_ras: Affine, dtype: Any) -> Any:
    kind = nibabel.Nifti1Header if max(shape) <= np.iinfo(np.int16).max else nibabel.Nifti2Header
    header = kind(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_qform(affine_ras, code=1, strip_shears=True)
    header.set_sform(affine_ras, code=1)
    if affines.shear_cosine(affine_ras) > _SHEAR_TOLERANCE:
        # A quaternion cannot say shear: the sform alone is true.
        header["qform_code"] = 0
    header.set_xyzt_units("mm")
    header["descrip"] = b"hirescam"
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["vox_offset"] = header.single_vox_offset
    return header


def _set_shown(header: Any, highest: float) -> None:
    """What viewers colour: from a small share of the map's maximum, so that they leave the body as it is, to it."""
    header["cal_max"] = max(0.0, highest)
    header["cal_min"] = _SHOWN_FROM * max(0.0, highest)


def _write(path: Path, header: Any, chunks: Iterable[Buffer], compress: int) -> None:
    start = header.binaryblock
    start += bytes(int(header["vox_offset"]) - len(start))
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            raw.write(start)
            raw.writelines(chunks)
            return
        # The header that isal writes holds neither a name nor a time.
        gzip = isal_zlib.compressobj(compress, wbits=_GZIP_WBITS, memLevel=_GZIP_MEMORY)
        for chunk in itertools.chain((start,), chunks):
            raw.write(gzip.compress(chunk))
        raw.write(gzip.flush())
