"""Warnings of a case that follow from its model, from how much of the scan it saw, and from its precision."""

from __future__ import annotations

from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline.records import RunFacts
from hirescam_cli.prepare import Coverage
from hirescam_cli.warning import Warning

_LITTLE_SEEN = 0.5
_NOTICED_DRIFT = 0.05
_NOTICED_DRIFT_OF_MAPS = 0.05


def model_warnings(spec: ModelSpec) -> list[Warning]:
    """What must be said whenever this model is used."""
    if not spec.demonstration:
        return []
    return [
        Warning(
            "demonstration-model",
            f"{spec.name} was trained on synthetic phantoms only and knows nothing of "
            "patients; use it to see how hirescam works, never to read a scan.",
        )
    ]


def drift_warnings(facts: RunFacts) -> list[Warning]:
    """Warning where the precision in effect moves the logits or the maps noticeably."""
    drift = facts.drift
    if drift is None or (drift.logits <= _NOTICED_DRIFT and drift.maps <= _NOTICED_DRIFT_OF_MAPS):
        return []
    return [
        Warning(
            "precision-drift",
            f"in {facts.precision} the logits of this model were off by up to "
            f"{drift.logits:.2g} and cells of its maps by {drift.maps:.1%} of the map's maximum on a test "
            "input; --precision fp32 is exact.",
        )
    ]


def case_warnings(spec: ModelSpec, coverage: Coverage) -> list[Warning]:
    """Warnings of a case that follow from the model and from how much of the scan it saw."""
    warnings = model_warnings(spec)
    if coverage.scan_seen_fraction < _LITTLE_SEEN:
        text = (
            f"the network saw {coverage.scan_seen_fraction:.0%} of the scan's voxels; the rest was cropped."
        )
        warnings.append(Warning("little-seen", text))
    if coverage.padding_fraction > _LITTLE_SEEN:
        text = f"{coverage.padding_fraction:.0%} of the network's input is padding."
        warnings.append(Warning("much-padding", text))
    return warnings
