"""Headers of NRRD files, attached (`.nrrd`) and detached (`.nhdr`)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import DType
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.io.text_header import (
    LONGEST_HEADER,
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
    unreadable,
    unusable_type,
)
from hirescam_cli.io.values import check_shape
from hirescam_cli.warning import Warning

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_DTYPES = {alias: code for code, aliases in _TYPES.items() for alias in aliases}
_ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
_TO_RAS = {
    "right-anterior-superior": (1.0, 1.0, 1.0),
    "ras": (1.0, 1.0, 1.0),
    "left-anterior-superior": (-1.0, 1.0, 1.0),
    "las": (-1.0, 1.0, 1.0),
    "left-posterior-superior": (-1.0, -1.0, 1.0),
    "lps": (-1.0, -1.0, 1.0),
}
_SPATIAL_KINDS = {"domain", "space", "???", "none"}
_LAYERS = {"list", "???", "none"}
_OTHER_KINDS = {
    "time", "list", "point", "vector", "covariant-vector", "normal", "stub", "scalar", "complex", "2-vector",
    "3-color", "rgb-color", "hsv-color", "xyz-color", "4-color", "rgba-color", "3-vector", "3-gradient",
    "3-normal", "4-vector", "quaternion", "2d-symmetric-matrix", "2d-matrix", "3d-symmetric-matrix", "3d-matrix",
}  # fmt: skip
_OTHER_ENCODINGS = ("txt", "text", "ascii", "hex", "bz2", "bzip2", "zrl")
_OTHER_SPACES = (
    "right-anterior-superior-time", "left-anterior-superior-time", "left-posterior-superior-time", "scanner-xyz",
    "scanner-xyz-time", "3d-right-handed", "3d-left-handed", "rast", "last", "lpst",
)  # fmt: skip
_OTHER_UNITS = ("cm", "m", "um", "nm", "inches", "in")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_END = re.compile(rb"\r?\n\r?\n")
_MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")
_VECTOR = re.compile(r"\(([^()]*)\)")
_VECTORS = re.compile(rf"(?:{_VECTOR.pattern}\s*)+")
_FIELDS = {
    "content", "number", "type", "block size", "dimension", "space", "space dimension", "sizes", "spacings",
    "thicknesses", "axis mins", "axis maxs", "centers", "centerings", "labels", "units", "kinds", "min", "max",
    "old min", "old max", "endian", "encoding", "line skip", "byte skip", "sample units", "space units",
    "space origin", "space directions", "measurement frame", "data file",
}  # fmt: skip
_SPELLINGS = {spelling: field for field in _FIELDS for spelling in (field, field.replace(" ", ""))}


def parse(path: Path, name: str, options: ReadOptions) -> TextHeader:
    """Check the header at the beginning of a NRRD file. Raises ScanError."""
    fields, end = _fields(head_of(path, name), name)
    shape = three(sizes(fields.get("sizes", ""), "sizes", name), name)
    if fields.get("dimension") != "3":
        raise damaged(name, "dimension and sizes disagree")
    kinds = [kind for kind in fields.get("kinds", "").lower().split() if kind not in _SPATIAL_KINDS]
    if kinds:
        raise unusable_type(name, f"an axis is of the kind {shown(kinds[0], _OTHER_KINDS)}")
    return _header(path, name, options, fields, end, shape)


def parse_layers(path: Path, name: str, options: ReadOptions) -> tuple[TextHeader, int] | None:
    """The header of a file of several volumes on one grid, its first axis a list of them, as 3D Slicer writes segments
    that overlap; and how many there are. None where a file is not so.

    The header's first axis is that of the voxels times the volumes: `sizes` "2 5 6 7" gives the shape (10, 6, 7).
    Raises ScanError.
    """
    fields, end = _fields(head_of(path, name), name)
    kinds = fields.get("kinds", "").lower().split()
    directions = fields.get("space directions", "").split(maxsplit=1)
    if fields.get("dimension") != "4" or len(kinds) != 4 or not directions or directions[0].lower() != "none":
        return None
    if kinds[0] not in _LAYERS or not _SPATIAL_KINDS.issuperset(kinds[1:]):
        return None
    count, *rest = sizes(fields.get("sizes", ""), "sizes", name)
    i, j, k = three(rest, name)
    fields["space directions"] = directions[1]
    return _header(path, name, options, fields, end, (count * i, j, k)), count


def _header(
    path: Path, name: str, options: ReadOptions, fields: dict[str, str], end: int, shape: tuple[int, int, int]
) -> TextHeader:
    """All but the axes, checked."""
    check_shape(shape, name, options.max_voxels, options.least_axis)
    dtype = _dtype(fields, name)
    called = fields.get("encoding", "").strip().lower()
    encoding = _ENCODINGS.get(called)
    if encoding is None:
        raise ScanError(
            f"{name}: the encoding is {shown(called, _OTHER_ENCODINGS)}, expected raw or gzip.",
            hint="Write the file again with gzip encoding.",
            code="encoding",
        )
    affine, warnings = _affine(fields, name)
    data = fields.get("data file")
    files = (path,) if data is None else (path, beside(path, data, name))
    first = _after_lines(files[-1], 0 if data is not None else end, _line_skip(fields, name), name)
    return _skipped(TextHeader(files, shape, dtype, encoding, first, affine, warnings), fields, name)


def data_file(head: bytes) -> str | None:
    """The data file that a header names, None if the voxels follow the header or it is damaged."""
    try:
        return _fields(head, "")[0].get("data file")
    except ScanError:
        return None


def key_values(path: Path, name: str) -> dict[str, str]:
    """The keys and values of users (`key:=value`) in a header, such as 3D Slicer's segments. Raises ScanError."""
    head = head_of(path, name)
    if not _MAGIC.match(head):
        raise damaged(name, "the first line is not NRRD0001 to NRRD0005")
    found = {}
    for line in _END.split(head, maxsplit=1)[0].splitlines():
        key, separator, value = line.decode("utf-8", "replace").partition(":=")
        if separator and ": " not in key:
            found[key] = value.replace("\\n", "\n").replace("\\\\", "\\")
    return found


