"""Telling hirescam's own results in a study: they are not scans, and pulling them would feed a run with itself."""

from __future__ import annotations

from hirescam_cli.pacs.archive import Attributes, text

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Parametric map, secondary captures, structured reports, segmentations: what the dicom formats write.
CLASSES = frozenset(
    _STORAGE + end
    for end in ("30", "7", "7.1", "7.2", "7.3", "7.4", "88.22", "88.33", "88.34", "66.4", "66.7")
)
MODALITIES = frozenset(("OT", "SR", "SEG", "SC"))
_MANUFACTURER, _CONTRIBUTING = "00080070", "0018A001"
_NAME = "hirescam"


def may_be_ours(modality: str, sop_class: str) -> bool:
    """Whether a series could be a result of ours: only then its equipment is worth a request. "" is not known."""
    return (not sop_class or sop_class in CLASSES) and (not modality or modality in MODALITIES)


def is_ours(metadata: Attributes) -> bool:
    """Whether hirescam made an instance, by its manufacturer or its contributing equipment."""
    element = metadata.get(_CONTRIBUTING)
    items = element.get("Value") if isinstance(element, dict) else None
    equipment = [metadata, *(item for item in items or [] if isinstance(item, dict))]
    return any(text(one, _MANUFACTURER).strip().casefold() == _NAME for one in equipment)
