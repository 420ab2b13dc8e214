"""Which DICOM instances are slices of a CT volume, and why the others are not."""

from __future__ import annotations

from hirescam_cli.io.dicom.headers import Header
from hirescam_cli.io.dicom.sop_classes import CT_CLASSES, DIRECTORY, STORAGE
from hirescam_cli.io.scan import Ignored

# SOP classes by their beginnings, the longer before the shorter: code and what the object is.
_OTHER_CLASSES = (
    (DIRECTORY, "dicomdir", "a DICOMDIR, which is not needed"),
    (STORAGE + "7", "secondary-capture", "a secondary capture"),
    (STORAGE + "88.67", "dose-report", "a radiation dose report"),
    (STORAGE + "88", "not-an-image", "a structured report"),
    (STORAGE + "481", "rt-object", "a radiotherapy object"),
    (STORAGE + "66", "segmentation", "a segmentation or registration object"),
    (STORAGE + "11", "not-an-image", "a presentation state"),
    (STORAGE + "30", "parametric-map", "a parametric map"),
    (STORAGE + "104", "not-an-image", "an encapsulated document"),
)
_OTHER_MODALITIES = {
    "SR": ("not-an-image", "a structured report"),
    "SEG": ("segmentation", "a segmentation"),
    "RTSTRUCT": ("rt-object", "a radiotherapy object"),
    "RTPLAN": ("rt-object", "a radiotherapy object"),
    "RTDOSE": ("rt-object", "a radiotherapy object"),
    "RTIMAGE": ("rt-object", "a radiotherapy object"),
    "PR": ("not-an-image", "a presentation state"),
    "KO": ("not-an-image", "a key object selection"),
}
_LOCALIZER = frozenset(("LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM", "SCANOGRAM", "SURVIEW"))
_LABEL_MAP = frozenset(("SEGMENTATION", "SEG", "LABEL", "LABELMAP", "MASK", "LABEL_MAP", "BINARY"))
_SCREEN = frozenset(
    ("SCREEN SAVE", "SCREENSAVE", "SCREENSHOT", "DOSE_INFO", "DOSE INFO", "DOSE", "SECONDARY CAPTURE")
)
_DERIVED = frozenset(
    (
        "MPR", "CSA MPR", "REFORMATTED", "REFORMAT", "RESAMPLED", "MIP", "MAX_IP", "MAXIMUM",
        "MINIP", "MIN_IP", "MINIMUM", "VRT", "SSD", "CPR", "CURVED", "CURVED MPR", "PROJECTION",
        "PROJECTION IMAGE", "VOLREN", "VOLUME RENDERING", "VOLUME_RENDERING", "SUBTRACTION",
        "PERFUSION", "RCBF", "RCBV", "RMTT", "CBF", "CBV", "MTT", "TTP", "TMAX",
    )
)  # fmt: skip


def reason_to_ignore(header: Header) -> Ignored | None:
    """Why an instance is not a slice of a CT volume; None where it may be one.

    CT is what says so: by its SOP class, or by its modality where the SOP class is missing.
    """
    found = _by_class(header) or _by_image_type(header) or _by_pixels(header)
    if found is None:
        return None
    code, what = found
    source = header.source
    return Ignored(source.name, code, f"{source.name} is {what}.", source.path)


def is_derived_view(header: Header) -> bool:
    """Whether an instance is a reformat, a projection or a map of others, by its ImageType."""
    types = set(header.image_type)
    for frame in header.frames[:1]:
        types.update(part for part in frame.phase[5].split("\\") if part)
    words = {word for part in types for word in part.replace("_", " ").split()}
    return "DERIVED" in types and bool((types | words) & _DERIVED)


def _by_class(header: Header) -> tuple[str, str] | None:
    sop_class, modality = header.sop_class, (header.modality or "").upper()
    if sop_class is None and modality == "CT":
        return None
    if sop_class in CT_CLASSES:
        if modality in ("", "CT"):
            return None
        return _OTHER_MODALITIES.get(modality, ("not-ct", "not a CT by its modality"))
    for prefix, code, what in _OTHER_CLASSES:
        if sop_class is not None and (sop_class == prefix or sop_class.startswith(prefix + ".")):
            return code, what
    if modality in _OTHER_MODALITIES:
        return _OTHER_MODALITIES[modality]
    if sop_class is None and not modality and header.pixels is None:
        return "dicom-broken", "broken: it ends before it says what it is"
    if sop_class is None and not modality:
        return "not-ct", "not marked as CT: it has neither a SOP class nor a modality"
    return "not-ct", "not a CT image"


def _by_image_type(header: Header) -> tuple[str, str] | None:
    types = set(header.image_type)
    if types & _LOCALIZER:
        return "localizer", "a localizer"
    if types & _LABEL_MAP:
        return "label-map", "a label map stored as CT"
    if types & _SCREEN:
        return "secondary-capture", "a screen capture or dose sheet stored as CT"
    return None


def _by_pixels(header: Header) -> tuple[str, str] | None:
    pixel_format = header.pixel_format
    if header.frame_count > 1 and not header.multi_frame:
        return "frames-unplaced", (
            f"an image of {header.frame_count} frames that does not say where each of them lies"
        )
    if pixel_format is None or header.pixels is None:
        return "dicom-broken", "a CT image without pixels: the file is cut short or damaged"
    if pixel_format.samples != 1 or not pixel_format.photometric.upper().startswith("MONOCHROME"):
        return "not-an-image", "a colour image, not a CT slice"
    slope, intercept, _ = header.frames[0].rescale
    if pixel_format.bits_stored <= 8 and slope in (None, 1.0) and intercept in (None, 0.0):
        return "label-map", "of 8 bits or fewer without a rescale, as label maps stored as CT are"
    return None
