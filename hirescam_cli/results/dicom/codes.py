"""Coded concepts: DICOM's own where there are, else those of a private scheme that says so.

DICOM has codes for class activation maps (PS3.16 CID 7180), none for a logit, the parts of it, or a certificate.
"""

from __future__ import annotations

import hashlib

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from hirescam_cli.case.record import Label

PRIVATE_SCHEME = "99HIRESCAM"
_MEANING_CHARACTERS, _CODE_CHARACTERS = 64, 16

_CLASS_ACTIVATION = CodedConcept("130402", "DCM", "Class activation")
_GRADIENT_WEIGHTED = CodedConcept("130403", "DCM", "Gradient-weighted class activation")
_SALIENCY = CodedConcept("130404", "DCM", "Saliency")

_METHODS = {
    "hirescam": _GRADIENT_WEIGHTED,
    "gradcam": _GRADIENT_WEIGHTED,
    "xgradcam": _GRADIENT_WEIGHTED,
    "layercam": _GRADIENT_WEIGHTED,
    "cam": _CLASS_ACTIVATION,
    "ablation-cam": _CLASS_ACTIVATION,
}

NO_UNITS = CodedConcept("1", "UCUM", "no units")
MILLIMETRE = codes.UCUM.Millimeter
PROBABILITY = CodedConcept("122157", "DCM", "Probability")
ARTIFICIAL_INTELLIGENCE = CodedConcept("123110", "DCM", "Artificial Intelligence")
PROCESSING_EQUIPMENT = CodedConcept("109102", "DCM", "Processing Equipment")
ABNORMAL_STRUCTURE = CodedConcept("49755003", "SCT", "Morphologically Altered Structure")


def _private(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, PRIVATE_SCHEME, meaning)


LOGIT = _private("LOGIT", "Logit")
THRESHOLD = _private("THRESHOLD", "Probability from which the label is positive")
MAP_PART = _private("MAPPART", "Part of the logit that the map accounts for")
BIAS_PART = _private("BIASPART", "Part of the logit that biases account for")
RESIDUAL = _private("RESIDUAL", "Relative difference of map and bias parts to the logit")
PEAK = _private("PEAK", "Largest cell of the map")
COMPLETE = _private("COMPLETE", "They do: the map is complete")
NOT_COMPLETE = _private("NOTCOMPLETE", "They do not: the map is not complete")
DECISION = _private("DECISION", "Answer of the model at its threshold")
POSITIVE = _private("POSITIVE", "Positive")
NEGATIVE = _private("NEGATIVE", "Negative")


def of_method(name: str) -> CodedConcept:
    """What a method's maps are; saliency, the widest of the three concepts, for those of other packages."""
    return _METHODS.get(name, _SALIENCY)


def certificate_of(method: str, title: str) -> CodedConcept:
    """The question whether a method's map and bias parts make the logit."""
    name = "".join(c for c in method if c.isascii() and c.isalnum()).upper()
    if len(name) > _CODE_CHARACTERS - len("CERT"):
        name = hashlib.sha256(method.encode()).hexdigest()[: _CODE_CHARACTERS - len("CERT")].upper()
    return _private(
        f"CERT{name}", plain(f"{title}: whether map and bias parts make the logit", _MEANING_CHARACTERS)
    )


def of_label(label: Label) -> CodedConcept:
    """The code that the model file gives a label; else a private one made of its name."""
    if label.code is not None:
        return CodedConcept(label.code.value, label.code.scheme, label.code.meaning)
    digest = hashlib.sha256(label.name.encode()).hexdigest()[:12].upper()
    return _private(f"LBL{digest}", plain(label.name, _MEANING_CHARACTERS))


def private_scheme() -> CodingSchemeIdentificationItem:
    """What tells readers where the private codes come from."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME,
        name="Private codes of hirescam",
        responsible_organization="hirescam",
    )


def plain(text: str, limit: int) -> str:
    """`text` as an element of one value may hold it: no backslash, no control characters, shorter than `limit`.

    Elements are padded to an even number of bytes, and some readers count the blank.
    """
    cleaned = "".join("/" if c == "\\" else c if c.isprintable() else " " for c in text).strip()
    return cleaned if len(cleaned) < limit else cleaned[: limit - 2].rstrip() + "…"
