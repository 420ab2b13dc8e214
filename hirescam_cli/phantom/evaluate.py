"""How good the demonstration model is, on phantoms that it has never seen.

    python -m hirescam_cli.phantom.evaluate [--scans N] [--json FILE]

The same figures, and more of them, come from `hirescam phantom`, `explain` and `evaluate`; here nothing is written.

Phantoms of fresh seeds, at varied spacings and in all orientations, take the way of a user's scan: preparation,
network, maps. Per label: AUROC, sensitivity and specificity at the model's threshold; and over the true positives,
how often the centre of the map's highest cell ("stretch" placement) lies in the abnormality or within 20 mm of it, for
each method, and how often a cell chosen blindly would.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.evaluate.ranking import auroc
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.feed import Feed
from hirescam_cli.geometry import Grid
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.model.load import LoadedModel, load_model
from hirescam_cli.model.spec import load_spec
from hirescam_cli.phantom.data import varied_phantom
from hirescam_cli.phantom.generate import Phantom
from hirescam_cli.prepare import prepare

METHODS = ("hirescam", "gradcam")
HELDOUT_SEED, HELDOUT_SCANS = 900_000, 140
NEAR_MM = 20.0


@dataclass(frozen=True, eq=False)
class Outcome:
    """One held-out scan: `logits` and `present` [labels]; `distance_mm` by method [labels], from the peak cell's centre
    to the abnormality, and `blind` [labels], the share of all cells that are near it (NaN where it is absent)."""

    logits: NDArray[np.float64]
    present: NDArray[np.bool_]
    distance_mm: dict[str, NDArray[np.float64]]
    blind: NDArray[np.float64]


class Examiner:
    """A loaded model and its engine."""

    def __init__(self, model: LoadedModel) -> None:
        spec = model.spec
        self.model = model
        feed = Feed.of(spec.preparation, model.network.inputs)
        self.engine = Engine(model.network, feed, target_layer=model.target_layer, at=spec.at)

    def outcome(self, phantom: Phantom) -> Outcome:
        """What the model says of one phantom, and how far from the truth its maps point."""
        spec, feed = self.model.spec, self.engine.feed
        prepared = prepare(phantom.volume, spec.preparation)
        positions = feed.positions(prepared.array_ijk)
        answer = self.engine.explain(positions, prepared.padding_groups(feed.slab), METHODS)
        layer, shape = self.model.target_layer, prepared.grid.shape
        cell_affine = self.model.map_affines(layer, answer.cells, shape, prepared.affine_ras)["stretch"]
        labels = len(spec.labels)
        distances = {method: np.full(labels, np.nan) for method in METHODS}
        blind = np.full(labels, np.nan)
        for n, label in enumerate(spec.labels):
            if label not in phantom.findings:
                continue
            cams = {method: answer.cams[method][n] for method in METHODS}
            i, j, k = cams["hirescam"].shape
            mask = MaskOnCells(phantom.masks[label], phantom.volume.affine_ras, Grid((i, j, k), cell_affine))
            for method, cam in cams.items():
                distances[method][n] = mask.distances_mm[np.unravel_index(int(cam.argmax()), cam.shape)]
            blind[n] = float((mask.distances_mm <= NEAR_MM).mean())
        present = np.array([label in phantom.findings for label in spec.labels])
        return Outcome(answer.logits, present, distances, blind)


def summarise(model: LoadedModel, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Figures per label, ready for JSON."""
    spec = model.spec
    logits = np.array([o.logits for o in outcomes])
    present = np.array([o.present for o in outcomes])
    probability = 0.5 * (1.0 + np.tanh(0.5 * logits))
    rows: list[dict[str, Any]] = []
    for n, label in enumerate(spec.labels):
        truth, called = present[:, n], probability[:, n] >= spec.thresholds[n]
        hits = truth & called
        row: dict[str, Any] = {
            "label": label,
            "present": int(truth.sum()),
            "auroc": _rounded(auroc(logits[:, n], truth)),
            "sensitivity": _rounded(float(called[truth].mean()) if truth.any() else None),
            "specificity": _rounded(float((~called[~truth]).mean()) if not truth.all() else None),
            "true_positives": int(hits.sum()),
            "blind_near": _rounded(_mean(np.array([o.blind[n] for o in outcomes])[hits])),
        }
        for method in METHODS:
            distance = np.array([o.distance_mm[method][n] for o in outcomes])[hits]
            row[method] = {
                "peak_near": _rounded(_mean(distance <= NEAR_MM)),
                "median_distance_mm": _rounded(float(np.median(distance)) if distance.size else None),
            }
        rows.append(row)
    return rows


def _mean(values: Voxels) -> float | None:
    return float(values.mean()) if values.size else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


_examiner: Examiner | None = None


def _start(model_name: str) -> None:
    global _examiner
    torch.set_num_threads(1)
    _examiner = Examiner(load_model(load_spec(model_name)))


def _examine(seed: int) -> Outcome:
    assert _examiner is not None
    return _examiner.outcome(varied_phantom(seed))


def evaluate(model_name: str, first_seed: int, scans: int, workers: int) -> dict[str, Any]:
    """Held-out figures of a model over phantoms `first_seed` .. `first_seed + scans - 1`, ready for JSON."""
    model = load_model(load_spec(model_name))
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(model_name,)) as pool:
        outcomes = list(pool.map(_examine, range(first_seed, first_seed + scans)))
    return {
        "model": model.spec.name,
        "weights_sha256": model.weights_sha256,
        "first_seed": first_seed,
        "scans": scans,
        "near_mm": NEAR_MM,
        "labels": summarise(model, outcomes),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """What the model knows, as a Markdown table; where its maps point is for `hirescam evaluate` to say."""
    lines = ["| label | scans with it | AUROC | sensitivity | specificity |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [row["label"], str(row["present"])]
        cells += [_cell(row["auroc"], "{:.3f}")]
        cells += [_cell(row[key], "{:.0%}") for key in ("sensitivity", "specificity")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hirescam_cli.phantom.evaluate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", default="demo", help="embedded model, or a .toml file")
    parser.add_argument("--first-seed", type=int, default=HELDOUT_SEED)
    parser.add_argument("--scans", type=int, default=HELDOUT_SCANS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    result = evaluate(args.model, args.first_seed, args.scans, args.workers)
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(table(result["labels"]))


if __name__ == "__main__":
    main()
