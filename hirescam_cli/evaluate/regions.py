"""Regions of the ledger: which masks make up which region, and which comes first where they overlap."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ModelError, UsageError
from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.mask import Mask
from hirescam_cli.resources import resource_root
from hirescam_cli.toml_table import Table

RESERVED = ("bias", "outside", "padding", "residual", "lesion")
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """`masks`: names of masks, or patterns such as "rib_*"."""

    name: str
    masks: tuple[str, ...]

    def takes(self, mask: str) -> bool:
        """Whether a mask of this name belongs to the region."""
        return any(fnmatchcase(mask, pattern) for pattern in self.masks)


def region_files() -> list[str]:
    """Names of the files of regions that ship with hirescam."""
    return sorted(path.stem for path in (resource_root() / "configs" / "regions").glob("*.toml"))


def load_regions(name: str) -> tuple[Region, ...]:
    """The regions of a file, or of one that ships with hirescam, in their order: the first that holds a voxel owns it.

    Raises UsageError that names the file and what is wrong.
    """
    path = Path(name)
    if name in region_files():
        path = resource_root() / "configs" / "regions" / f"{name}.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"--regions: {name} cannot be read: {error.strerror}.",
            hint=f"Give a TOML file, or one of: {', '.join(region_files())}.",
        ) from error
    except ValueError as error:
        raise UsageError(f"--regions: {path.name} is not TOML: {error}.", hint="Correct the file.") from error
    try:
        return _read(Table(path.name, "", document))
    except ModelError as error:
        raise UsageError(f"--regions: {error.message}", hint=error.hint, code="regions") from error


def _read(table: Table) -> tuple[Region, ...]:
    table.only(("description", "region"))
    table.text("description", default="")
    regions: list[Region] = []
    for part in table.tables("region"):
        part.only(("name", "masks"))
        name = part.text("name")
        if name in RESERVED or name in [region.name for region in regions]:
            raise part.fail("name", name, f"a name of its own, none of {', '.join(RESERVED)}")
        regions.append(Region(name, part.words("masks", "a list of masks")))
    return tuple(regions)


class Claimed:
    """What earlier regions own, on each grid of masks that came by."""

    def __init__(self) -> None:
        self._grids: list[tuple[Bools, Affine]] = []

    def rest_of(self, mask: Mask) -> Bools:
        """The voxels of a mask that nothing owns yet, which are owned from now on."""
        rest = mask.array_ijk.copy()
        own: tuple[Bools, Affine] | None = None
        for array, affine in self._grids:
            if array.shape == rest.shape and np.allclose(affine, mask.affine_ras, rtol=0.0, atol=1e-4):
                own = (array, affine)
                rest &= ~array
            else:
                _take_away(rest, mask.affine_ras, array, affine)
        if own is None:
            self._grids.append((rest.copy(), mask.affine_ras))
        else:
            own[0][rest] = True
        return rest


def _take_away(rest: Bools, affine: Affine, owned: Bools, owned_affine: Affine) -> None:
    """Clear the voxels of `rest` whose centre lies in an owned voxel of another grid."""
    voxels = np.argwhere(rest)
    index = np.rint(affines.apply(np.linalg.inv(owned_affine) @ affine, voxels)).astype(int)
    there: Bools = np.asarray(((index >= 0) & (index < owned.shape)).all(axis=1))
    there[there] = owned[tuple(index[there].T)]
    rest[tuple(voxels[there].T)] = False


def disjoint(regions: Sequence[Region], masks: Sequence[Mask]) -> dict[str, list[tuple[Bools, Affine]]]:
    """The voxels of each region, with their affine, no voxel in two regions: earlier regions go first.

    `masks`: those of a case that any region takes.
    """
    claimed = Claimed()
    return {
        region.name: [(claimed.rest_of(mask), mask.affine_ras) for mask in masks if region.takes(mask.name)]
        for region in regions
    }


def shares(parts: Sequence[tuple[Bools, Affine]], cells: Grid) -> NDArray[np.float64]:
    """The share of each cell that a region fills."""
    total = np.zeros(cells.shape)
    for array, affine in parts:
        total += MaskOnCells(array, affine, cells).share
    return total
