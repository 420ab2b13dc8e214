"""The header of a NIfTI-1, NIfTI-2 or ANALYZE 7.5 file, checked field by field before it is believed.

Layout: https://nifti.nimh.nih.gov/nifti-1 and /nifti-2. Fields and transforms are those of nibabel's header types.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import DType
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.io.values import check_shape
from hirescam_cli.warning import Warning

LONGEST_HEADER = 540
NAMES = {348: "NIfTI-1", 540: "NIfTI-2"}

_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_UNUSABLE_TYPES = {
    1: "binary", 32: "complex64", 128: "RGB24", 1536: "float128", 1792: "complex128", 2048: "complex256",
    2304: "RGBA32",
}  # fmt: skip
_UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_HIGHEST_CODE = 5
_DISAGREEMENT_VOXELS = 0.1


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What a header promises: `shape` [3] of voxels of `dtype` (with byte order) from byte `offset` on.

    `pair`: the voxels are in an `.img` of their own. Value in HU = `slope` * voxel + `intercept`.
    """

    version: str
    pair: bool
    shape: tuple[int, int, int]
    dtype: DType
    offset: int
    slope: float
    intercept: float
    affine_ras: Affine
    warnings: tuple[Warning, ...]

    @property
    def data_bytes(self) -> int:
        """Bytes of the voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse(block: bytes, name: str, options: ReadOptions) -> NiftiHeader:
    """Check the first 540 bytes of a file and say what they promise; ScanError names the wrong field."""
    found = _byte_order(block)
    if found is None or len(block) < found[1]:
        raise ScanError(
            f"{name} does not begin with a NIfTI header.",
            hint="Give an intact .nii, .nii.gz or .hdr/.img file.",
            code="nifti-damaged",
        )
    order, size = found
    kind = Nifti1Header if size == 348 else Nifti2Header
    return _Checker(kind(block[:size], endianness=order, check=False), size, name).header(options)


def _byte_order(block: bytes) -> tuple[str, int] | None:
    for order, word in (("<", "little"), (">", "big")):
        size = int.from_bytes(block[:4], word)  # type: ignore[arg-type]
        if size in NAMES:
            return order, size
    return None


class _Checker:
    """Reads one header field by field."""

    def __init__(self, fields: Any, size: int, name: str) -> None:
        self.fields = fields
        self.size = size
        self.name = name
        self.warnings: list[Warning] = []

    def header(self, options: ReadOptions) -> NiftiHeader:
        version, pair = self.version()
        shape = self.shape()
        check_shape(shape, self.name, options.max_voxels, options.least_axis)
        dtype = self.dtype()
        offset = self.offset(pair)
        slope, intercept = self.scaling() if version != "ANALYZE" else (1.0, 0.0)
        affine = self.unit_mm() @ self.affine(version, shape, options)
        return NiftiHeader(
            version, pair, shape, dtype, offset, slope, intercept, affine, tuple(self.warnings)
        )

    def refuse(self, what: str, hint: str, code: str = "nifti-header") -> ScanError:
        return ScanError(f"{self.name}: {what}.", hint=hint, code=code)

    def damaged(self, field: str, value: object, expected: str) -> ScanError:
        return self.refuse(
            f"{field} is {value}, expected {expected}", "The header is damaged; get an intact copy."
        )

    def numbers(self, field: str) -> NDArray[np.float64]:
        return np.asarray(self.fields[field], dtype=np.float64)

    def version(self) -> tuple[str, bool]:
        """The format's name, and whether the voxels are in a file of their own."""
        magic = bytes(self.fields.binaryblock[4:12] if self.size == 540 else self.fields.binaryblock[344:348])
        known = {b"n+1\0": False, b"ni1\0": True, b"n+2\0\r\n\x1a\n": False, b"ni2\0\r\n\x1a\n": True}
        if magic in known:
            return NAMES[self.size], known[magic]
        if self.size == 348 and not magic.strip(b"\0"):
            return "ANALYZE", True
        raise self.refuse("the magic string is not that of a NIfTI file", "Get an intact copy of the file.")

    def shape(self) -> tuple[int, int, int]:
        dim = [int(value) for value in self.fields["dim"]]
        if not 1 <= dim[0] <= 7:
            raise self.damaged("the number of dimensions", dim[0], "1 to 7")
        sizes = dim[1 : dim[0] + 1]
        if min(sizes) < 1:
            raise self.damaged("dim", sizes, "positive sizes")
        volumes = math.prod(sizes[3:])
        if volumes != 1:
            raise self.refuse(
                f"there are {volumes} volumes in it ({'x'.join(map(str, sizes))}), expected one",
                "Split it and give each volume as a file of its own.",
                "several-volumes",
            )
        check_shape(tuple(sizes[:3]), self.name, 1 << 62, 1)
        return (sizes[0], sizes[1], sizes[2])

    def dtype(self) -> DType:
        code, bits = int(self.fields["datatype"]), int(self.fields["bitpix"])
        if code in _UNUSABLE_TYPES:
            raise self.refuse(
                f"the voxels are {_UNUSABLE_TYPES[code]}, expected one integer or floating-point number each",
                "Give the scan in HU, not a picture or a derived map.",
                "voxel-type",
            )
        if code not in _TYPES:
            raise self.damaged("datatype", code, "a type of the NIfTI standard")
        dtype: DType = np.dtype(self.fields.endianness + _TYPES[code])
        if bits != dtype.itemsize * 8:
            raise self.damaged("bitpix", bits, f"{dtype.itemsize * 8} for {dtype.name}")
        return dtype

    def offset(self, pair: bool) -> int:
        value = float(self.fields["vox_offset"])
        lowest = 0 if pair else {348: 352, 540: 544}[self.size]
        if not math.isfinite(value) or value != int(value) or value < lowest:
            raise self.damaged("vox_offset", f"{value:g}", f"a whole number of at least {lowest}")
        return int(value)

    def scaling(self) -> tuple[float, float]:
        slope, intercept = float(self.fields["scl_slope"]), float(self.fields["scl_inter"])
        if not math.isfinite(slope) or (slope != 0 and not math.isfinite(intercept)):
            raise self.refuse(
                f"scl_slope is {slope:g} and scl_inter {intercept:g}, expected finite numbers",
                "Write the file again with its scale.",
                "nifti-scaling",
            )
        return (slope, intercept) if slope != 0 else (1.0, 0.0)

    def unit_mm(self) -> Affine:
        """Affine from the file's unit of length to mm."""
        code = int(self.fields["xyzt_units"]) & 0x07 if "xyzt_units" in self.fields else 0
        if code not in _UNITS_MM:
            raise self.damaged("the unit of length", code, "0 (unknown), 1 (metre), 2 (mm) or 3 (micron)")
        if code == 0:
            self.warnings.append(
                Warning("units-unknown", "the header gives no unit of length; mm is assumed.")
            )
        elif code != 2:
            self.warnings.append(
                Warning(
                    "units-converted", f"lengths in {'metre' if code == 1 else 'micron'} were taken to mm."
                )
            )
        return affines.scaling([_UNITS_MM[code]] * 3, [0.0, 0.0, 0.0])

    def affine(self, version: str, shape: tuple[int, int, int], options: ReadOptions) -> Affine:
        """The transform that holds, in the file's unit of length."""
        sform_code, qform_code = (0, 0) if version == "ANALYZE" else self.codes()
        if not sform_code and not qform_code:
            return self.assumed(version, options)
        if not qform_code:
            return self.sform()
        if not sform_code:
            return self.qform()
        if options.prefer is not None:
            return self.preferred(options.prefer, shape)
        return self.agreed(shape)

    def codes(self) -> tuple[int, int]:
        codes = []
        for field in ("sform_code", "qform_code"):
            code = int(self.fields[field])
            if not 0 <= code <= _HIGHEST_CODE:
                raise self.damaged(field, code, f"0 to {_HIGHEST_CODE}")
            codes.append(code)
        return codes[0], codes[1]

    def assumed(self, version: str, options: ReadOptions) -> Affine:
        """The standard's method 1: the spacing alone, axes to the right, to the front and to the head."""
        lacks = (
            "ANALYZE files hold no orientation"
            if version == "ANALYZE"
            else "sform_code and qform_code are both 0"
        )
        if not options.assume_affine:
            raise self.refuse(
                f"{lacks}, so left and right cannot be told apart",
                "Give a file that says so, or take the axes as right, front, head with --assume-affine.",
                "no-affine",
            )
        spacing = self.numbers("pixdim")[1:4]
        if not (np.isfinite(spacing).all() and (spacing > 0).all()):
            raise self.damaged("pixdim", spacing.tolist(), "positive spacings")
        self.warnings.append(
            Warning("affine-assumed", f"{lacks}; the axes are taken to run right, front and head.")
        )
        return affines.scaling(spacing.tolist(), [0.0, 0.0, 0.0])

    def sform(self) -> Affine:
        affine = np.asarray(self.fields.get_sform(), dtype=np.float64)
        if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
            raise self.refuse(
                "the sform is singular or not finite",
                "Write the file again with a correct geometry.",
                "bad-affine",
            )
        return affine

    def qform(self) -> Affine:
        if float(self.numbers("pixdim")[0]) == 0.0:
            self.fields["pixdim"][0] = (
                1.0  # "If pixdim[0]=0.0 (which should not occur), we take qfac=1" (nifti1.h).
            )
        try:
            affine = np.asarray(self.fields.get_qform(), dtype=np.float64)
            sound = np.isfinite(affine).all() and np.linalg.matrix_rank(affine[:3, :3]) == 3
        except (HeaderDataError, ValueError, ArithmeticError, np.linalg.LinAlgError):
            sound = False
        if not sound:
            raise self.refuse(
                "the qform is not a rotation with positive spacings",
                "Write the file again with a correct geometry.",
                "bad-affine",
            )
        return affine

    def preferred(self, prefer: str, shape: tuple[int, int, int]) -> Affine:
        chosen = self.sform() if prefer == "sform" else self.qform()
        try:
            self.agreed(shape)
        except ScanError:
            self.warnings.append(
                Warning(
                    "transforms-disagree", f"sform and qform differ; the {prefer} was taken, as asked for."
                )
            )
        return chosen

    def agreed(self, shape: tuple[int, int, int]) -> Affine:
        """The sform, if the qform puts every corner of the volume within 0.1 voxel of where it does."""
        sform, qform = self.sform(), self.qform()
        corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (
            np.array(shape) - 1
        )
        moved = affines.apply(np.linalg.inv(sform) @ qform, corners) - corners
        distance = float(np.abs(moved).max())
        if not distance <= _DISAGREEMENT_VOXELS:
            raise self.refuse(
                f"sform and qform disagree by {distance:.3g} voxels, expected at most {_DISAGREEMENT_VOXELS}",
                "Say which one holds with --prefer sform or --prefer qform.",
                "transforms-disagree",
            )
        return sform
