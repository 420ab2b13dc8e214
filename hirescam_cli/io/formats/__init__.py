"""The input formats that hirescam reads, as a list.

A new format is one module that defines an `InputFormat` and one line in `FORMATS`. Other packages add theirs
through the entry point group `hirescam.input_formats`. What a file is, is asked of each format in turn.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from hirescam_cli.errors import UsageError
from hirescam_cli.io.formats import dicom, metaimage, nifti, nrrd, radchest
from hirescam_cli.io.input_format import Head, InputFormat, LeftOut, head_of
from hirescam_cli.io.labelmaps import is_label_map

__all__ = [
    "FORMATS",
    "GROUP",
    "Head",
    "InputFormat",
    "LeftOut",
    "format_of",
    "format_of_kind",
    "formats",
    "head_of",
    "is_mask",
    "promised_format",
    "split_ending",
    "titles",
]

GROUP = "hirescam.input_formats"

FORMATS: tuple[InputFormat, ...] = (
    nifti.FORMAT,
    nifti.ANALYZE,
    nrrd.FORMAT,
    metaimage.FORMAT,
    radchest.FORMAT,
    dicom.ARCHIVE,
    dicom.SERIES,
    dicom.ENHANCED,
)
"""In the order in which a file is tried: what is told by few bytes comes first."""


@cache
def formats() -> tuple[InputFormat, ...]:
    """All input formats: ours, then those of other packages by name. Raises UsageError for a broken one."""
    found = list(FORMATS)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            entry = point.load()
        except (ImportError, AttributeError) as error:
            raise _broken(point.name, f"does not load: {error}") from error
        if not isinstance(entry, InputFormat):
            raise _broken(point.name, "is not an InputFormat")
        if any(entry.kind == other.kind for other in found):
            raise _broken(point.name, f"calls itself {entry.kind!r}, the name of another format")
        found.append(entry)
    return tuple(found)


def format_of_kind(kind: str) -> InputFormat | None:
    """The format whose scans are of this kind."""
    return next((entry for entry in formats() if entry.kind == kind), None)


def format_of(path: Path) -> InputFormat | None:
    """What a file is by its content. Raises OSError where it cannot be read."""
    head = head_of(path)
    return next((entry for entry in formats() if entry.sniff(head)), None)


def is_mask(scan: tuple[str, tuple[Path, ...]]) -> bool:
    """Whether the files of a scan of a kind, (kind, files), hold a label map."""
    kind, files = scan
    entry = format_of_kind(kind)
    values = None if entry is None else entry.values
    return values is not None and is_label_map(lambda: values(files))


def promised_format(name: str) -> InputFormat | None:
    """What a file is by its name, if its ending is one of a format's."""
    ending = split_ending(name)[1]
    return next((entry for entry in formats() if ending in entry.endings), None)


def split_ending(name: str) -> tuple[str, str]:
    """Stem and known or last ending (lower case) of a file name; `.nii.gz` counts as one."""
    lower = name.lower()
    for ending in _endings():
        if lower.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], ending
    path = Path(name)
    return path.stem, path.suffix.lower()


def titles() -> str:
    """The formats for a sentence: "A, B or C"."""
    *most, last = dict.fromkeys(entry.title for entry in formats())
    return f"{', '.join(most)} or {last}"


@cache
def _endings() -> tuple[str, ...]:
    """All known endings, longer ones first."""
    known = {ending for entry in formats() for ending in entry.endings}
    return tuple(sorted(known, key=lambda ending: (-len(ending), ending)))


def _broken(name: str, what: str) -> UsageError:
    return UsageError(
        f"The input format {name!r} of another package {what}.",
        hint="Reinstall or remove the package that brings it.",
        code="input-format",
    )
