"""Reading DICOM elements as raw bytes: what a data set holds, without pydicom's opinions and messages.

The values that hirescam needs are few and simple, so they are parsed here from their bytes, with None for what is
absent or makes no sense. A value representation that a file gives wrongly (UN, or none) changes nothing.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import IO, Any

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom import tags

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
MAX_INFLATED_BYTES = 1 << 30
UNDEFINED_LENGTH = 0xFFFFFFFF

_META_BYTES = 1 << 14
_PIXEL_DATA = (0x7FE0, 0x0010)
_LONG_VRS = frozenset((b"OB", b"OW", b"UN", b"OD", b"OF", b"OL", b"OV"))


class Elements:
    """The elements of a data set by the number of their tag: look-ups in a `Dataset` are slow."""

    __slots__ = ("_dataset", "_found", "meta")

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._found = {int(tag): element for tag, element in dataset.items()}
        meta = getattr(dataset, "file_meta", None)
        self.meta = None if meta is None else Elements(meta)

    def get(self, tag: int) -> RawDataElement | DataElement | None:
        """The element as it was read, None where there is none."""
        return self._found.get(tag)

    def items_of(self, tag: int) -> list[Elements]:
        """The items of the sequence `tag`; empty where it is absent or no sequence."""
        if tag not in self._found:
            return []
        try:
            value = self._dataset[tag].value
        except Exception:  # a damaged sequence counts as absent
            return []
        if not isinstance(value, Sequence):
            return []
        return [Elements(item) for item in value if isinstance(item, Dataset)]


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where Pixel Data lie: `offset` of the value in the (inflated) file, its `length` (None: encapsulated).

    `words`: whether they are words of 16 bits (VR OW), which the byte order concerns whatever they hold.
    """

    offset: int
    length: int | None
    big_endian: bool
    words: bool


@dataclass(frozen=True)
class Parsed:
    """A parsed file: the elements before its pixels, its (inflated) bytes, where its pixels are."""

    elements: Elements
    stream: IO[bytes]
    transfer_syntax: str | None
    pixels: PixelElement | None


def parse(stream: IO[bytes], wanted: Sequence[int]) -> Parsed:
    """Parse the elements `wanted` of a DICOM file, a seekable stream at its beginning, up to its pixels.

    The stream may hold only the beginning of a file: `pixels` is None where they were not reached. Call it
    within `silence.quiet`. Raises ScanError "dicom-broken", without naming the file, for bytes that make no data set.
    """
    try:
        deflated_from = _deflated_from(stream.read(_META_BYTES))
        if deflated_from is not None:
            stream.seek(deflated_from)
            stream = io.BytesIO(_inflate(stream))
        stream.seek(0)
        dataset = pydicom.dcmread(
            stream, stop_before_pixels=True, force=True, specific_tags=[_tag(tag) for tag in wanted]
        )
        found = Elements(dataset)
        syntax = text(found.meta, tags.TRANSFER_SYNTAX_UID) if deflated_from is None else DEFLATED
        implicit, little = dataset.original_encoding
        big_endian = syntax == BIG_ENDIAN or (syntax is None and little is False)
        pixels = _pixel_element(stream, bool(implicit), big_endian)
    except ScanError:
        raise
    except Exception as error:
        # pydicom answers damaged files with nearly any exception: KeyError, struct.error, RecursionError, ...
        raise ScanError(
            "the DICOM elements are damaged.", code="dicom-broken", hint="Fetch the file again."
        ) from error
    return Parsed(found, stream, syntax, pixels)


def beginning(head: bytes, wanted: Sequence[int]) -> Elements | None:
    """The elements `wanted`, ascending, of the first bytes of a file, which may end anywhere behind the last of them.

    None where nothing can be told: deflated or damaged files. Call it within `silence.quiet`.
    """
    last = _tag(wanted[-1])
    try:
        if _deflated_from(head[:_META_BYTES]) is not None:
            return None
        dataset = read_partial(io.BytesIO(head), stop_when=lambda tag, _vr, _length: tag > last, force=True)
        return Elements(dataset)
    except Exception:  # as in `parse`; which then says what is wrong
        return None


@cache
def _tag(tag: int) -> BaseTag:
    return Tag(tag)


def _deflated_from(head: bytes) -> int | None:
    """Where the deflated data set of a file begins, None if it is not deflated: pydicom would inflate any amount."""
    offset, deflated = 132, False
    if head[128:132] != b"DICM" or DEFLATED.encode("ascii") not in head:
        return None
    while offset + 12 <= len(head) and head[offset : offset + 2] == b"\x02\x00":
        long = head[offset + 4 : offset + 6] in _LONG_VRS
        (length,) = struct.unpack_from("<I" if long else "<H", head, offset + (8 if long else 6))
        start = offset + (12 if long else 8)
        if head[offset + 2 : offset + 4] == b"\x10\x00":
            deflated = head[start : start + length].rstrip(b"\0 ") == DEFLATED.encode("ascii")
        offset = start + length
    return offset if deflated else None


