"""A binary mask with its place in space, and the reader of binary NIfTI files."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from hirescam_cli.errors import MaskError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines

SUFFIXES = (".nii.gz", ".nii")
_SHEAR_COSINE = 1e-3


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask: `array_ijk` True inside, `affine_ras` its index to RAS mm, `sha256` of the file it was read from."""

    name: str
    array_ijk: NDArray[np.bool_]
    affine_ras: Affine
    path: Path
    sha256: str


def mask_name(path: Path) -> str | None:
    """What a mask file is called: its name without the ending; None for a file of another kind."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return None


def read_mask(path: Path, name: str) -> Mask:
    """The mask in a NIfTI file: one value besides 0, three axes. Raises MaskError that says what is wrong."""
    try:
        data = path.read_bytes()
        image = nibabel.load(path)
        values = np.asarray(image.dataobj)
    except (
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        ImageFileError,
        HeaderDataError,
    ) as e:
        raise _refused(path, f"it cannot be read: {e}", "mask-unreadable", "Get an intact copy.") from e
    affine = _affine(path, image)
    return Mask(name, _binary(path, values), affine, path, hashlib.sha256(data).hexdigest())


def _affine(path: Path, image: nibabel.Nifti1Image) -> Affine:
    if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
        raise _refused(
            path,
            "it does not say where it lies (sform and qform are 0)",
            "mask-no-affine",
            "Save it with its affine.",
        )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise _refused(path, "its affine is singular", "mask-affine", "Save it with its affine.")
    if affines.shear_cosine(affine) > _SHEAR_COSINE:
        raise _refused(path, "its axes are not at right angles", "mask-sheared", "Resample it.")
    return affine


def _binary(path: Path, values: NDArray[np.generic]) -> NDArray[np.bool_]:
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise _refused(
            path, f"it has {values.ndim} axes, expected 3", "mask-shape", "Give one file for each mask."
        )
    inside: NDArray[np.bool_] = values != 0
    found = values[inside]
    if found.size and (found != found.flat[0]).any():
        raise _refused(
            path,
            "it holds more than one value besides 0",
            "mask-values",
            "Give binary masks, or name the values with --mask-labels.",
        )
    return inside


def _refused(path: Path, why: str, code: str, hint: str) -> MaskError:
    return MaskError(f"The mask {path.parent.name}/{path.name} cannot be used: {why}.", hint=hint, code=code)
