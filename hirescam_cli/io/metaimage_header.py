"""Headers of MetaImage files, attached (`.mha`) and detached (`.mhd`)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import DType
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.io.text_header import (
    MOST_LINES,
    Encoding,
    TextHeader,
    beside,
    contradiction,
    damaged,
    end_of,
    head_of,
    numbers,
    shown,
    sizes,
    text_of,
    three,
    unusable_type,
)
from hirescam_cli.io.values import check_shape
from hirescam_cli.warning import Warning

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_OTHER_TYPES = {"MET_NONE", "MET_ASCII_CHAR", "MET_STRING", "MET_FLOAT_MATRIX", "MET_OTHER"} | {
    f"{name}_ARRAY" for name in _TYPES
}
# Others' readers go on into the next line where one of these is too short.
_VECTORS = {"CenterOfRotation", "ElementSize", "ElementSpacing", "Offset", "Origin", "Position"}
_BYTE_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_ORIGINS, _DIRECTIONS = ("Offset", "Position", "Origin"), ("TransformMatrix", "Rotation", "Orientation")
_SYNONYMS = (_BYTE_ORDER, _ORIGINS, _DIRECTIONS)
_MILLIMETRES, _OTHER_UNITS = ("", "?", "mm", "millimeter"), ("um", "micrometer", "cm", "centimeter")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_LAST = "ElementDataFile"
_LOCAL = ("LOCAL", "Local", "local")


def parse(path: Path, name: str, options: ReadOptions) -> TextHeader:
    """Check the header at the beginning of a MetaImage file. Raises ScanError."""
    head = head_of(path, name)
    fields, end = _fields(head, name)
    shape = three(sizes(fields.get("DimSize", ""), "DimSize", name), name)
    if fields.get("NDims") != "3":
        raise damaged(name, "NDims and DimSize disagree")
    check_shape(shape, name, options.max_voxels, options.least_axis)
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise unusable_type(name, "there are several channels a voxel")
    if not _flag(fields, "BinaryData", True):
        raise damaged(name, "the voxels are text, expected binary ones")
    for key in _VECTORS & fields.keys():
        numbers(fields[key], 3, key, name)
    _check_agreement(fields, name)
    _check_units(fields, name)
    affine, warnings = _affine(fields, name)
    data = fields[_LAST]
    files = (path,) if data in _LOCAL else (path, beside(path, data, name))
    encoding: Encoding = "zlib" if _flag(fields, "CompressedData", False) else "raw"
    first = end if data in _LOCAL else 0
    header = TextHeader(files, shape, _dtype(fields, name), encoding, first, affine, warnings)
    return replace(header, offset=_offset(header, fields.get("HeaderSize", "0"), name))


def data_file(head: bytes) -> str | None:
    """The data file that a header names, None if the voxels follow the header or nothing is named."""
    try:
        data = _fields(head, "")[0][_LAST]
    except ScanError:
        return None
    return None if data in _LOCAL else data


def _fields(head: bytes, name: str) -> tuple[dict[str, str], int]:
    """Fields by name, and where the voxels of an attached header begin; ElementDataFile is the last field."""
    fields: dict[str, str] = {}
    position = 0
    for _ in range(MOST_LINES):
        stop = head.find(b"\n", position)
        line = head[position : stop if stop >= 0 else len(head)]
        key, separator, value = text_of(line.removesuffix(b"\r"), name).partition("=")
        if not separator and line.strip():
            raise damaged(name, "a line of the header is not 'key = value'")
        if key.strip() in fields:
            raise damaged(name, "a field is given twice")
        if separator:
            fields[key.strip()] = value.strip()
        position = stop + 1 if stop >= 0 else len(head)
        if _LAST in fields:
            return fields, position
        if stop < 0:
            raise damaged(name, "the header ends without ElementDataFile")
    raise damaged(name, f"the header has more than {MOST_LINES} lines")


def _flag(fields: dict[str, str], key: str, default: bool) -> bool:
    return fields.get(key, str(default)).strip()[:1].upper() in ("T", "1", "Y")


def _dtype(fields: dict[str, str], name: str) -> DType:
    kind = fields.get("ElementType", "")
    if kind not in _TYPES:
        raise unusable_type(name, f"ElementType is {shown(kind, _OTHER_TYPES)}")
    big = any(_flag(fields, key, False) for key in _BYTE_ORDER)
    return np.dtype((">" if big else "<") + _TYPES[kind])


def _offset(header: TextHeader, header_size: str, name: str) -> int:
    """Where the voxels begin, at the soonest at `header.offset`. HeaderSize counts from the beginning of their file;
    0 leaves it open, and -1 is for voxels that are the last bytes of their file.
    """
    if not _INTEGER.fullmatch(header_size) or int(header_size) < -1:
        raise damaged(name, "HeaderSize is not -1 or a number of bytes from 0 up")
    size = int(header_size)
    if size == -1 and header.encoding != "raw":
        raise contradiction(name, "HeaderSize is -1, which means nothing where voxels are compressed")
    if size == -1:
        return max(header.offset, end_of(header.files[-1], name) - header.data_bytes)
    if 0 < size < header.offset:
        raise contradiction(name, f"HeaderSize is {size}, and the header has {header.offset} bytes")
    return size or header.offset


def _check_agreement(fields: dict[str, str], name: str) -> None:
    """Refuse fields of one meaning that say different things."""
    for keys in _SYNONYMS:
        given = [key for key in keys if key in fields]
        for key in given[1:]:
            if _meaning(fields, key) != _meaning(fields, given[0]):
                raise contradiction(name, f"{given[0]} and {key} say different things")


def _meaning(fields: dict[str, str], key: str) -> object:
    """The flag or the numbers of a field; its text where it holds something else."""
    if key in _BYTE_ORDER:
        return _flag(fields, key, False)
    try:
        return [float(part) for part in fields[key].split()]
    except ValueError:
        return fields[key]


def _check_units(fields: dict[str, str], name: str) -> None:
    """Refuse lengths that are not millimetres, and values that are HU only after a function, which others pass over."""
    unit = fields.get("DistanceUnits", "")
    if unit not in _MILLIMETRES:
        raise damaged(
            name,
            f"DistanceUnits is {shown(unit, _OTHER_UNITS)}, expected mm",
            "Write the file again in millimetres.",
        )
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        (found,) = numbers(fields.get(key, str(neutral)), 1, key, name)
        if found != neutral:
            raise ScanError(
                f"{name}: {key} is {found:g}, expected {neutral:g}: most programs do not apply it.",
                hint="Write the file again with values in HU, and without a function of them.",
                code="voxel-function",
            )


def _affine(fields: dict[str, str], name: str) -> tuple[Affine, tuple[Warning, ...]]:
    """Index to RAS mm, and what the header leaves open."""
    warnings = []
    matrix = next((fields[key] for key in _DIRECTIONS if key in fields), None)
    if matrix is None:
        matrix = "1 0 0 0 1 0 0 0 1"
        warnings.append(
            Warning("affine-assumed", "the header gives no directions; left, back and head are taken.")
        )
    origin = next((fields[key] for key in _ORIGINS if key in fields), None)
    if origin is None:
        origin = "0 0 0"
        warnings.append(
            Warning("origin-unknown", "the header gives no origin; the first voxel is put at 0, 0, 0.")
        )
    spacing = fields.get("ElementSpacing", fields.get("ElementSize"))
    if spacing is None:
        raise damaged(name, "ElementSpacing is missing")
    # The file lists the direction of each axis in turn: the rows of the text are the columns of the affine.
    directions = np.array(numbers(matrix, 9, "TransformMatrix", name)).reshape(3, 3).T
    linear = directions * np.array(numbers(spacing, 3, "ElementSpacing", name))
    lps = affines.from_parts(linear, numbers(origin, 3, "Offset", name))
    return affines.LPS_TO_RAS @ lps, tuple(warnings)
