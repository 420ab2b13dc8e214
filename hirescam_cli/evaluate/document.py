"""evaluation.json: the record of an evaluation as JSON and back, and the JSON Schema that is made from the record."""

from __future__ import annotations

import json

import msgspec

from hirescam_cli.case.document import all_required, plain
from hirescam_cli.evaluate.record import SCHEMA_VERSION, Evaluation


def as_document(record: Evaluation) -> dict[str, object]:
    """The record as plain data."""
    found = plain(record)
    assert isinstance(found, dict)
    return found


def dump(record: Evaluation) -> bytes:
    """evaluation.json as UTF-8; raises ValueError for NaN or infinity."""
    # Laid out by msgspec: json's own indentation takes ten times as long, and a large evaluation has a million lines.
    text = json.dumps(msgspec.to_builtins(record), ensure_ascii=False, allow_nan=False)
    return msgspec.json.format(text.encode(), indent=1) + b"\n"


def load(data: bytes) -> Evaluation:
    """The record that evaluation.json holds; ValueError for anything else."""
    return msgspec.json.decode(data, type=Evaluation)


def schema() -> dict[str, object]:
    """The JSON Schema of evaluation.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hirescam:evaluation:{SCHEMA_VERSION}",
        "title": "evaluation.json of hirescam evaluate",
        **all_required(msgspec.json.schema(Evaluation)),
    }
