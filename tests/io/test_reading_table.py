"""One table: each kind of scan that hospitals and data sets hold, and what becomes of it.

A row makes its case (or takes a real one), and says whether it is read, with exactly which warnings; refused, with
which code and words; or left out of a folder, with which code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from hirescam_cli.errors import ScanError
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from tests.conftest import REAL_DATA
from tests.io import dicom_factory as dcm
from tests.io.itk_factory import make_meta, make_nrrd, make_radchest
from tests.io.nifti_factory import affine, chest_hu, rotation
from tests.io.reading_cases import (
    SHAPE,
    among,
    copies,
    cut,
    cut_slice,
    damaged,
    enhanced,
    flipped,
    htj2k,
    moved,
    nifti,
    other,
    positions,
    real,
    series,
    short_raw,
    text_file,
    tilted,
    two_phases,
    voxel,
    zipped,
)


@dataclass(frozen=True)
class Row:
    """`make(folder)` returns the INPUT. One of: `read` (all warnings), `refused` (code, words), `ignored` (codes)."""

    name: str
    make: Callable[[Path], Path]
    read: tuple[str, ...] | None = None
    refused: tuple[str, str] | None = None
    ignored: tuple[str, ...] | None = None
    scans: int = 1
    options: dict[str, Any] = field(default_factory=dict)


SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG Lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}

NIFTI_ROWS = [
    Row("nifti gz", nifti(), read=()),
    Row("nifti plain", nifti("scan.nii"), read=()),
    Row("nifti pair", nifti("scan.hdr"), read=()),
    Row("nifti-2", nifti(version=2), read=()),
    Row("nifti big-endian", nifti(endian=">"), read=()),
    Row("nifti float64", nifti(array=chest_hu().astype(np.float64)), read=()),
    Row("nifti int32", nifti(array=chest_hu().astype(np.int32)), read=()),
    Row("nifti with scale", nifti(scl_slope=1.0, scl_inter=-24.0), read=()),
    Row("nifti 4-D of one volume", nifti(array=chest_hu()[..., None]), read=()),
    Row("nifti 4-D of two", nifti(array=np.stack([chest_hu()] * 2, -1)), refused=("several-volumes", "2 volumes")),
    Row("nifti 2-D", nifti(array=chest_hu()[..., 0]), refused=("not-3d", "12x11")),
    Row("nifti one slice", nifti(array=chest_hu()[..., :1]), refused=("not-3d", "12x11x1")),
    Row("nifti scale not finite", nifti(scl_slope=np.nan), refused=("nifti-scaling", "nan")),
    Row("nifti unit unknown", nifti(units=0), read=("units-unknown",)),
    Row("nifti unit metre", nifti(matrix=np.diag([0.001, 0.001, 0.001, 1.0]) @ affine(), units=1),
        read=("units-converted",)),
    Row("nifti unit micron", nifti(matrix=np.diag([1e3, 1e3, 1e3, 1.0]) @ affine(), units=3),
        read=("units-converted",)),
    Row("nifti only qform", nifti(sform_code=0, qform_code=1), read=()),
    Row("nifti transforms agree", nifti(qform_code=1), read=()),
    Row("nifti transforms disagree", nifti(qform_code=1, qform=moved(3.0)),
        refused=("transforms-disagree", "4 voxels")),
    Row("nifti prefer sform", nifti(qform_code=1, qform=moved(3.0)), read=("transforms-disagree",),
        options={"prefer": "sform"}),
    Row("nifti prefer qform", nifti(qform_code=1, qform=moved(3.0)), read=("transforms-disagree",),
        options={"prefer": "qform"}),
    Row("nifti no transform", nifti(sform_code=0), refused=("no-affine", "left and right")),
    Row("nifti transform assumed", nifti(sform_code=0), read=("affine-assumed",), options={"assume_affine": True}),
    Row("nifti oblique", nifti(matrix=rotation(20.0) @ affine()), read=()),
    Row("nifti sheared", nifti(matrix=affine() @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
        read=("sheared",)),
    Row("nifti singular", nifti(srow_z=[0, 0, 0, 0]), refused=("bad-affine", "singular")),
    Row("nifti spacing of a km", nifti(srow_x=[1e6, 0, 0, 0]), refused=("bad-affine", "spacing")),
    Row("nifti NaN voxel", nifti(array=voxel(np.nan)), read=("nonfinite-voxels",)),
    Row("nifti infinite voxel", nifti(array=voxel(np.inf)), read=("nonfinite-voxels",)),
    Row("nifti constant", nifti(array=np.full((5, 5, 5), 7, np.int16)), refused=("constant", "7")),
    Row("nifti no air", nifti(array=np.abs(chest_hu())), read=("values-not-hu",)),
    Row("nifti beyond HU", nifti(array=voxel(60_000.0)), read=("values-not-hu",)),
    Row("nifti beyond HU without air", nifti(array=np.abs(voxel(60_000.0))), read=("values-not-hu",) * 2),
    Row("nifti RGB", nifti(datatype=128, bitpix=24), refused=("voxel-type", "RGB24")),
    Row("nifti complex", nifti(datatype=32, bitpix=64), refused=("voxel-type", "complex64")),
    Row("nifti gz cut", damaged(lambda data: data[:-200]), refused=("nifti-damaged", "too early")),
    Row("nifti gz trailer cut", damaged(lambda data: data[:-4]), refused=("nifti-damaged", "too early")),
    Row("nifti gz wrong checksum", damaged(flipped), refused=("nifti-damaged", "checksum")),
    Row(
        "nifti gz foreign bytes",
        damaged(lambda data: data + b"x" * 50),
        refused=("nifti-damaged", "not a gzip member"),
    ),
    Row("nifti gz empty", damaged(lambda _: b""), refused=("nifti-damaged", "NIfTI header")),
    Row("nifti plain cut", short_raw, refused=("nifti-damaged", "promises")),
    Row("nifti longer than promised", nifti(trailing=b"12345"), read=("trailing-bytes",)),
    Row("nifti promises too much", nifti(dim=[3, 900, 900, 900, 1, 1, 1, 1]), refused=("nifti-damaged", "promises")),
    Row("nifti beyond max-voxels", nifti(), refused=("too-many-voxels", "1320 voxels"), options={"max_voxels": 1000}),
    Row("analyze", nifti("scan.hdr", magic=b"", sform_code=0), refused=("no-affine", "ANALYZE")),
    Row("no image", text_file, refused=("not-an-image", "report.txt")),
]  # fmt: skip

OTHER_ROWS = [
    Row("nrrd raw", lambda folder: make_nrrd(folder / "a.nrrd"), read=()),
    Row("nrrd gzip", lambda folder: make_nrrd(folder / "a.nrrd", encoding="gzip"), read=()),
    Row("nrrd detached", lambda folder: make_nrrd(folder / "a.nhdr", data="a.raw"), read=()),
    Row("nrrd cut", lambda folder: cut(make_nrrd(folder / "a.nrrd")), refused=("image-damaged", "promised")),
    Row("nrrd gzip cut", lambda folder: cut(make_nrrd(folder / "a.nrrd", encoding="gzip")),
        refused=("image-damaged", "too early")),
    Row("nrrd vectors", lambda folder: make_nrrd(folder / "a.nrrd", sizes="3 12 11 10", dimension="4"),
        refused=("several-volumes", "4 axes")),
    Row("nrrd without space", lambda folder: make_nrrd(folder / "a.nrrd", drop=("space",)),
        refused=("no-affine", "directions")),
    Row("mha", lambda folder: make_meta(folder / "a.mha"), read=()),
    Row("mha compressed", lambda folder: make_meta(folder / "a.mha", compressed=True), read=()),
    Row("mhd with raw", lambda folder: make_meta(folder / "a.mhd", data="a.raw"), read=()),
    Row("mha cut", lambda folder: cut(make_meta(folder / "a.mha")), refused=("image-damaged", "promised")),
    Row("mha colour", lambda folder: make_meta(folder / "a.mha", ElementNumberOfChannels="3"),
        refused=("voxel-type", "channels")),
    Row("mhd with data elsewhere", lambda folder: make_meta(folder / "a.mhd", data="/a.raw", payload=b""),
        refused=("no-data-file", "beside")),
    Row("radchest", lambda folder: make_radchest(folder / "trn1.npz"), read=("origin-unknown",)),
    Row("npz of others", lambda folder: make_radchest(folder / "x.npz", key="x"), refused=("not-radchest", "ct")),
]  # fmt: skip

DICOM_ROWS = [
    Row("dicom", series(), read=()),
    *[Row(f"dicom {name}", series(transfer_syntax=uid), read=()) for name, uid in SYNTAXES.items()],
    *[Row(f"dicom HTJ2K .{number}", htj2k(number), read=()) for number in (201, 202, 203)],
    Row("dicom without preamble", series(transfer_syntax=ImplicitVRLittleEndian, preamble=False), read=()),
    Row("dicom without extension", series(suffix=""), read=()),
    Row("dicom coronal", series(orientation=(1.0, 0, 0, 0, 0, -1.0)), read=()),
    Row("dicom jitter", series(positions_lps=positions([2.5, 2.55] + [2.5] * 9)), read=()),
    Row("dicom uneven", series(positions_lps=positions([2.5, 3.0] * 5 + [2.5])), read=("uneven-slices",)),
    Row("dicom missing slices", series(skip=(5, 6)), refused=("dicom-gaps", "misses slices")),
    Row("dicom gaps allowed", series(skip=(5,)), read=("interpolated-gaps",), options={"allow_gaps": True}),
    Row("dicom tilted", series(**tilted(12.0)), read=("gantry-tilt",)),
    Row("dicom copies", copies(0), read=("duplicate-slices",)),
    Row("dicom two slices at one place", copies(9), refused=("dicom-mixed", "different content")),
    Row("dicom two phases in one series", two_phases, read=(), scans=2),
    Row("dicom intercept per slice", series(edit=lambda ds, k: setattr(ds, "RescaleIntercept", -1024 + k)), read=()),
    Row("dicom padding", series(intercept=0, PixelPaddingValue=-1000), read=("pixel-padding",)),
    Row("dicom rescale type", series(RescaleType="US"), read=("rescale-type",)),
    Row("dicom slice cut", cut_slice, refused=("dicom-truncated", "")),
    Row("dicom without positions", series(ImagePositionPatient=None), refused=("dicom-no-position", "")),
    Row("dicom constant", series(np.full(SHAPE, 40)), refused=("constant", "")),
    Row("dicom few slices", series(dcm.chest((32, 33, 9))), ignored=("few-slices",), scans=0),
    Row("dicom few slices by UID", series(dcm.chest((32, 33, 9)), series_uid="1.2.3"), read=(),
        options={"series": "1.2.3"}),
    Row("dicom derived", series(ImageType=["DERIVED", "SECONDARY", "MPR"]), ignored=("derived-view",), scans=0),
    Row("dicom series by UID", series(series_uid="1.2.3"), ignored=("not-selected",), scans=0,
        options={"series": "1.2.4"}),
    Row("dicom beyond max-voxels", series(), refused=("too-many-voxels", ""), options={"max_voxels": 1000}),
    Row("dicom in zip", zipped, read=()),
    Row("dicom enhanced", enhanced(), read=()),
    Row("dicom legacy converted", enhanced(sop_class=dcm.LEGACY_CT), read=()),
    Row("dicom enhanced, scale per frame", enhanced(slopes=[1.0, 2.0] * 6), read=()),
    Row("dicom localizer", other("CT", dcm.CT, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), ignored=("localizer",),
        scans=0),
    Row("dicom secondary capture", other("CT", "1.2.840.10008.5.1.4.1.1.7"), ignored=("secondary-capture",), scans=0),
    Row("dicom dose report", other("SR", "1.2.840.10008.5.1.4.1.1.88.67"), ignored=("dose-report",), scans=0),
    Row("dicom report", other("SR", "1.2.840.10008.5.1.4.1.1.88.34"), ignored=("not-an-image",), scans=0),
    Row("dicom RT structures", other("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3"), ignored=("rt-object",), scans=0),
    Row("dicom segmentation", other("SEG", "1.2.840.10008.5.1.4.1.1.66.4"), ignored=("segmentation",), scans=0),
    Row("dicom MR", other("MR", "1.2.840.10008.5.1.4.1.1.4"), ignored=("not-ct",), scans=0),
    Row("dicom label map dressed as CT", other("CT", dcm.CT, ImageType=["DERIVED", "SECONDARY", "SEGMENTATION"]),
        ignored=("label-map",), scans=0),
    Row("dicom with others in its folder", among(series(), other("MR", "1.2.840.10008.5.1.4.1.1.4"), text_file),
        read=(), ignored=("not-an-image", "not-ct")),
]  # fmt: skip

REAL_ROWS = [
    Row("real torso", real("acrin_flt_torso_dcm"), read=("pixel-padding",)),
    Row("real head not in HU", real("slicer_cthead64_dcm"), read=("rescale-type", "values-not-hu")),
    Row("real soft-tissue sarcoma", real("sts_003/dicom"), read=()),
    Row("real JPEG 2000 without SOP class", real("totalseg_ct/dicom"), read=()),
    Row("real gaps", real("lego_phantom_10slices_dcm"), refused=("dicom-gaps", "90.00 mm")),
    Row("real nifti, qform 0", real("totalseg_aorta/ct_cropped.nii.gz"), read=("pixel-padding", "units-unknown",)),
    Row("real nifti, sform 0", real("sts_003/CT_image.nii.gz"), read=()),
    Row("real nifti int32", real("totalseg_ct/example_ct.nii.gz"), read=("pixel-padding", "units-unknown",)),
    Row("real nrrd", real("cip_chest64/ct-64.nrrd"), read=()),
    Row("real nrrd oblique", real("cip_chest64/ct-64-transformed.nrrd"), read=()),
    Row("real mha", real("elastix_lung/3DCT_lung.mha"), read=("pixel-padding",)),
    Row("real empty mask", real("totalseg_aorta/renal_arteries.nii.gz"), refused=("constant", "0")),
    Row("real hdr without img", real("nifti_nibabel/nifti1.hdr"), refused=("nifti-pair", ".img")),
    Row("real 4-D oblique", real("nifti_nibabel/example4d.nii.gz"), refused=("several-volumes", "2 volumes")),
    Row("real CIFTI", real("nifti_nibabel/row_major.dconn.nii"), refused=("several-volumes", "100 volumes")),
    Row("real vectors", real("nifti_odd/V1.nii.gz"), refused=("several-volumes", "3 volumes")),
    Row("real colours", real("nifti_odd/ct_perfusion.nii.gz"), refused=("voxel-type", "RGB24")),
    Row("real no transform, big-endian", real("nifti_odd/minimal.nii.gz"), refused=("no-affine", "both 0")),
    Row("real masks", real("totalseg_aorta"), read=("pixel-padding", "units-unknown",), ignored=("label-map",) * 6),
]  # fmt: skip

TABLE = NIFTI_ROWS + OTHER_ROWS + DICOM_ROWS


def test_the_table_is_complete() -> None:
    rows = TABLE + REAL_ROWS
    assert len(rows) >= 80
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_made_cases(tmp_path: Path, row: Row) -> None:
    check(row, tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("row", REAL_ROWS, ids=lambda row: row.name)
def test_real_cases(tmp_path: Path, real_data: Path, row: Row) -> None:
    assert real_data == REAL_DATA
    check(row, tmp_path)


def check(row: Row, folder: Path) -> None:
    """Hold a row against what discovery and the readers do."""
    options = ReadOptions(**row.options)
    path = row.make(folder)
    found = discover([InputPath(path)], options)
    assert len(found.scans) == row.scans, found.ignored
    assert tuple(sorted(item.code for item in found.ignored)) == (row.ignored or ())
    assert all(item.reason and str(folder) not in item.reason for item in found.ignored)
    for scan in found.scans:
        if row.refused is not None:
            with pytest.raises(ScanError) as caught:
                read(scan, options)
            assert caught.value.code == row.refused[0]
            assert row.refused[1] in caught.value.message
            assert caught.value.hint
            assert str(folder) not in str(caught.value)
        else:
            volume = read(scan, options)
            codes = sorted(warning.code for warning in volume.provenance.warnings)
            assert tuple(codes) == row.read, volume.provenance.warnings
            assert np.isfinite(volume.array_ijk).all()
            assert volume.array_ijk.dtype in (np.int16, np.float32)
