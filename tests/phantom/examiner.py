"""What the demonstration model says of a phantom, asked step by step: what commands say is compared with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.feed import Feed
from hirescam_cli.geometry import Grid
from hirescam_cli.model.load import LoadedModel
from hirescam_cli.phantom.generate import Phantom
from hirescam_cli.prepare import prepare

METHODS = ("hirescam", "gradcam")
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
