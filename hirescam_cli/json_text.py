"""JSON as text for a stream: letters as they are where its encoding holds them, else as JSON's escapes."""

from __future__ import annotations

import json


def json_text(value: object, encoding: str | None, indent: int | None = None) -> str:
    """`value` as JSON that `encoding` (None: UTF-8) can write, whole whatever names stand in it.

    Bytes of a path that are no text are escaped too. Raises ValueError for NaN.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, indent=indent)
    return text
