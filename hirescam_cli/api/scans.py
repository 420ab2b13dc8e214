"""A scan for a notebook: Hounsfield units with the affine that says where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from hirescam_cli.api.html import table
from hirescam_cli.api.options import by_name, path_given
from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.option_values import made
from hirescam_cli.volume import Volume
from hirescam_cli.warning import Warning


@dataclass(frozen=True, eq=False)
class ScanImage:
    """A scan as `explain` reads it. `path`: as given."""

    path: Path
    volume: Volume

    @property
    def array_ijk(self) -> Voxels:
        """Hounsfield units [i, j, k]."""
        return self.volume.array_ijk

    @property
    def affine_ras(self) -> Affine:
        """From an index to RAS mm."""
        return self.volume.affine_ras

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along i, j, k."""
        return self.volume.spacing_mm

    @property
    def orientation(self) -> str:
        """The world directions towards which i, j, k run, e.g. "LPS"."""
        return self.volume.orientation

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """What reading corrected."""
        return self.volume.provenance.warnings

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.array_ijk.shape))
        return f"ScanImage({self.path.name!r}, {shape}, {self.orientation})"

    def _repr_html_(self) -> str:
        rows = [
            ("scan", self.path.name),
            ("kind", self.volume.provenance.kind),
            ("voxels", " x ".join(map(str, self.array_ijk.shape))),
            ("spacing, mm", " x ".join(f"{value:.4g}" for value in self.spacing_mm)),
            ("axes run towards", self.orientation),
            ("HU", f"{self.array_ijk.min():.6g} to {self.array_ijk.max():.6g}"),
            *(("warning", str(warning)) for warning in self.warnings),
        ]
        return table(None, ("", ""), rows)


def read_scan(path: str | PathLike[str], **named: object) -> ScanImage:
    """Read the one scan of a file or folder.

    `named`: options about reading with underscores (`series`, `prefer`, `assume_affine`, `allow_gaps`, `max_voxels`).
    Raises ScanError for a scan that cannot be used, NoInputError where there is none, UsageError where there are
    several.
    """
    options = made(ReadOptions, by_name("read_scan", named, ReadOptions))
    file = path_given("read_scan", "the scan", path)
    found = discover([InputPath(file)], options).scans
    if not found:
        raise NoInputError(
            f"{path} holds no scan.", hint="`hirescam inspect` says what is seen there and why."
        )
    if len(found) > 1:
        cases = ", ".join(scan.case for scan in found[:5])
        raise UsageError(
            f"{path} holds {len(found)} scans: {cases}{', ...' if len(found) > 5 else ''}.",
            hint="Give the file or folder of one of them, or series=UID.",
        )
    return ScanImage(file, read(found[0], options))