def _fields(head: bytes, name: str) -> tuple[dict[str, str], int]:
    """Fields by name, and where the voxels of an attached header begin. Keys and values of users are passed over."""
    if not _MAGIC.match(head):
        raise damaged(name, "the first line is not NRRD0001 to NRRD0005")
    fields: dict[str, str] = {}
    position = head.find(b"\n") + 1
    for _ in range(MOST_LINES):
        stop = head.find(b"\n", position)
        line = head[position : stop if stop >= 0 else len(head)].removesuffix(b"\r")
        position = stop + 1 if stop >= 0 else len(head)
        if not line:
            return fields, position
        text = text_of(line, name)
        key, separator, value = text.partition(": ")
        if text.startswith("#") or ":=" in (key if separator else text):
            continue
        field = _SPELLINGS.get(key.lower())
        if not separator or field is None:
            raise damaged(name, "a line of the header is not one of the format's")
        if field in fields:
            raise damaged(name, "a field is given twice")
        fields[field] = value.strip()
    raise damaged(name, f"the header has more than {MOST_LINES} lines")


def _dtype(fields: dict[str, str], name: str) -> DType:
    kind = " ".join(fields.get("type", "").lower().split())
    if kind not in _DTYPES:
        raise unusable_type(name, f"the type is {shown(kind, ('block',))}")
    dtype: DType = np.dtype(_DTYPES[kind])
    endian = fields.get("endian", "").strip().lower()
    if dtype.itemsize > 1 and endian not in ("little", "big"):
        raise damaged(name, "endian is neither little nor big")
    return dtype.newbyteorder(">" if endian == "big" else "<")


def _line_skip(fields: dict[str, str], name: str) -> int:
    text = fields.get("line skip", "0")
    if not text.isdecimal() or len(text) > 6:
        raise damaged(name, "line skip is not a number of lines from 0 up")
    return int(text)


