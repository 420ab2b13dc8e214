"""What an archive says of an instance that it was given (STOW-RS, PS3.18 section 10.5)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

_FAILED, _DONE, _INSTANCE, _FAILURE, _WARNING = "00081198", "00081199", "00081155", "00081197", "00081196"
_DUPLICATE = 0x0111
# PS3.18 table I.2-2 and PS3.7 annex C.
_REASONS = {
    0x0110: "processing failure",
    _DUPLICATE: "an instance with this UID is there already",
    0x0117: "invalid UID of the instance",
    0x0122: "objects of this SOP class are not taken",
    0x0124: "we are not allowed to store",
    0x0131: "its data disagree with what the archive holds of the study",
    0xA770: "class and meta header disagree",
    0xA773: "it is larger than the archive takes",
    0xC122: "its transfer syntax is not taken",
    0xC409: "an instance with this UID and other content is there already",
}
_RANGES = {0xA7: "out of resources", 0xA9: "the object does not fit its SOP class", 0xC0: "not understood"}


@dataclass(frozen=True)
class Stored:
    """`reason`: why it was refused, None if it was taken. `duplicate`: because one of that UID is there. `changed`: the
    archive says that it altered or doubts the object."""

    reason: str | None = None
    duplicate: bool = False
    changed: bool = False


def read_answer(status: int, body: bytes, instance: str) -> Stored | None:
    """The fate of `instance`; None where the answer is not about it but about the request."""
    said = _json(body)
    failed = _item(said, _FAILED, instance)
    if failed is not None:
        code = _number(failed, _FAILURE)
        return Stored(_reason(code), duplicate=code in (_DUPLICATE, 0xC409))
    if status in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT):
        done = _item(said, _DONE, instance)
        return Stored(changed=done is not None and _number(done, _WARNING) is not None)
    if status == HTTPStatus.CONFLICT:
        return Stored("conflict, without a reason given", duplicate=True)
    return None


def _json(body: bytes) -> dict[str, object]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    said = said[0] if isinstance(said, list) and said else said
    return said if isinstance(said, dict) else {}


def _values(attributes: dict[str, object], tag: str) -> list[object]:
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def _item(said: dict[str, object], sequence: str, instance: str) -> dict[str, object] | None:
    """The item of a sequence that is about `instance`, or about none by name: we send one at a time."""
    for item in _values(said, sequence):
        if isinstance(item, dict) and _values(item, _INSTANCE) in ([instance], []):
            return item
    return None


def _number(item: dict[str, object], tag: str) -> int | None:
    values = _values(item, tag)
    return values[0] if values and isinstance(values[0], int) else None


def _reason(code: int | None) -> str:
    if code is None:
        return "without a reason given"
    known = (
        _REASONS.get(code) or _RANGES.get(code >> 8) or ("not understood" if code >> 12 == 0xC else "unknown")
    )
    return f"{known} (failure reason {code:04X})"
