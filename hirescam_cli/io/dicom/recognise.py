"""Whether bytes are DICOM, whatever the file is called."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO

from hirescam_cli.io.dicom.elements import UNDEFINED_LENGTH


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its bytes: with a preamble, or beginning with a run of plausible elements.

    Extensions play no part. False where the file cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            return looks_like_dicom(stream)
    except OSError:
        return False


def looks_like_dicom(stream: IO[bytes]) -> bool:
    """Whether a binary stream, read from its beginning, holds DICOM."""
    head = stream.read(512)
    return head[128:132] == b"DICM" or any(
        _plausible_elements(head, endian, explicit) for endian in "<>" for explicit in (True, False)
    )


def _plausible_elements(head: bytes, endian: str, explicit: bool) -> bool:
    """Whether bytes begin with ascending elements of group 2 or 8 with known VRs or short lengths."""
    offset, last, count = 0, 0, 0
    while offset + 12 <= len(head) and count < 4:
        group, element = struct.unpack_from(f"{endian}HH", head, offset)
        tag = group << 16 | element
        if tag <= last or group not in (0x0002, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028):
            return False
        if explicit:
            vr = head[offset + 4 : offset + 6]
            if not (vr.isalpha() and vr.isupper()):
                return False
            long = vr in (b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR")
            (length,) = struct.unpack_from(
                f"{endian}I" if long else f"{endian}H", head, offset + (8 if long else 6)
            )
            offset += 12 if long else 8
        else:
            (length,) = struct.unpack_from(f"{endian}I", head, offset + 4)
            offset += 8
        if length > 1 << 16 and length != UNDEFINED_LENGTH:
            return False
        if length == UNDEFINED_LENGTH:
            return count > 0
        offset, last, count = offset + length, tag, count + 1
    return count >= 2
