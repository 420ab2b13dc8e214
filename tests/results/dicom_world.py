"""What the tests of DICOM results share: series with maps of noise on them, and results read back by their places."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hirescam_cli.case.view import CaseView
from hirescam_cli.geometry import Grid, reorient
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.registries import RESULT_FORMATS
from hirescam_cli.results.format import Made, Request, Style
from hirescam_cli.volume import Volume
from tests import views

ALL = ("dicom-pm", "dicom-seg", "dicom-sc", "dicom-sr")
LABELS = ("nodule", "pleural effusion")
CELLS = (4, 6, 5)
SHAPE, SPACING, ORIGIN = (24, 20, 12), (0.8, 0.7, 2.5), (-100.0, -120.0, -300.0)
IDENTITY: dict[str, Any] = {
    "PatientName": "Zzyzx^Jane", "PatientID": "MARK-77", "PatientBirthDate": "19231117", "PatientSex": "F",
    "StudyID": "S1", "AccessionNumber": "A-9", "StudyDate": "20200102", "StudyTime": "030405",
    "ReferringPhysicianName": "Doctor^Who", "Manufacturer": "Scanner & Co", "ManufacturerModelName": "CT 9",
    "DeviceSerialNumber": "77", "SoftwareVersions": "1.2", "BodyPartExamined": "CHEST", "PatientPosition": "HFS",
    "PositionReferenceIndicator": "", "KVP": "120", "AcquisitionNumber": "1",
    "SeriesNumber": "3", "PatientIdentityRemoved": "YES", "DeidentificationMethod": "made up",
    "LongitudinalTemporalInformationModified": "MODIFIED",
}  # fmt: skip
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Written:
    """Results of one view: `made` by format."""

    folder: Path
    view: CaseView
    made: dict[str, list[Made]]

    def read(self, name: str) -> Dataset:
        return pydicom.dcmread(self.folder / name)

    def objects(self) -> list[Dataset]:
        """Every object, of the captures the first."""
        paths = [made.path for kind in self.made.values() for made in kind]
        return [self.read(path) for path in paths if "/" not in path or path.endswith("0001.dcm")]


def read_only(folder: Path, **options: Any) -> Volume:
    """The volume of the one series in a folder."""
    chosen = ReadOptions(**options)
    scans = discover([InputPath(folder)], chosen).scans
    if not scans:
        first = next(path for path in sorted(folder.rglob("*")) if path.is_file())
        uid = str(pydicom.dcmread(first, stop_before_pixels=True, force=True)["SeriesInstanceUID"].value)
        chosen = replace(chosen, series=uid)
        scans = discover([InputPath(folder)], chosen).scans
    (scan,) = scans
    return read(scan, chosen)


def view_of(
    volume: Volume,
    *,
    axes: str = "IPL",
    cells: tuple[int, int, int] = CELLS,
    labels: Sequence[str] = LABELS,
    methods: Sequence[str] = ("hirescam",),
    seed: int = 0,
) -> CaseView:
    """A case of this volume: maps of noise whose `cells` span the scan along `axes`."""
    rng = np.random.default_rng(seed)
    _, grid = reorient(volume.grid, axes)
    step = [n / c for n, c in zip(grid.shape, cells, strict=True)]
    stretch = grid.affine_ras @ affines.scaling(step, [(s - 1) / 2 for s in step])
    smaller = grid.affine_ras @ affines.scaling([s / 2 for s in step], list(step))
    cams = {m: rng.normal(size=(*cells, len(labels))).astype(np.float32) for m in methods}
    network = Grid(grid.shape, grid.affine_ras)
    placements = {"stretch": stretch, "receptive-field": smaller}
    case = views._case(volume, labels, cams, placements, network)
    source = msgspec.structs.replace(
        case.input, kind=volume.provenance.kind, fingerprint=volume.provenance.fingerprint
    )
    return CaseView(volume, msgspec.structs.replace(case, input=source), cams)


def write_all(
    view: CaseView, folder: Path, formats: Sequence[str] = ALL, style: Style | None = None
) -> Written:
    """Write a view in these formats; refusals are raised."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = [label.name for label in view.case.labels]
    request = Request(folder, view, view, labels, style or Style())
    made = {}
    for name in formats:
        entry = RESULT_FORMATS.find(name)
        if entry.check is not None:
            entry.check(view.volume)
        made[name] = entry.write(request)
    return Written(folder, view, made)


def frames_of(ds: Dataset) -> list[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Each frame of a multi-frame object [row, column], and its affine: (row, column, 1) to LPS mm. pydicom alone."""
    shared = ds.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float)
    rows_mm, columns_mm = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    if "FloatPixelData" in ds:
        values = np.frombuffer(ds.FloatPixelData, "<f4").reshape(-1, ds.Rows, ds.Columns)
    else:
        values = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    found = []
    for number, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        affine = np.zeros((3, 3))
        affine[:, 0], affine[:, 1] = orientation[3:] * rows_mm, orientation[:3] * columns_mm
        affine[:, 2] = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        found.append((values[number], affine))
    return found


def pixels_lps(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """LPS mm of every pixel [row, column, 3] of a frame."""
    rows, columns = np.indices(shape)
    points: NDArray[np.float64] = np.stack([rows, columns, np.ones(shape)], axis=-1) @ affine.T
    return points


def command(name: str) -> str:
    """The path of a program; the test is skipped, saying so, where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
