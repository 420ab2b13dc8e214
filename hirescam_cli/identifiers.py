"""What may be told of DICOM identifiers."""

from __future__ import annotations

import re
from typing import Literal

Identifiers = Literal["none", "uids"]
UID = re.compile(r"[0-9]+(\.[0-9]+)*")
MAX_UID = 64


def is_uid(text: str | None) -> bool:
    """Whether `text` is a valid DICOM UID: numbers joined by dots, at most 64 characters."""
    return text is not None and len(text) <= MAX_UID and UID.fullmatch(text) is not None


def told_uid(series_uid: str | None, identifiers: Identifiers) -> str | None:
    """What may be told of a SeriesInstanceUID: a valid one with identifiers "uids", else nothing."""
    return series_uid if identifiers == "uids" and is_uid(series_uid) else None
