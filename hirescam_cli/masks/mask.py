"""A binary mask with its place in space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import MaskError
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines

SHEAR_COSINE = 1e-3

Inside = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask: `array_ijk` True inside, `affine_ras` its index to RAS mm, `sha256` of the file it was read from."""

    name: str
    array_ijk: Inside
    affine_ras: Affine
    path: Path
    sha256: str

    @property
    def grid(self) -> Grid:
        """The mask's own grid; it need not be the scan's."""
        i, j, k = self.array_ijk.shape
        return Grid((i, j, k), self.affine_ras)


def checked(name: str, inside: Inside, affine_ras: Affine, path: Path, sha256: str) -> Mask:
    """A mask whose axes are at right angles. Raises MaskError: "mask-affine", "mask-sheared"."""
    if not np.isfinite(affine_ras).all() or abs(np.linalg.det(affine_ras[:3, :3])) < 1e-9:
        raise refused(path, "its affine is singular", "mask-affine", "Save it with its affine.")
    shear = affines.shear_cosine(affine_ras)
    if shear > SHEAR_COSINE:
        angle = 90.0 - np.degrees(np.arccos(min(shear, 1.0)))
        raise refused(
            path,
            f"its axes are {angle:.2g} degrees away from right angles",
            "mask-sheared",
            "Resample it to a grid with axes at right angles.",
        )
    return Mask(name, inside, affine_ras, path, sha256)


def shown(path: Path) -> str:
    """How messages call a mask's file: with its folder, never an absolute path."""
    return f"{path.parent.name}/{path.name}"


def refused(path: Path, why: str, code: str, hint: str) -> MaskError:
    """The error of a file that cannot be used as a mask; `why` is a clause."""
    return MaskError(f"The mask {shown(path)} cannot be used: {why}.", hint=hint, code=code)
