"""Reading DICOM elements as raw bytes: what a data set holds, without pydicom's opinions and messages.

pydicom warns and logs with the contents of tags, which may identify a patient; `quiet` silences it. The
values that hirescam needs are few and simple, so they are parsed here from their bytes, with None for what is
absent or makes no sense. A value representation that a file gives wrongly (UN, or none) changes nothing.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import gdcm
import pydicom
from pydicom import config
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from hirescam_cli.errors import ScanError

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
MAX_INFLATED_BYTES = 1 << 30
UNDEFINED_LENGTH = 0xFFFFFFFF

_META_BYTES = 1 << 14
_PIXEL_DATA = (0x7FE0, 0x0010)
_LONG_VRS = frozenset((b"OB", b"OW", b"UN", b"OD", b"OF", b"OL", b"OV"))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom and GDCM from writing tag contents to stderr, the log or as Python warnings."""
    logger = logging.getLogger("pydicom")
    disabled, mode = logger.disabled, config.settings.reading_validation_mode
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    gdcm.Trace.DebugOff()
    logger.disabled = True
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled
        config.settings.reading_validation_mode = mode


@dataclass(frozen=True)
class PixelElement:
    """Where Pixel Data lie: `offset` of the value in `Parsed.stream`, its `length` (None: encapsulated)."""

    offset: int
    length: int | None


@dataclass(frozen=True)
class Parsed:
    """A parsed file: the elements before its pixels, its (inflated) bytes, their size, where pixels are."""

    dataset: Dataset
    stream: IO[bytes]
    size: int
    transfer_syntax: str | None
    big_endian: bool
    pixels: PixelElement | None


def parse(stream: IO[bytes], tags: Sequence[int]) -> Parsed:
    """Parse the elements `tags` of a DICOM file, a seekable stream at its beginning, up to its pixels.

    The stream may hold only the beginning of a file: `pixels` is None where they were not reached. Call it
    within `quiet`. Raises ScanError "dicom-broken", without naming the file, for bytes that make no data set.
    """
    try:
        deflated_from = _deflated_from(stream.read(_META_BYTES))
        if deflated_from is not None:
            stream.seek(deflated_from)
            stream = io.BytesIO(_inflate(stream))
        stream.seek(0)
        dataset = _read(stream, tags)
        meta = getattr(dataset, "file_meta", None)
        syntax = text(meta, 0x00020010) if deflated_from is None else DEFLATED
        implicit, little = dataset.original_encoding
        big_endian = syntax == BIG_ENDIAN or (syntax is None and little is False)
        pixels = _pixel_element(stream, bool(implicit), ">" if big_endian else "<")
        size = stream.seek(0, io.SEEK_END)
    except ScanError:
        raise
    except Exception as error:
        # pydicom answers damaged files with nearly any exception: KeyError, struct.error, RecursionError, ...
        raise ScanError(
            "the DICOM elements are damaged.", code="dicom-broken", hint="Fetch the file again."
        ) from error
    return Parsed(dataset, stream, size, syntax, big_endian, pixels)


def _read(stream: IO[bytes], tags: Sequence[int]) -> Dataset:
    return pydicom.dcmread(
        stream, stop_before_pixels=True, force=True, specific_tags=[Tag(tag) for tag in tags]
    )


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


def _pixel_element(stream: IO[bytes], implicit: bool, endian: str) -> PixelElement | None:
    start = stream.tell()
    head = stream.read(12)
    if len(head) < 12 or struct.unpack_from(f"{endian}HH", head) != _PIXEL_DATA:
        return None
    if implicit:
        offset, (length,) = start + 8, struct.unpack_from(f"{endian}I", head, 4)
    elif head[4:6] in _LONG_VRS:
        offset, (length,) = start + 12, struct.unpack_from(f"{endian}I", head, 8)
    else:
        return None
    return PixelElement(offset, None if length == UNDEFINED_LENGTH else length)


def raw(dataset: Dataset | None, tag: int) -> Any:
    """An element's value: bytes as stored, or what pydicom made of it; None where absent or empty."""
    if dataset is None or tag not in dataset:
        return None
    try:
        value = dataset.get_item(tag).value
    except Exception:  # a deferred or damaged element counts as absent
        return None
    return None if value is None or (isinstance(value, bytes | str) and not value) else value


def texts(dataset: Dataset | None, tag: int) -> tuple[str, ...]:
    """The strings of an element, trimmed."""
    value = raw(dataset, tag)
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    parts = value.split("\\") if isinstance(value, str) else [str(part) for part in _listed(value)]
    return tuple(part.strip(" \0\t\r\n") for part in parts)


def text(dataset: Dataset | None, tag: int) -> str | None:
    """The first string of an element, or None where it is empty."""
    parts = texts(dataset, tag)
    return parts[0] if parts and parts[0] else None


def numbers(dataset: Dataset | None, tag: int) -> tuple[float, ...] | None:
    """The finite numbers of an element with a decimal-string or floating-point value, or None."""
    value = raw(dataset, tag)
    if value is None:
        return None
    try:
        if isinstance(value, bytes) and _vr(dataset, tag) in ("FD", "FL"):
            kind = _endian(dataset, tag) + ("d" if _vr(dataset, tag) == "FD" else "f")
            found = tuple(float(v[0]) for v in struct.iter_unpack(kind, value))
        elif isinstance(value, bytes | str):
            found = tuple(float(part) for part in texts(dataset, tag))
        else:
            found = tuple(float(part) for part in _listed(value))
    except (ValueError, TypeError, struct.error, OverflowError):
        return None
    return found if found and all(math.isfinite(v) for v in found) else None


def number(dataset: Dataset | None, tag: int) -> float | None:
    """The first number of an element, or None."""
    found = numbers(dataset, tag)
    return found[0] if found else None


def integer(dataset: Dataset | None, tag: int) -> int | None:
    """The first whole number of an element that is binary (US, SS, UL, SL) or an integer string, or None.

    Two bytes are read as unsigned whatever the VR says: the callers know what sign they mean.
    """
    value = raw(dataset, tag)
    if value is None:
        return None
    try:
        if isinstance(value, bytes):
            if _vr(dataset, tag) in ("IS", "DS"):
                return int(float(texts(dataset, tag)[0]))
            size = "I" if _vr(dataset, tag) in ("UL", "SL") else "H"
            return int(struct.unpack_from(_endian(dataset, tag) + size, value)[0])
        return int(_listed(value)[0])
    except (ValueError, TypeError, struct.error, OverflowError, IndexError):
        return None


def items(dataset: Dataset | None, tag: int) -> list[Dataset]:
    """The items of a sequence; empty where it is absent or no sequence."""
    if dataset is None or tag not in dataset:
        return []
    try:
        value = dataset[tag].value
    except Exception:  # a damaged sequence counts as absent
        return []
    return [item for item in value if isinstance(item, Dataset)] if isinstance(value, Sequence) else []


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]


def _vr(dataset: Dataset | None, tag: int) -> str:
    """The element's VR; the dictionary's where the file gives none or UN."""
    element = dataset.get_item(tag) if dataset is not None else None
    given = str(element.VR) if element is not None and element.VR else "UN"
    if given != "UN":
        return given
    try:
        return str(pydicom.datadict.dictionary_VR(tag))
    except KeyError:
        return "UN"


def _endian(dataset: Dataset | None, tag: int) -> str:
    element = dataset.get_item(tag) if dataset is not None else None
    little = element.is_little_endian if isinstance(element, RawDataElement) else True
    return "<" if little else ">"