def _after_lines(path: Path, start: int, lines: int, name: str) -> int:
    """Where a file goes on after so many lines from byte `start` on, compressed or not."""
    passed = 0
    try:
        with path.open("rb") as file:
            file.seek(start)
            for _ in range(lines):
                passed += len(file.readline(LONGEST_HEADER))
                if passed >= LONGEST_HEADER:
                    raise damaged(name, f"the {lines} lines to be skipped are longer than a header may be")
    except OSError as error:
        raise unreadable(name, error) from error
    return start + passed


def _skipped(header: TextHeader, fields: dict[str, str], name: str) -> TextHeader:
    """The header with its byte skip: of compressed voxels, bytes that are passed over once they are decompressed.

    -1 is for voxels that are the last bytes of their file, -2 for those before the last byte, and so on.
    """
    text = fields.get("byte skip", "0")
    if not _INTEGER.fullmatch(text):
        raise damaged(name, "byte skip is not a number of bytes")
    skip = int(text)
    if skip < 0 and header.encoding != "raw":
        raise damaged(
            name,
            f"byte skip is {skip}, which is read with raw encoding only",
            "Write the file again without byte skip.",
        )
    if skip < 0:
        behind = -1 - skip
        first = end_of(header.files[-1], name) - behind - header.data_bytes
        return replace(header, offset=max(header.offset, first))
    return replace(header, skip=skip)


def _affine(fields: dict[str, str], name: str) -> tuple[Affine, tuple[Warning, ...]]:
    """Index to RAS mm, and what the header leaves open."""
    space = fields.get("space", "").strip().lower()
    if space not in _TO_RAS:
        raise ScanError(
            f"{name}: the space is {shown(space, _OTHER_SPACES)}, so the patient's directions are unknown.",
            hint="Write the file again in the space left-posterior-superior.",
            code="no-affine",
        )
    for field, what in (("space units", "a space unit"), ("units", "an axis' unit")):
        units = {unit.strip('"').strip() for unit in fields.get(field, "").split()} - {"mm", "???", ""}
        if units:
            unit = shown(min(units), _OTHER_UNITS)
            raise damaged(name, f"{what} is {unit}, expected mm", "Write the file again in millimetres.")
    vectors = _vectors(fields.get("space directions", ""))
    if len(vectors) != 3:
        raise damaged(name, "space directions are not three vectors")
    columns = [numbers(vector, 3, "a space direction", name) for vector in vectors]
    _check_agreement(fields, columns, name)
    origin = [0.0, 0.0, 0.0]
    warnings: tuple[Warning, ...] = ()
    if "space origin" in fields:
        found = _vectors(fields["space origin"])
        if len(found) != 1:
            raise damaged(name, "space origin is not one vector")
        origin = numbers(found[0], 3, "space origin", name)
    else:
        warnings = (
            Warning("origin-unknown", "the header gives no origin; the first voxel is put at 0, 0, 0."),
        )
    to_ras = affines.scaling(_TO_RAS[space], [0.0, 0.0, 0.0])
    return to_ras @ affines.from_parts(np.array(columns).T, origin), warnings


def _check_agreement(fields: dict[str, str], columns: Sequence[Sequence[float]], name: str) -> None:
    """Refuse what places the axes otherwise than the space directions, beside which the format has no such fields."""
    for field in ("axis mins", "axis maxs"):
        if any(part.lower() != "nan" for part in fields.get(field, "").split()):
            raise contradiction(name, f"{field} stand beside the space directions")
    spacings = fields.get("spacings", "").split()
    if not spacings or all(part.lower() == "nan" for part in spacings):
        return
    lengths = [math.hypot(*column) for column in columns]
    if not np.allclose(numbers(fields["spacings"], 3, "spacings", name), lengths, rtol=1e-3, atol=0):
        raise contradiction(name, "spacings are not the lengths of the space directions")


def _vectors(text: str) -> list[str]:
    """The numbers in each bracket of a field, apart by blanks; no vector if anything is not as the format has it."""
    found = _VECTOR.findall(text) if _VECTORS.fullmatch(text) else []
    return [vector.replace(",", " ") for vector in found] if all(v.count(",") == 2 for v in found) else []
