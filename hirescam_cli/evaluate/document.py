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
    return (json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


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
