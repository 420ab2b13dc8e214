"""The numbers in an image file before anyone says that they are HU."""

from __future__ import annotations

from dataclasses import dataclass

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.warning import Warning


@dataclass(frozen=True, eq=False)
class Stored:
    """`values` [i, j, k] after the file's own scale, `affine_ras` index to RAS mm, `sha256` of the files' bytes."""

    values: Voxels
    affine_ras: Affine
    warnings: tuple[Warning, ...]
    sha256: str


def trailing(extra: int) -> tuple[Warning, ...]:
    """The warning of `extra` bytes after the last voxel; none for 0."""
    if not extra:
        return ()
    return (Warning("trailing-bytes", f"{extra} bytes after the last voxel were not used."),)
