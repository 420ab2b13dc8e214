"""Secondary Captures: a series of plain colour images, one for each slice of the scan (PS3.3 A.8).

Single frames, since every archive and viewer takes them. Each lies where its slice lies and refers to it.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from highdicom.sc import SCImage
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from hirescam_cli.geometry import affine as affines
from hirescam_cli.pictures.capture import Capture
from hirescam_cli.results.dicom.objects import Objects, objects_of, silence
from hirescam_cli.results.dicom.references import LOSSY, numbers
from hirescam_cli.results.dicom.stamp import Stamp
from hirescam_cli.results.format import Made, Request
from hirescam_cli.threads import in_threads
from hirescam_cli.volume import DicomSource

FORMAT = "dicom-sc"
# Slices are numbered from the head, the front and the patient's right.
_LAST_FIRST = "SAR"


def write(request: Request) -> list[Made]:
    """A series of each wanted method and label, in a folder of its own."""
    made: list[Made] = []
    with silence():
        objects = objects_of(request, FORMAT)
        for method in request.view.methods:
            for label in request.labels:
                made += _write(objects, method, label)
    return made


def _write(objects: Objects, method: str, label: str) -> list[Made]:
    request, style = objects.request, objects.request.style
    capture = Capture(
        request.view, method, label, placement=request.placement, signed=style.signed, smooth=style.smooth
    )
    what = (method, label, request.placement, style.signed, style.smooth)
    folder = PurePosixPath(f"{request.stem(method, label)}.sc")
    (request.folder / folder).mkdir()
    order = list(range(capture.slices))
    if affines.orientation(request.view.volume.affine_ras)[2] in _LAST_FIRST:
        order.reverse()
    stamp = Stamp(_object(objects, capture, method, label, what))
    references = _slices(objects.request.view.volume.dicom)
    digits = max(4, len(str(capture.slices)))

    def write_slice(shown: tuple[int, int]) -> Made:
        shown_as, k = shown
        path = folder / f"{shown_as:0{digits}d}.dcm"
        own = _own(capture, k, shown_as, references.get(k))
        own.SOPInstanceUID = objects.sop_uid(*what, k)
        stamp.write(request.folder / path, own, capture.rgb(k, shown_as))
        return Made(str(path), "dicom", method, label, request.placement, "scan")

    return in_threads(write_slice, list(enumerate(order, 1)))


def _object(
    objects: Objects,
    capture: Capture,
    method: str,
    label: str,
    what: tuple[str, str, str, bool, bool],
) -> Dataset:
    """All that the images of a series share."""
    first = objects.references.first[0]
    ds = SCImage(
        pixel_array=capture.rgb(0, 1),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=first.StudyInstanceUID,
        series_instance_uid=objects.series_uid(*what),
        series_number=objects.series_number(method, label),
        sop_instance_uid=objects.sop_uid(*what, 0),
        instance_number=1,
        patient_id="",
        patient_name="",
        patient_birth_date="",
        patient_sex="",
        accession_number="",
        study_id="",
        study_date="",
        study_time="",
        patient_orientation=capture.sides,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contributing_equipment=objects.contributing(),
        **objects.equipment,
    )
    ds.ConversionType = "WSD"
    ds.BurnedInAnnotation = "YES"
    ds.ContentQualification = "RESEARCH"
    ds.DerivationDescription = objects.derivation(method, label)
    for keyword in LOSSY:
        if keyword in first:
            ds[keyword] = first[keyword]
    _place_all(ds, objects, capture)
    objects.finish(ds, objects.description(method, label), *what)
    return ds


def _place_all(ds: Dataset, objects: Objects, capture: Capture) -> None:
    """The geometry that slices share; the frame of reference only where the source has one."""
    affine_lps = affines.LPS_TO_RAS @ capture.affine_ras(0)
    rows_mm, columns_mm, slices_mm = affines.spacing_mm(affine_lps)
    unit = affines.directions(affine_lps)
    ds.PixelSpacing = numbers([rows_mm, columns_mm])
    ds.SliceThickness = numbers([slices_mm])[0]
    # A row of pixels runs along growing columns, which are the affine's second axis.
    ds.ImageOrientationPatient = numbers([*unit[:, 1], *unit[:, 0]])
    frames = (
        objects.request.view.volume.dicom.frames_of_reference if objects.request.view.volume.dicom else ()
    )
    if len(frames) == 1 and frames[0] is not None:
        ds.FrameOfReferenceUID = frames[0]


def _own(capture: Capture, k: int, shown_as: int, reference: tuple[str, str, int | None] | None) -> Dataset:
    """What is of one slice alone. The caption adds rows below, so the first pixel is the slice's own."""
    ds = Dataset()
    ds.InstanceNumber = shown_as
    position = affines.LPS_TO_RAS @ capture.affine_ras(k)
    ds.ImagePositionPatient = numbers(position[:3, 3])
    if reference is not None:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference[:2]
        if reference[2] is not None:
            item.ReferencedFrameNumber = reference[2]
        ds.SourceImageSequence = [item]
    return ds


def _slices(source: DicomSource | None) -> dict[int, tuple[str, str, int | None]]:
    """The instance of each slice of the volume that is one: class, UID, number of the frame from 1."""
    found = {}
    for instance in source.instances if source is not None else ():
        for plane in instance.planes:
            if plane.slice is not None:
                number = plane.frame + 1 if instance.multi_frame else None
                found[plane.slice] = (str(instance.sop_class), str(instance.sop_uid), number)
    return found
