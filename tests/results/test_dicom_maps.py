"""Parametric Maps and Segmentations lie where the map lies, whoever reads them: by each frame's own position."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import dcm2niix
import highdicom
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy import ndimage

from hirescam_cli.case.view import CaseView
from hirescam_cli.results.format import Style
from tests.io.dicom_factory import AXIAL, make_series
from tests.results.dicom_world import (
    CELLS,
    IDENTITY,
    LPS,
    frames_of,
    pixels_lps,
    read_only,
    view_of,
    write_all,
)

SERIES: dict[str, tuple[tuple[float, ...], str]] = {
    "axial": (AXIAL, "IPL"),
    "axial, network's axes the other way": (AXIAL, "RAS"),
    "axial, rows to the front": ((1, 0, 0, 0, -1, 0), "IPL"),
    "columns to the front": ((0, 1, 0, 1, 0, 0), "SPL"),
    "coronal": ((1, 0, 0, 0, 0, -1), "IPL"),
    "sagittal": ((0, 1, 0, 0, 0, -1), "RAS"),
    "oblique": ((0.96, 0.28, 0, -0.28 * 0.8, 0.96 * 0.8, 0.6), "IPL"),
    "feet first": ((-1, 0, 0, 0, 1, 0), "IPL"),
}


@pytest.fixture(params=list(SERIES))
def view(request: pytest.FixtureRequest, tmp_path: Path) -> CaseView:
    orientation, axes = SERIES[request.param]
    make_series(tmp_path / "ct", orientation=orientation, **IDENTITY)
    return view_of(read_only(tmp_path / "ct"), axes=axes)


def by_position(ds: Dataset, view: CaseView, label: str, placement: str) -> int:
    """Compare every pixel with the map's cell at its place, exactly; returns how many cells were met."""
    cam = view.native_map_of("hirescam", label)
    to_cell = np.linalg.inv(LPS @ view.native_affines_ras[placement])
    met = np.zeros(cam.shape, dtype=bool)
    for values, affine in frames_of(ds):
        cells = pixels_lps(affine, values.shape) @ to_cell[:3, :3].T + to_cell[:3, 3]
        nearest = np.rint(cells).astype(int)
        np.testing.assert_allclose(cells, nearest, atol=1e-6)
        i, j, k = np.moveaxis(nearest, -1, 0)
        np.testing.assert_array_equal(values, cam[i, j, k])
        met[i, j, k] = True
    return int(met.sum())


@pytest.mark.parametrize("placement", ["stretch", "receptive-field"])
def test_a_map_is_exact_at_its_place(view: CaseView, tmp_path: Path, placement: str) -> None:
    written = write_all(view, tmp_path / "out", ["dicom-pm"], Style(placement=placement))
    for made in written.made["dicom-pm"]:
        assert made.label is not None
        assert made.grid == "cam"
        assert by_position(written.read(made.path), view, made.label, placement) == np.prod(CELLS)


def test_highdicom_reads_a_map_back_as_the_same_volume(view: CaseView, tmp_path: Path) -> None:
    written = write_all(view, tmp_path / "out", ["dicom-pm"])
    image = highdicom.imread(tmp_path / "out" / "hirescam.label_0.pm.dcm")
    volume = image.get_volume()
    cam = view.native_map_of("hirescam", "nodule")
    at = np.array(np.unravel_index(int(volume.array.argmax()), volume.array.shape))
    peak_lps = volume.affine[:3, :3] @ at + volume.affine[:3, 3]
    assert volume.array.max() == cam.max()
    expected = np.array(view.label("nodule").maps["hirescam"].peak.world_mm) * [-1, -1, 1]
    np.testing.assert_allclose(peak_lps, expected, atol=1e-3)
    assert sorted(volume.array.ravel()) == sorted(cam.ravel())
    assert len(written.made["dicom-pm"]) == 2


def converted(path: Path, folder: Path) -> Any:
    """What dcm2niix makes of one file."""
    folder.mkdir()
    done = subprocess.run(
        [dcm2niix.bin, "-s", "y", "-z", "n", "-b", "n", "-o", str(folder), str(path)],
        capture_output=True,
        text=True,
    )
    (found,) = folder.glob("*.nii")
    assert done.returncode == 0, done.stdout
    return nibabel.load(found)


def test_dcm2niix_finds_the_same_peak(view: CaseView, tmp_path: Path) -> None:
    write_all(view, tmp_path / "out", ["dicom-pm"])
    image = converted(tmp_path / "out" / "hirescam.label_0.pm.dcm", tmp_path / "nii")
    values = image.get_fdata()
    cam = view.native_map_of("hirescam", "nodule")
    assert np.float32(values.max()) == cam.max()
    at = np.unravel_index(int(values.argmax()), values.shape)
    world = nibabel.affines.apply_affine(image.affine, at)
    np.testing.assert_allclose(world, view.label("nodule").maps["hirescam"].peak.world_mm, atol=1e-3)


