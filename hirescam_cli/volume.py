"""A scan in Hounsfield units that knows where it lies: what every reader returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.warning import Warning


@dataclass(frozen=True)
class Provenance:
    """Where a volume came from, without anything that could name a patient.

    `kind`: "nifti", "analyze", "nrrd", "metaimage", "radchest-npz", "dicom", "dicom-enhanced".
    `fingerprint`: SHA-256 of the input's bytes (see `io.fingerprint`).
    `series_uid`: DICOM SeriesInstanceUID, else None.
    `warnings`: each correction that reading made, see `Warning`.
    `slice_numbers`: what the scanner calls each slice along k: DICOM's InstanceNumber, in a multi-frame file the
    frame's number from 1; None for a slice without, empty where the slices are not the scanner's.
    """

    kind: str
    fingerprint: str
    series_uid: str | None = None
    warnings: tuple[Warning, ...] = ()
    slice_numbers: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class DicomPlane:
    """An image plane of a DICOM instance. `frame`: its number in the instance, from 0; `position_lps`: of its first
    pixel, LPS mm; `slice`: the slice of the volume (along k) that it is, None where the volume was interpolated there.
    """

    frame: int
    position_lps: tuple[float, float, float]
    slice: int | None


@dataclass(frozen=True)
class DicomInstance:
    """A DICOM instance of which a volume was made. `frames`: how many its file holds; `planes`: those of the volume."""

    sop_class: str | None
    sop_uid: str | None
    multi_frame: bool
    frames: int
    planes: tuple[DicomPlane, ...]


@dataclass(frozen=True)
class DicomSource:
    """The DICOM series that a volume was read from, so that DICOM results can refer to it.

    `frames_of_reference`: the UIDs that its instances name, in order, each once; None for an instance without one.
    `instances`: in the order of the volume's slices, copies of a slice left out.
    `header`: how the file of the first instance begins, up to its pixels (a deflated file: all of it), as stored. It
    tells who the patient is: it is never shown, and written into DICOM results only.
    """

    study_uid: str | None
    series_uid: str | None
    frames_of_reference: tuple[str | None, ...]
    instances: tuple[DicomInstance, ...]
    header: bytes = field(repr=False)


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume: `array_ijk` in HU (int16 or float32, any axis order), `affine_ras` (index to RAS mm).

    `slice_thickness_mm`: what the header says of slices, which lie along k; it need not be their distance. None where a
    format says nothing of it.
    `dicom`: the series that it was read from, None for other formats.
    """

    array_ijk: Voxels
    affine_ras: Affine
    provenance: Provenance
    slice_thickness_mm: float | None = None
    dicom: DicomSource | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.array_ijk.ndim != 3:
            raise ValueError(f"a volume has three axes, not {self.array_ijk.ndim}")
        if self.affine_ras.shape != (4, 4) or self.affine_ras.dtype != np.float64:
            raise ValueError("a volume's affine is a 4x4 float64 matrix")

    @property
    def grid(self) -> Grid:
        """The volume's voxel grid."""
        i, j, k = self.array_ijk.shape
        return Grid((i, j, k), self.affine_ras)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance in mm between voxel centres along i, j, k."""
        return affines.spacing_mm(self.affine_ras)

    @property
    def orientation(self) -> str:
        """The world directions towards which i, j, k run, e.g. "LPS"."""
        return affines.orientation(self.affine_ras)

    def warned(self, *warnings: Warning) -> Volume:
        """The same volume with further warnings in its provenance."""
        provenance = replace(self.provenance, warnings=self.provenance.warnings + warnings)
        return replace(self, provenance=provenance)
