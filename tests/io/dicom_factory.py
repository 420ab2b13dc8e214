"""Makes synthetic DICOM: classic CT series, enhanced multi-frame CT, and single objects that are no CT.

    paths = make_series(tmp_path / "ct", chest(), (0.8, 0.8, 2.5), orientation=(1, 0, 0, 0, 1, 0))

Arrays are HU indexed [column, row, slice] like `Volume.array_ijk`; slice k lies at
`origin + k * dz * normal`. Any DICOM keyword can be given to override a tag; None removes it; a function is
called with the slice index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import compress
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CT = "1.2.840.10008.5.1.4.1.1.2.2"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
GDCM_ENCODES = {
    JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
}

Triple = Sequence[float]


def uid(*parts: object) -> str:
    """A valid UID that depends on `parts` alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
    return "1.2.826.0.1.3680043.10.999." + str(int(digest[:16], 16))


def chest(shape_ijk: tuple[int, int, int] = (24, 20, 12), seed: int = 0) -> NDArray[np.int16]:
    """Made-up HU [i, j, k], each voxel of its own value as far as possible, air at -1000 in one corner.

    JPEG 2000 needs 32 or more columns and rows.
    """
    rng = np.random.default_rng(seed)
    array = rng.integers(-900, 1200, size=shape_ijk).astype(np.int16)
    array[: shape_ijk[0] // 3, : shape_ijk[1] // 3] = -1000
    return array


def normal(orientation: Triple = AXIAL) -> NDArray[np.float64]:
    """Unit normal (LPS) of an ImageOrientationPatient."""
    return np.cross(np.asarray(orientation[:3], float), np.asarray(orientation[3:], float))


def base_dataset(modality: str = "CT", sop_class: str = CT, *, study: str = "study") -> Dataset:
    """The tags that every object here has; the identity in it is invented."""
    ds = Dataset()
    ds.SOPClassUID = sop_class
    ds.Modality = modality
    ds.PatientName = "Doe^Jane"
    ds.PatientID = "P0001"
    ds.StudyInstanceUID = uid(study)
    ds.FrameOfReferenceUID = uid(study, "frame")
    return ds


def save(
    ds: Dataset, path: Path, transfer_syntax: str = ExplicitVRLittleEndian, *, preamble: bool = True
) -> Path:
    """Write `ds`, whose PixelData are native little-endian bytes, in any transfer syntax."""
    syntax = UID(transfer_syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax == ExplicitVRBigEndian and ds.get("BitsAllocated") == 16:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CT)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", uid(path))
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax not in NATIVE else syntax
    if syntax in (RLELossless, *JPEG2000TransferSyntaxes):
        compress(ds, syntax, generate_instance_uid=False)
    if preamble:
        ds.save_as(path, enforce_file_format=True)
    else:
        bare = Dataset(ds)
        bare.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    if syntax in GDCM_ENCODES:
        _encode_with_gdcm(path, GDCM_ENCODES[syntax])
    return path


def _encode_with_gdcm(path: Path, syntax: int) -> None:
    """Rewrite an uncompressed file in one of the JPEG or JPEG-LS syntaxes."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def set_pixels(ds: Dataset, stored_rows: NDArray[Any], bits: int | None = None) -> None:
    """Put stored values [row, column] or [frame, row, column] (int16, uint16, int8, uint8) into `ds`."""
    allocated = stored_rows.dtype.itemsize * 8
    ds.Rows, ds.Columns = stored_rows.shape[-2:]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = allocated
    ds.BitsStored = bits or allocated
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(stored_rows.dtype.kind == "i")
    ds.PixelData = np.ascontiguousarray(stored_rows).astype(stored_rows.dtype.newbyteorder("<")).tobytes()
    ds["PixelData"].VR = "OW" if allocated > 8 else "OB"


def override(ds: Dataset, tags: Mapping[str, Any], index: int = 0) -> None:
    """Set, compute or (None) remove tags by keyword."""
    for keyword, value in tags.items():
        value = value(index) if callable(value) else value
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)


def slice_dataset(
    hu_rows: NDArray[Any], position_lps: Triple, *, spacing_ij: Sequence[float], orientation: Triple = AXIAL,
    slope: float = 1, intercept: float = -1024, dtype: Any = np.int16, bits: int | None = None,
    thickness: float = 2.5, number: int = 1, series_uid: str | None = None,
) -> Dataset:  # fmt: skip
    """One classic CT image of HU [row, column] at `position_lps`."""
    ds = base_dataset()
    ds.SeriesInstanceUID = series_uid or uid("series")
    ds.SOPInstanceUID = uid(ds.SeriesInstanceUID, number, *position_lps)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [f"{v:.10g}" for v in position_lps]
    ds.ImageOrientationPatient = [f"{v:.10g}" for v in orientation]
    ds.PixelSpacing = [f"{spacing_ij[1]:.10g}", f"{spacing_ij[0]:.10g}"]
    ds.SliceThickness = f"{thickness:.10g}"
    ds.RescaleSlope = f"{slope:.10g}"
    ds.RescaleIntercept = f"{intercept:.10g}"
    ds.RescaleType = "HU"
    stored = np.rint((np.asarray(hu_rows, float) - intercept) / slope).astype(dtype)
    set_pixels(ds, stored, bits)
    return ds


def make_series(
    folder: Path, hu_ijk: NDArray[Any] | None = None, spacing_ijk: Triple = (0.8, 0.7, 2.5), *,
    origin_lps: Triple = (-100.0, -120.0, -300.0), orientation: Triple = AXIAL,
    positions_lps: Sequence[Triple] | None = None, slope: float = 1, intercept: float = -1024,
    dtype: Any = np.int16, bits: int | None = None, series_uid: str | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian, preamble: bool = True, skip: Sequence[int] = (),
    shuffle: bool = True, prefix: str = "IM", suffix: str = ".dcm",
    edit: Callable[[Dataset, int], None] | None = None, **tags: Any,
) -> list[Path]:  # fmt: skip
    """Write a classic CT series of HU [i, j, k] and return its files in the order of k.

    `positions_lps`: one ImagePositionPatient per slice instead of even steps along the normal; `skip`: slices
    left out; `shuffle`: file names and instance numbers in an order unlike the positions'; `edit(ds, k)`: the
    last changes before writing.
    """
    hu = chest() if hu_ijk is None else hu_ijk
    count = hu.shape[2]
    step = normal(orientation) * spacing_ijk[2]
    numbers = [(7 * k + 3) % count if shuffle and count % 7 else k for k in range(count)]
    paths = []
    for k in range(count):
        if k in skip:
            continue
        position = positions_lps[k] if positions_lps is not None else np.asarray(origin_lps, float) + k * step
        ds = slice_dataset(
            hu[:, :, k].T, position, spacing_ij=spacing_ijk[:2], orientation=orientation, slope=slope,
            intercept=intercept, dtype=dtype, bits=bits, thickness=spacing_ijk[2], number=numbers[k] + 1,
            series_uid=series_uid or uid("series", str(folder)),
        )  # fmt: skip
        override(ds, tags, k)
        if edit is not None:
            edit(ds, k)
        path = folder / f"{prefix}{numbers[k]:04d}{suffix}"
        paths.append(save(ds, path, transfer_syntax, preamble=preamble))
    return paths


def expected_affine_ras(
    spacing_ijk: Triple = (0.8, 0.7, 2.5),
    origin_lps: Triple = (-100.0, -120.0, -300.0),
    orientation: Triple = AXIAL,
) -> NDArray[np.float64]:
    """The voxel-to-RAS affine of `make_series` with the same arguments."""
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(orientation[:3], float) * spacing_ijk[0]
    affine[:3, 1] = np.asarray(orientation[3:], float) * spacing_ijk[1]
    affine[:3, 2] = normal(orientation) * spacing_ijk[2]
    affine[:3, 3] = origin_lps
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _item(**tags: Any) -> DicomSequence:
    item = Dataset()
    override(item, tags)
    return DicomSequence([item])


def make_enhanced(
    path: Path, hu_ijk: NDArray[Any] | None = None, spacing_ijk: Triple = (0.8, 0.7, 2.5), *,
    origin_lps: Triple = (-100.0, -120.0, -300.0), orientation: Triple = AXIAL, sop_class: str = ENHANCED_CT,
    slopes: Sequence[float] | None = None, intercepts: Sequence[float] | None = None, dtype: Any = np.int16,
    order: Sequence[int] | None = None, transfer_syntax: str = ExplicitVRLittleEndian,
    edit_frame: Callable[[Dataset, int], None] | None = None, **tags: Any,
) -> Path:  # fmt: skip
    """Write one enhanced multi-frame CT of HU [i, j, k]; `order`: slice k of each frame (default reversed).

    `slopes`, `intercepts`: per slice k (in the per-frame groups). `edit_frame(groups, k)`: last changes in
    the frame's functional groups; `tags` override the top level.
    """
    hu = chest() if hu_ijk is None else hu_ijk
    count = hu.shape[2]
    frames = list(order) if order is not None else list(range(count))[::-1]
    ds = base_dataset("CT", sop_class)
    ds.SeriesInstanceUID = uid("enhanced", str(path))
    ds.SOPInstanceUID = uid(ds.SeriesInstanceUID, "instance")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.InstanceNumber = 1
    ds.NumberOfFrames = len(frames)
    shared, groups, stored = Dataset(), [], []
    shared.PixelMeasuresSequence = _item(
        PixelSpacing=[spacing_ijk[1], spacing_ijk[0]], SliceThickness=spacing_ijk[2]
    )
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=list(orientation))
    for number, k in enumerate(frames):
        slope = slopes[k] if slopes is not None else 1.0
        intercept = intercepts[k] if intercepts is not None else -1024.0
        position = np.asarray(origin_lps, float) + k * spacing_ijk[2] * normal(orientation)
        item = Dataset()
        item.PlanePositionSequence = _item(ImagePositionPatient=[round(float(v), 9) for v in position])
        item.PixelValueTransformationSequence = _item(
            RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU"
        )
        item.FrameContentSequence = _item(DimensionIndexValues=[number + 1], FrameAcquisitionNumber=1)
        if edit_frame is not None:
            edit_frame(item, k)
        groups.append(item)
        stored.append(np.rint((hu[:, :, k].T.astype(float) - intercept) / slope).astype(dtype))
    ds.SharedFunctionalGroupsSequence = DicomSequence([shared])
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    set_pixels(ds, np.stack(stored))
    override(ds, tags)
    return save(ds, path, transfer_syntax)


def make_object(path: Path, modality: str, sop_class: str, **tags: Any) -> Path:
    """Write a small 2-D object that is no CT volume: a localizer, a secondary capture, a dose report, ..."""
    ds = base_dataset(modality, sop_class)
    ds.SeriesInstanceUID = uid("object", str(path))
    ds.SOPInstanceUID = uid(ds.SeriesInstanceUID, "instance")
    set_pixels(ds, np.arange(64, dtype=np.uint16).reshape(8, 8))
    override(ds, tags)
    return save(ds, path)
