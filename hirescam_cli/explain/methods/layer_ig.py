"""Layer integrated gradients: how far the activation is from a blank volume's, times the mean gradient on the way.

Sundararajan et al., "Axiomatic attribution for deep networks" (arXiv 1703.01365), at a layer, summed over channels. The
blank volume is air. The map's sum is the logit less the blank volume's, for any head, as far as the mean is exact.
"""

from __future__ import annotations

from hirescam_cli.explain.method import PathMethod
from hirescam_cli.explain.methods import hirescam

METHOD = PathMethod(
    name="layer-ig",
    title="Layer integrated gradients",
    formula="sum over channels of the activation's difference from a blank volume's times the mean gradient on the way",
    maps=hirescam.maps,
    linear=hirescam.linear,
)
