"""Makers of the inputs that the table of readings is about: each takes a folder and returns the INPUT."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.conftest import REAL_DATA
from tests.io import dicom_factory as dcm
from tests.io.htj2k import make_htj2k_series
from tests.io.nifti_factory import affine, chest_hu, make_nifti, nifti_bytes

SHAPE = (32, 33, 12)
STEP = (0.8, 0.7, 2.5)


def real(relative: str) -> Callable[[Path], Path]:
    return lambda _: REAL_DATA / relative


def nifti(
    name: str = "scan.nii.gz", array: Any = None, matrix: Any = None, **options: Any
) -> Callable[[Path], Path]:
    return lambda folder: make_nifti(folder / name, array, matrix, **options)


def series(hu: Any = None, **options: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        array = dcm.chest(SHAPE) if hu is None else hu
        dcm.make_series(folder / "ct", array, STEP, **options)
        return folder / "ct"

    return make


def among(series_make: Callable[[Path], Path], *extra: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """A series with further objects in its folder."""

    def make(folder: Path) -> Path:
        root = series_make(folder)
        for add in extra:
            add(root)
        return root

    return make


def enhanced(**options: Any) -> Callable[[Path], Path]:
    return lambda folder: dcm.make_enhanced(folder / "enhanced.dcm", dcm.chest(SHAPE), STEP, **options)


def other(modality: str, sop_class: str, **tags: Any) -> Callable[[Path], Path]:
    return lambda folder: dcm.make_object(folder / "object.dcm", modality, sop_class, **tags)


def damaged(change: Callable[[bytes], bytes], name: str = "scan.nii.gz") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = make_nifti(folder / name)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def flipped(data: bytes) -> bytes:
    return data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]


def voxel(value: float) -> Any:
    array = chest_hu().astype(np.float32)
    array[5, 5, 5] = value
    return array


def moved(mm: float) -> Any:
    matrix = affine()
    matrix[0, 3] += mm
    return matrix


def positions(steps: list[float]) -> list[tuple[float, float, float]]:
    return [(-100.0, -120.0, -300.0 + float(z)) for z in np.cumsum([0.0, *steps])]


def tilted(degrees: float) -> dict[str, Any]:
    """Slices tilted about x and stacked along z."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "orientation": (1.0, 0.0, 0.0, 0.0, cosine, -sine),
        "positions_lps": [(-100.0, -120.0, -300.0 + 2.5 * k) for k in range(SHAPE[2])],
    }


def two_phases(folder: Path) -> Path:
    hu = dcm.chest(SHAPE)
    shared = {"series_uid": "1.2.3.4"}
    dcm.make_series(folder / "ct", hu, STEP, prefix="A", AcquisitionNumber=1, **shared)
    dcm.make_series(
        folder / "ct", hu + 20, STEP, prefix="B", AcquisitionNumber=2, edit=new_instance, **shared
    )
    return folder / "ct"


def new_instance(ds: Dataset, k: int) -> None:
    ds.SOPInstanceUID = dcm.uid("second", k)


def copies(difference: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        hu = dcm.chest(SHAPE)
        dcm.make_series(folder / "ct", hu, STEP, prefix="A", series_uid="1.2.3.4")
        again = {"skip": range(1, SHAPE[2]), "series_uid": "1.2.3.4", "edit": new_instance}
        dcm.make_series(folder / "ct", hu + difference, STEP, prefix="B", **again)
        return folder / "ct"

    return make


def htj2k(number: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        make_htj2k_series(folder / "ct", number)
        return folder / "ct"

    return make


def cut_slice(folder: Path) -> Path:
    paths = dcm.make_series(folder / "ct", dcm.chest(SHAPE), STEP)
    paths[4].write_bytes(paths[4].read_bytes()[:-700])
    return folder / "ct"


def zipped(folder: Path) -> Path:
    paths = dcm.make_series(folder / "ct", dcm.chest(SHAPE), STEP)
    with zipfile.ZipFile(folder / "study.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    return folder / "study.zip"


def text_file(folder: Path) -> Path:
    (folder / "report.txt").write_text("no image")
    return folder / "report.txt"


def short_raw(folder: Path) -> Path:
    (folder / "scan.nii").write_bytes(nifti_bytes(chest_hu())[:-1])
    return folder / "scan.nii"


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-40])
    return path
