"""The ledger of a logit: bias + the sum over regions + outside + padding (+ residual) = logit.

A cell that a region fills by the share f gives it f of its evidence. What the scan holds besides the regions is
"outside", what lies beyond the scan is "padding". The residual is what the method's map leaves unexplained: nothing but
rounding where its certificate is complete, and part of the logit for Grad-CAM.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ledger(
    h: Floats, bias: float, logit: float, regions: Mapping[str, Floats], on_scan: Floats
) -> dict[str, float]:
    """The logit in parts, which add up to it.

    `h` [cells]: the signed map; `regions`: the share of each cell that a region fills, regions being disjoint;
    `on_scan`: the share of each cell that lies in the scan.
    """
    parts = {"bias": bias}
    inside = np.zeros(h.shape)
    for name, share in regions.items():
        parts[name] = float((h * share).sum())
        inside = inside + share
    parts["outside"] = float((h * (on_scan - inside)).sum())
    parts["padding"] = float((h * (1.0 - on_scan)).sum())
    parts["residual"] = logit - sum(parts.values())
    return parts