def _inflate(stream: IO[bytes]) -> bytes:
    """The bytes of a deflated data set, as far as the stream goes."""
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), MAX_INFLATED_BYTES + 1)
    if len(inflated) > MAX_INFLATED_BYTES:
        raise ScanError("the deflated data set is larger than 1 GiB.", code="dicom-too-large")
    return inflated


def _pixel_element(stream: IO[bytes], implicit: bool, big_endian: bool) -> PixelElement | None:
    start, endian = stream.tell(), ">" if big_endian else "<"
    head = stream.read(12)
    if len(head) < 12 or struct.unpack_from(f"{endian}HH", head) != _PIXEL_DATA:
        return None
    if implicit:
        offset, (length,) = start + 8, struct.unpack_from(f"{endian}I", head, 4)
    elif head[4:6] in _LONG_VRS:
        offset, (length,) = start + 12, struct.unpack_from(f"{endian}I", head, 8)
    else:
        return None
    words = implicit or head[4:6] == b"OW"
    return PixelElement(offset, None if length == UNDEFINED_LENGTH else length, big_endian, words)


def raw(elements: Elements | None, tag: int) -> Any:
    """An element's value: bytes as stored, or what pydicom made of it; None where absent or empty."""
    element = None if elements is None else elements.get(tag)
    if element is None:
        return None
    value = element.value
    return None if value is None or (isinstance(value, bytes | str) and not value) else value


def texts(elements: Elements | None, tag: int) -> tuple[str, ...]:
    """The strings of an element, trimmed."""
    value = raw(elements, tag)
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    parts = value.split("\\") if isinstance(value, str) else [str(part) for part in _listed(value)]
    return tuple(part.strip(" \0\t\r\n") for part in parts)


def text(elements: Elements | None, tag: int) -> str | None:
    """The first string of an element, or None where it is empty."""
    parts = texts(elements, tag)
    return parts[0] if parts and parts[0] else None


def numbers(elements: Elements | None, tag: int) -> tuple[float, ...] | None:
    """The finite numbers of an element with a decimal-string or floating-point value, or None."""
    value = raw(elements, tag)
    if value is None:
        return None
    try:
        if isinstance(value, bytes) and _vr(elements, tag) in ("FD", "FL"):
            kind = _endian(elements, tag) + ("d" if _vr(elements, tag) == "FD" else "f")
            found = tuple(float(v[0]) for v in struct.iter_unpack(kind, value))
        elif isinstance(value, bytes | str):
            found = tuple(float(part) for part in texts(elements, tag))
        else:
            found = tuple(float(part) for part in _listed(value))
    except (ValueError, TypeError, struct.error, OverflowError):
        return None
    return found if found and all(math.isfinite(v) for v in found) else None


def number(elements: Elements | None, tag: int) -> float | None:
    """The first number of an element, or None."""
    found = numbers(elements, tag)
    return found[0] if found else None


def integer(elements: Elements | None, tag: int) -> int | None:
    """The first whole number of an element that is binary (US, SS, UL, SL) or an integer string, or None.

    Two bytes are read as unsigned whatever the VR says: the callers know what sign they mean.
    """
    value = raw(elements, tag)
    if value is None:
        return None
    try:
        if isinstance(value, bytes):
            if _vr(elements, tag) in ("IS", "DS"):
                return int(float(texts(elements, tag)[0]))
            size = "I" if _vr(elements, tag) in ("UL", "SL") else "H"
            return int(struct.unpack_from(_endian(elements, tag) + size, value)[0])
        return int(_listed(value)[0])
    except (ValueError, TypeError, struct.error, OverflowError, IndexError):
        return None


def items(elements: Elements | None, tag: int) -> list[Elements]:
    """The items of a sequence; empty where it is absent or no sequence."""
    return [] if elements is None else elements.items_of(tag)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]


def _vr(elements: Elements | None, tag: int) -> str:
    """The element's VR; the dictionary's where the file gives none or UN."""
    element = elements.get(tag) if elements is not None else None
    given = str(element.VR) if element is not None and element.VR else "UN"
    if given != "UN":
        return given
    return _dictionary_vr(tag)


@cache
def _dictionary_vr(tag: int) -> str:
    try:
        return str(pydicom.datadict.dictionary_VR(tag))
    except KeyError:
        return "UN"


def _endian(elements: Elements | None, tag: int) -> str:
    element = elements.get(tag) if elements is not None else None
    little = element.is_little_endian if isinstance(element, RawDataElement) else True
    return "<" if little else ">"
