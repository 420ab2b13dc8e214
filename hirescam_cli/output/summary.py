"""summary.json: the document of one case, built from plain values; its JSON Schema lies beside this module.

Units are millimetres, Hounsfield units, logit units, MiB and seconds; unknown values are null, never NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from hirescam_cli.errors import HirescamError
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.options import Identifiers, told_uid
from hirescam_cli.output import evidence
from hirescam_cli.volume import Volume

SCHEMA_VERSION = 1
FILE_NAME = "summary.json"


def schema() -> dict[str, Any]:
    """The JSON Schema of summary.json."""
    text = resources.files("hirescam_cli.output").joinpath("summary.schema.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def dump(document: Mapping[str, Any]) -> bytes:
    """The document as UTF-8 JSON; raises ValueError for NaN or infinity."""
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write(folder: Path, document: Mapping[str, Any]) -> None:
    """Write summary.json into a case folder."""
    (folder / FILE_NAME).write_bytes(dump(document))


def input_section(volume: Volume, identifiers: Identifiers, number: int = 0) -> dict[str, Any]:
    """`input`: what was read; `number`: which volume, where the input holds several.

    The series UID is left out unless it is valid and may be told.
    """
    i, j, k = volume.array_ijk.shape
    return {
        "kind": volume.provenance.kind,
        "fingerprint": volume.provenance.fingerprint,
        "volume": number,
        "shape": [int(i), int(j), int(k)],
        "spacing_mm": list(volume.spacing_mm),
        "affine": matrix(volume.affine_ras),
        "orientation": volume.orientation,
        "series_uid": told_uid(volume.provenance.series_uid, identifiers),
        "hu_min": float(volume.array_ijk.min()),
        "hu_max": float(volume.array_ijk.max()),
    }


def model_section(spec: ModelSpec, weights_sha256: str | None) -> dict[str, Any]:
    """`model`: which network answered."""
    return {
        "name": spec.name,
        "architecture": spec.architecture,
        "weights_sha256": weights_sha256,
        "labels": len(spec.labels),
        "demonstration": spec.demonstration,
    }


def matrix(affine: Affine) -> list[list[float]]:
    """A 4x4 matrix as JSON."""
    return [[float(value) for value in row] for row in np.asarray(affine)]


def label_entries(
    explanation: Explanation,
    spec: ModelSpec,
    *,
    threshold: float | None,
    map_affine_ras: Affine,
    scan: Grid,
    padding: np.ndarray[Any, np.dtype[np.float64]],
) -> list[dict[str, Any]]:
    """`labels`: every label of the model with its logit, scores and the evidence of its maps.

    File names are entered later. `map_affine_ras`: cell (s, y, x) to RAS mm; `padding` [S, h, w]: share of
    each cell that is padding.
    """
    entries = []
    probabilities = explanation.probabilities
    methods = list(explanation.cams)
    for index, name in enumerate(spec.labels):
        limit = spec.thresholds[index] if threshold is None else threshold
        logit, bias = float(explanation.logits[index]), float(explanation.biases[index])
        maps = {}
        for method in methods:
            cam = explanation.cams[method][index]
            maps[method] = {
                **evidence.certificate(cam, bias, logit),
                "padding_share": evidence.padding_share(cam, padding),
                "peak": evidence.peak(cam, map_affine_ras, scan),
                "overlay": None,
                "picture": None,
            }
        pair = [explanation.cams[method][index] for method in methods[:2]]
        entries.append(
            {
                "name": name,
                "index": index,
                "logit": logit,
                "probability": float(probabilities[index]),
                "threshold": limit,
                "positive": bool(probabilities[index] >= limit),
                "slice_scores": [float(value) for value in explanation.slice_scores[index]],
                "maps": maps,
                "agreement": evidence.agreement(pair[0], pair[1], map_affine_ras) if len(pair) == 2 else None,
            }
        )
    return entries


def failure_document(
    case: str, started: str, error: HirescamError, *, model: Mapping[str, Any], run: Mapping[str, Any]
) -> dict[str, Any]:
    """The summary of a case that failed: what is known, and why."""
    return {
        "schema_version": SCHEMA_VERSION,
        "status": "failed",
        "case": case,
        "started": started,
        "error": {"code": error.code, "stage": error.stage, "message": error.message, "hint": error.hint},
        "warnings": [],
        "input": None,
        "model": dict(model),
        "run": dict(run),
        "coverage": None,
        "placement": None,
        "target_layer": None,
        "affines_ras": None,
        "network": None,
        "labels": [],
        "outputs": [],
    }
