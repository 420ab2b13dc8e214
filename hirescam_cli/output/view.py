"""What pictures and pages are drawn from: one scan, its maps and its summary, in memory or from a finished case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine
from hirescam_cli.volume import Volume


@dataclass(frozen=True, eq=False)
class CaseView:
    """A case to look at.

    `volume`: the scan in HU. `summary`: the document of summary.json. `cams`: per method the signed maps
    [S, h, w, labels] in logit units, in the order of `summary["labels"]`. `affines_ras`: per placement ("stretch",
    "receptive-field") the map's cell index (s, y, x) to RAS mm; s runs to the feet, y to the back, x to the left.
    `window_hu`: the HU window that the network sees. The network saw exactly the box of the "stretch" cells.
    """

    volume: Volume
    summary: Mapping[str, Any]
    cams: Mapping[str, NDArray[np.float32]]
    affines_ras: Mapping[str, Affine]
    window_hu: tuple[float, float]

    @property
    def placement(self) -> str:
        """The placement that the case was explained under."""
        return str(self.summary["placement"])

    def label(self, name: str) -> Mapping[str, Any]:
        """The summary's entry of one label."""
        entry: Mapping[str, Any] = next(entry for entry in self.summary["labels"] if entry["name"] == name)
        return entry

    def map_of(self, method: str, name: str) -> NDArray[np.float32]:
        """The signed map [S, h, w] of one method and label."""
        return self.cams[method][..., int(self.label(name)["index"])]