def expected_mask(
    view: CaseView, label: str, fraction: float, placement: str = "stretch"
) -> NDArray[np.bool_]:
    """[i, j, k] on the scan's grid, by SciPy's interpolation at world points."""
    cam = view.native_map_of("hirescam", label).astype(float)
    index = np.stack(
        np.meshgrid(*(np.arange(n) for n in view.volume.array_ijk.shape), indexing="ij"), axis=-1
    )
    matrix = np.linalg.inv(view.native_affines_ras[placement]) @ view.volume.affine_ras
    cells = index @ matrix[:3, :3].T + matrix[:3, 3]
    inside = ((cells >= -0.5 - 1e-6) & (cells <= np.array(cam.shape) - 0.5 + 1e-6)).all(axis=-1)
    clamped = np.clip(cells, 0, np.array(cam.shape) - 1.0)
    values = ndimage.map_coordinates(cam, np.moveaxis(clamped, -1, 0), order=1)
    return (values >= fraction * cam.max()) & inside


def mask_by_position(ds: Dataset, view: CaseView) -> NDArray[np.bool_]:
    mask = np.zeros(view.volume.array_ijk.shape, dtype=bool)
    to_voxel = np.linalg.inv(LPS @ view.volume.affine_ras)
    for values, affine in frames_of(ds):
        voxels = pixels_lps(affine, values.shape) @ to_voxel[:3, :3].T + to_voxel[:3, 3]
        nearest = np.rint(voxels).astype(int)
        np.testing.assert_allclose(voxels, nearest, atol=1e-6)
        i, j, k = np.moveaxis(nearest, -1, 0)
        mask[i, j, k] = values.astype(bool)
    return mask


@pytest.mark.parametrize("fraction", [0.3, 0.5])
@pytest.mark.parametrize("placement", ["stretch", "receptive-field"])
def test_a_segmentation_is_the_map_above_its_threshold(
    view: CaseView, tmp_path: Path, fraction: float, placement: str
) -> None:
    style = Style(seg_fraction=fraction, placement=placement)
    written = write_all(view, tmp_path / "out", ["dicom-seg"], style)
    for made in written.made["dicom-seg"]:
        ds = written.read(made.path)
        expected = expected_mask(view, str(made.label), fraction, placement)
        found = mask_by_position(ds, view)
        # Values within rounding of the threshold may fall on either side.
        assert (found != expected).sum() <= 2
        assert found.any()


def test_centroids_of_a_segmentation_are_the_same_in_every_reader(view: CaseView, tmp_path: Path) -> None:
    write_all(view, tmp_path / "out", ["dicom-seg"])
    path = tmp_path / "out" / "hirescam.label_0.seg.dcm"
    ds = highdicom.seg.segread(path)
    mask = mask_by_position(ds, view)
    mine = (LPS @ view.volume.affine_ras @ [*np.argwhere(mask).mean(axis=0), 1.0])[:3]
    volume = ds.get_volume(combine_segments=True)
    theirs = volume.affine @ [*np.argwhere(volume.array).mean(axis=0), 1.0]
    np.testing.assert_allclose(theirs[:3], mine, atol=1e-6)
    image = converted(path, tmp_path / "nii")
    voxels = np.argwhere(image.get_fdata() > 0)
    assert len(voxels) == mask.sum()
    world = nibabel.affines.apply_affine(image.affine, voxels.mean(axis=0))
    np.testing.assert_allclose(world * [-1, -1, 1], mine, atol=1e-3)


def test_each_frame_of_a_segmentation_names_the_slice_it_lies_on(view: CaseView, tmp_path: Path) -> None:
    written = write_all(view, tmp_path / "out", ["dicom-seg"])
    assert view.volume.dicom is not None
    places = {i.sop_uid: np.array(i.planes[0].position_lps) for i in view.volume.dicom.instances}
    ds = written.read("hirescam.label_0.seg.dcm")
    for group in ds.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(position, places[source.ReferencedSOPInstanceUID], atol=1e-6)


def test_a_map_on_the_scans_grid_has_the_scans_slices(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    view = view_of(read_only(tmp_path / "ct"))
    written = write_all(view, tmp_path / "out", ["dicom-pm"], Style(grid="both"))
    names = {made.path: made.grid for made in written.made["dicom-pm"]}
    assert names["hirescam.label_0.pm.dcm"] == "cam"
    assert names["hirescam.label_0.scan.pm.dcm"] == "scan"
    ds = written.read("hirescam.label_0.scan.pm.dcm")
    assert (ds.Columns, ds.Rows, ds.NumberOfFrames) == view.volume.array_ijk.shape
    uids = {written.read(name).SOPInstanceUID for name in names}
    assert len(uids) == 4
    matrix = np.linalg.inv(view.native_affines_ras["stretch"]) @ LPS
    cam = view.native_map_of("hirescam", "nodule").astype(float)
    for values, affine in frames_of(ds):
        cells = pixels_lps(affine, values.shape) @ matrix[:3, :3].T + matrix[:3, 3]
        clamped = np.clip(cells, 0, np.array(cam.shape) - 1.0)
        expected = ndimage.map_coordinates(cam, np.moveaxis(clamped, -1, 0), order=1)
        np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_map_without_evidence_gives_a_map_and_no_segmentation(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    view = view_of(read_only(tmp_path / "ct"))
    flat = replace(view, native={"hirescam": -np.abs(view.native["hirescam"])})
    written = write_all(flat, tmp_path / "out")
    assert written.made["dicom-seg"] == []
    assert len(written.made["dicom-pm"]) == 2
    zero = replace(view, native={"hirescam": np.zeros_like(view.native["hirescam"])})
    written = write_all(zero, tmp_path / "zero")
    assert written.made["dicom-seg"] == []
    values = [frame for frame, _ in frames_of(written.read("hirescam.label_0.pm.dcm"))]
    assert not np.any(values)
