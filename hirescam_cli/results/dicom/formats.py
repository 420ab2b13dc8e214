"""The DICOM formats, and which scans they can be written for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hirescam_cli.errors import ScanError
from hirescam_cli.results.format import Made, Request, ResultFormat
from hirescam_cli.volume import DicomSource, Volume


def check_source(volume: Volume) -> DicomSource:
    """The DICOM series that results can refer to.

    Raises ScanError: "dicom-no-source" (the scan is no DICOM), "dicom-no-uid" (a UID that every reference needs is
    missing).
    """
    source = volume.dicom
    if source is None:
        raise ScanError(
            f"DICOM results refer to the DICOM series of the scan, and this scan came as {volume.provenance.kind}.",
            hint="Give the DICOM series itself, or leave the dicom formats out.",
            code="dicom-no-source",
        )
    named = {
        "StudyInstanceUID": source.study_uid,
        "SeriesInstanceUID": source.series_uid,
        "SOPInstanceUID": all(instance.sop_uid for instance in source.instances),
        "SOPClassUID": all(instance.sop_class for instance in source.instances),
    }
    for name, present in named.items():
        if not present:
            raise ScanError(
                f"DICOM results refer to the series by its UIDs, and it has no {name}.",
                hint="Export the series again, or leave the dicom formats out.",
                code="dicom-no-uid",
            )
    return source


def check_place(volume: Volume) -> None:
    """Raise ScanError as `check_source` does, and "dicom-no-frame-of-reference".

    What lies somewhere in the patient needs the one frame of reference in which positions count. None is invented: two
    series with invented ones would lie on each other or not by chance.
    """
    found = [uid for uid in check_source(volume).frames_of_reference if uid]
    if len(found) == 1 and len(check_source(volume).frames_of_reference) == 1:
        return
    what = "names no frame of reference"
    if found:
        what = f"names {len(found)} frames of reference, not one"
    raise ScanError(
        f"The series {what} (FrameOfReferenceUID), so nothing can be placed in it.",
        hint="Use --format dicom-sc, which does without, or leave the dicom formats out.",
        code="dicom-no-frame-of-reference",
    )


def _write_maps(request: Request) -> list[Made]:
    from hirescam_cli.results.dicom.parametric_map import write

    return write(request)


def _write_segments(request: Request) -> list[Made]:
    from hirescam_cli.results.dicom.segmentation import write

    return write(request)


def _write_captures(request: Request) -> list[Made]:
    from hirescam_cli.results.dicom.capture import write

    return write(request)


def _write_report(request: Request) -> list[Made]:
    from hirescam_cli.results.dicom.report import write

    return write(request)


def _format(
    name: str,
    title: str,
    write: Callable[[Request], list[Made]],
    check: Callable[[Volume], object] = check_place,
) -> ResultFormat:
    return ResultFormat(name, title, write, ("highdicom",), "dicom", check, dicom=True)


PARAMETRIC_MAP = replace(_format("dicom-pm", "DICOM Parametric Maps", _write_maps), grid="cam")
SEGMENTATION = _format("dicom-seg", "DICOM Segmentations", _write_segments)
CAPTURE = _format("dicom-sc", "DICOM Secondary Captures", _write_captures, check_source)
REPORT = _format("dicom-sr", "DICOM report", _write_report)
