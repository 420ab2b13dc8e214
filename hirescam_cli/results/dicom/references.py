"""The source series as highdicom wants to see it: its instances by name and place, nothing else of them.

highdicom takes data sets of the source and copies patient, study and references from them, but expects every element
of type 2 to be there, one orientation for all, and values that are valid. So it is shown data sets made here: the
source's UIDs, and the places that slices have in the volume. What the source says of patient and study is then copied
as it stands (`identity`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.results.dicom.formats import check_source
from hirescam_cli.volume import DicomInstance, DicomPlane, Volume

# A place at which no slice of any scan lies, for frames that are not the volume's: 1 km along the normal.
_ELSEWHERE_MM = 1e6
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
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
    more multi-frame instances of it. `slices`: the slice of the volume that each of `first` is, if it is a single one.
    """

    header: Dataset
    first: tuple[Dataset, ...]
    further: tuple[Dataset, ...]
    slices: tuple[int | None, ...]

    @property
    def all(self) -> tuple[Dataset, ...]:
        """Every instance of the source."""
        return self.first + self.further

    def near(self, first: int, last: int) -> tuple[Dataset, ...]:
        """Those of `first` that are slices from `first` to `last`, exclusive; all of them where none is.

        highdicom compares every frame with every one that it is given.
        """
        found = [
            ds for ds, k in zip(self.first, self.slices, strict=True) if k is not None and first <= k < last
        ]
        return tuple(found) or self.first

    def tell_all(self, ds: Dataset) -> None:
        """Let an object refer to every instance of the source, whichever of them highdicom was given."""
        items = []
        for instance in self.all:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
                instance.SOPClassUID,
                instance.SOPInstanceUID,
            )
            items.append(item)
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedInstanceSequence = self.first[0].SeriesInstanceUID, items
        ds.SourceImageSequence, ds.ReferencedSeriesSequence = items, [series]


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
    if source.instances[0].multi_frame:
        return References(header, tuple(made[:1]), tuple(made[1:]), (None,))
    return References(header, tuple(made), (), tuple(i.planes[0].slice for i in source.instances))


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
    for keyword in LOSSY:
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
    ds.ImagePositionPatient = numbers(_position({0: instance.planes[0]}, 0, affine_lps))


def _place_frames(ds: Dataset, instance: DicomInstance, affine_lps: Affine) -> None:
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = _orientation(affine_lps)
    measures.PixelSpacing, measures.SliceThickness = _spacing(affine_lps)
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups, planes = [], {plane.frame: plane for plane in instance.planes}
    for frame in range(instance.frames):
        plane, group = Dataset(), Dataset()
        plane.ImagePositionPatient = numbers(_position(planes, frame, affine_lps))
        group.PlanePositionSequence = [plane]
        groups.append(group)
    ds.NumberOfFrames, ds.PerFrameFunctionalGroupsSequence = instance.frames, groups


def _position(planes: Mapping[int, DicomPlane], frame: int, affine_lps: Affine) -> Sequence[float]:
    """Where a frame lies: its place in the volume where it is a slice of it, else its own."""
    plane = planes.get(frame)
    if plane is not None:
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
