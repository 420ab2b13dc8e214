"""The source series as highdicom wants to see it: its instances by name and place, nothing else of them.

highdicom takes data sets of the source and copies patient, study and references from them, but expects every element
of type 2 to be there, one orientation for all, and values that are valid. So it is shown data sets made here: the
source's UIDs, and the places that slices have in the volume. What the source says of patient and study is then copied
as it stands (`identity`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.results.dicom.formats import check_source
from hirescam_cli.volume import DicomInstance, Volume

# A place at which no slice of any scan lies, for frames that are not the volume's: 1 km along the normal.
_ELSEWHERE_MM = 1e6
_EQUIPMENT = (
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "InstitutionName",
    "StationName",
)  # fmt: skip
_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class References:
    """`header`: the first instance's, as the source has it. `first`: what highdicom takes as the source; `further`:
    more multi-frame instances of it."""

    header: Dataset
    first: tuple[Dataset, ...]
    further: tuple[Dataset, ...]

    @property
    def all(self) -> tuple[Dataset, ...]:
        """Every instance of the source."""
        return self.first + self.further


def references_to(volume: Volume) -> References:
    """The instances of the series that a volume was read from. Raises ScanError where it cannot be referred to."""
    source = check_source(volume)
    header = pydicom.dcmread(io.BytesIO(source.header), stop_before_pixels=True, force=True)
    affine_lps = affines.LPS_TO_RAS @ volume.affine_ras
    made = []
    for instance in source.instances:
        ds = _identified(header, instance)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = source.study_uid, source.series_uid
        if source.frames_of_reference[0] is not None:
            ds.FrameOfReferenceUID = source.frames_of_reference[0]
        if instance.multi_frame:
            _place_frames(ds, instance, affine_lps)
        else:
            _place(ds, instance, affine_lps)
        made.append(ds)
    several = source.instances[0].multi_frame
    return References(header, tuple(made[:1] if several else made), tuple(made[1:] if several else ()))


def _identified(header: Dataset, instance: DicomInstance) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = instance.sop_class, instance.sop_uid
    for keyword in _TYPE_2:
        setattr(ds, keyword, "")
    for keyword in _EQUIPMENT:
        value = _text(header, keyword)
        if value:
            setattr(ds, keyword, value)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.Rows, ds.Columns = int(header.get("Rows") or 1), int(header.get("Columns") or 1)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in header:
            ds[keyword] = header[keyword]
    return ds


def _text(header: Dataset, keyword: str) -> str:
    """An element's text as one value, at most 64 characters."""
    value = header.get(keyword)
    return "" if value is None else str(value).replace("\\", "/").strip()[:64]


def _place(ds: Dataset, instance: DicomInstance, affine_lps: Affine) -> None:
    ds.ImageOrientationPatient = _orientation(affine_lps)
    ds.PixelSpacing, ds.SliceThickness = _spacing(affine_lps)
    ds.ImagePositionPatient = numbers(_position(instance, 0, affine_lps))


def _place_frames(ds: Dataset, instance: DicomInstance, affine_lps: Affine) -> None:
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = _orientation(affine_lps)
    measures.PixelSpacing, measures.SliceThickness = _spacing(affine_lps)
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for frame in range(instance.frames):
        plane, group = Dataset(), Dataset()
        plane.ImagePositionPatient = numbers(_position(instance, frame, affine_lps))
        group.PlanePositionSequence = [plane]
        groups.append(group)
    ds.NumberOfFrames, ds.PerFrameFunctionalGroupsSequence = instance.frames, groups


def _position(instance: DicomInstance, frame: int, affine_lps: Affine) -> Sequence[float]:
    """Where a frame lies: its place in the volume where it is a slice of it, else its own."""
    for plane in instance.planes:
        if plane.frame == frame:
            if plane.slice is None:
                return plane.position_lps
            return [float(value) for value in affines.apply(affine_lps, (0, 0, plane.slice))]
    away = affines.directions(affine_lps)[:, 2] * _ELSEWHERE_MM
    return [float(value) for value in affine_lps[:3, 3] + away]


def _orientation(affine_lps: Affine) -> list[DSfloat]:
    unit = affines.directions(affine_lps)
    return numbers([*unit[:, 0], *unit[:, 1]])


def _spacing(affine_lps: Affine) -> tuple[list[DSfloat], DSfloat]:
    columns, rows, slices = affines.spacing_mm(affine_lps)
    return numbers([rows, columns]), numbers([slices])[0]


def numbers(values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[DSfloat]:
    """Numbers as decimal strings of at most 16 characters."""
    return [DSfloat(float(value), auto_format=True) for value in values]
