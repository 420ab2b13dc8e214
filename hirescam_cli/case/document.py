"""summary.json: the record of a case as JSON and back, and the JSON Schema that is made from the record."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec

from hirescam_cli.case.record import SCHEMA_VERSION, AnyCase


def plain(record: object) -> object:
    """A record as plain data: dictionaries, lists, numbers, strings."""
    return _with_lists(msgspec.to_builtins(record))


def _with_lists(value: object) -> object:
    """Plain data whose tuples are lists, as a reader of the JSON gets them."""
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, list | tuple) else value


def dump(record: AnyCase) -> bytes:
    """summary.json as UTF-8; raises ValueError for NaN or infinity."""
    return (json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def load(data: bytes) -> AnyCase:
    """The record that summary.json holds; ValueError for anything else, other versions of it included."""
    found: AnyCase = msgspec.json.decode(data, type=AnyCase)
    return found


def version_of(data: bytes) -> int | None:
    """The schema version of a summary.json of any version; None for other files."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, Mapping) or not all(key in found for key in ("case", "status")):
        return None
    version = found.get("schema_version")
    return version if isinstance(version, int) else None


def schema() -> dict[str, object]:
    """The JSON Schema of summary.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hirescam:summary:{SCHEMA_VERSION}",
        "title": "summary.json of one hirescam case",
        **all_required(msgspec.json.schema(AnyCase)),
    }


def all_required(schema: dict[str, object]) -> dict[str, object]:
    """Every key is always written, those with a default too."""
    definitions = schema.get("$defs")
    assert isinstance(definitions, dict)
    for definition in definitions.values():
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    found = _with_lists(schema)
    assert isinstance(found, dict)
    return found
