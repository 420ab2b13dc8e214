"""Whether a compressed frame is whole: codecs fill what is missing with anything, and few of them say so.

Formats: ISO/IEC 10918-1 annex B (JPEG) and ISO/IEC 15444-1 annex A (JPEG 2000, which 15444-15 shares).
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from pydicom.uid import JPEG2000TransferSyntaxes

_JPEG: Collection[str] = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
)
_JPEG_2000: Collection[str] = (
    *JPEG2000TransferSyntaxes,
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
)
_SCAN, _IMAGE_END = b"\xff\xda", b"\xff\xd9"
_CODESTREAM, _TILE_PART = b"\xff\x4f\xff\x51", b"\xff\x90"
_SHORTEST_TILE_PART = 14
# What the JPEG library prints where the entropy-coded data end too early, go on too long or make no sense.
_COMPLAINTS = (b"Corrupt JPEG data", b"Premature end of JPEG file")


class CodestreamError(ValueError):
    """A compressed frame that is not whole; the text completes the sentence "the codestream ..."."""


def is_jpeg(transfer_syntax: str) -> bool:
    """Whether the JPEG library decodes a transfer syntax: it only prints where data are damaged."""
    return transfer_syntax in _JPEG


def check_whole(encoded: bytes, transfer_syntax: str) -> None:
    """Raise CodestreamError where a frame of JPEG or JPEG 2000 lacks its end. Others are left to their decoders."""
    if is_jpeg(transfer_syntax):
        _check_jpeg(encoded)
    elif transfer_syntax in _JPEG_2000:
        _check_jpeg_2000(encoded)


def check_complaints(printed: bytes) -> None:
    """Raise CodestreamError where the JPEG library printed, while it decoded, that the data are damaged."""
    if any(complaint in printed for complaint in _COMPLAINTS):
        raise CodestreamError("does not hold all of the image")


def _check_jpeg(encoded: bytes) -> None:
    """After the last header of a scan there must be an EOI: no entropy-coded data look like one (B.1.1.5)."""
    if encoded.rfind(_IMAGE_END) < encoded.rfind(_SCAN):
        raise CodestreamError("has no end")


def _check_jpeg_2000(encoded: bytes) -> None:
    """Tile-parts must follow each other by their lengths Psot up to the EOC (A.4.2, A.4.4), maybe inside of a JP2."""
    start = encoded.find(_CODESTREAM)
    place = _first_tile_part(encoded, start + 2) if start >= 0 else len(encoded)
    while encoded[place : place + 2] == _TILE_PART and place + _SHORTEST_TILE_PART <= len(encoded):
        (length,) = struct.unpack_from(">I", encoded, place + 6)
        if length == 0:
            # The last one, as long as there are data.
            place = max(place, encoded.rfind(_IMAGE_END))
            break
        place += max(length, _SHORTEST_TILE_PART)
    if encoded[place : place + 2] != _IMAGE_END:
        raise CodestreamError("has no end")


def _first_tile_part(encoded: bytes, place: int) -> int:
    """Where the main header ends: its marker segments are gone through by their lengths."""
    while place + 4 <= len(encoded) and encoded[place : place + 2] != _TILE_PART:
        (length,) = struct.unpack_from(">H", encoded, place + 2)
        place += 2 + length
    return place
