"""SOP classes and modalities that hirescam knows, and whether they may be CT."""

from __future__ import annotations

STORAGE = "1.2.840.10008.5.1.4.1.1."
DIRECTORY = "1.2.840.10008.1.3.10"
CT_CLASSES = frozenset(STORAGE + ending for ending in ("2", "2.1", "2.2"))


def may_be_ct(sop_class: str | None, modality: str | None) -> bool:
    """Whether an object may hold CT slices: neither of the two says otherwise, where it is there."""
    return (sop_class is None or sop_class in CT_CLASSES) and (modality or "").upper() in ("", "CT")
