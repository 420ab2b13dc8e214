"""Makes NRRD, MetaImage and RAD-ChestCT files by hand, attached and detached, with any header line."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.io.nifti_factory import chest_hu

NRRD_TYPES = {"i2": "short", "u1": "uchar", "f4": "float", "f8": "double", "u2": "ushort", "i4": "int"}
META_TYPES = {"i2": "MET_SHORT", "u1": "MET_UCHAR", "f4": "MET_FLOAT", "f8": "MET_DOUBLE", "u2": "MET_USHORT"}


def make_nrrd(
    path: Path, array: NDArray[Any] | None = None, *, encoding: str = "raw", endian: str = "little",
    data: str | None = None, payload: bytes | None = None, drop: tuple[str, ...] = (), **fields: str,
) -> Path:  # fmt: skip
    """A NRRD file; field names with underscores for blanks; `data`: name of a detached data file."""
    stored = chest_hu() if array is None else array
    lines = {
        "type": NRRD_TYPES[stored.dtype.str[1:]],
        "dimension": str(stored.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, stored.shape)),
        "space directions": "(0.75,0,0) (0,0.5,0) (0,0,2.5)",
        "kinds": "domain domain domain",
        "endian": endian,
        "encoding": encoding,
        "space origin": "(-10,20,30)",
    }
    lines |= {name.replace("_", " "): value for name, value in fields.items()}
    if data is not None:
        lines["data file"] = data
    text = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in lines.items() if key not in drop)
    body = stored.astype(stored.dtype.newbyteorder("<" if endian == "little" else ">")).tobytes(order="F")
    body = payload if payload is not None else (gzip.compress(body) if encoding in ("gzip", "gz") else body)
    if data is None:
        path.write_bytes(text.encode() + b"\n" + body)
    else:
        path.write_bytes(text.encode())
        (path.parent / Path(data).name).write_bytes(body)
    return path


def make_meta(
    path: Path, array: NDArray[Any] | None = None, *, compressed: bool = False, data: str = "LOCAL",
    payload: bytes | None = None, drop: tuple[str, ...] = (), **fields: str,
) -> Path:  # fmt: skip
    """A MetaImage file; `data`: name of a detached data file."""
    stored = chest_hu() if array is None else array
    body = stored.tobytes(order="F")
    body = payload if payload is not None else (zlib.compress(body) if compressed else body)
    lines = {
        "ObjectType": "Image",
        "NDims": str(stored.ndim),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "-10 20 30",
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": "0.75 0.5 2.5",
        "DimSize": " ".join(map(str, stored.shape)),
        "ElementType": META_TYPES[stored.dtype.str[1:]],
    }
    lines |= fields
    text = "".join(f"{key} = {value}\n" for key, value in lines.items() if key not in drop)
    text += f"ElementDataFile = {data}\n"
    if data == "LOCAL":
        path.write_bytes(text.encode() + body)
    else:
        path.write_bytes(text.encode())
        (path.parent / Path(data).name).write_bytes(body)
    return path


def make_radchest(path: Path, array: NDArray[Any] | None = None, *, key: str = "ct") -> Path:
    """A `.npz` as RAD-ChestCT's: [superior-inferior, anterior-posterior, right-left]."""
    np.savez_compressed(path, **{key: chest_hu() if array is None else array})
    return path
