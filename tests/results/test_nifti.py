"""NIfTI output: overlays against an independent interpolation, read back by nibabel and by SimpleITK."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import linear_matrix
from hirescam_cli.results.nifti_file import _row_blocks, write_cams, write_map, write_overlay
from tests.geometry.worlds import ORIENTATIONS, affine_of, rotated

# The network's input: 12 slices of 420 x 420 voxels of 0.8 mm; its last layer has 4 x 6 x 6 cells.
INPUT = affine_of("IPL", (0.8, 0.8, 0.8), (170.0, 168.0, -95.0))
CELLS = {
    "stretch": affines.scaling((3, 70, 70), (1, 34.5, 34.5)),
    "receptive-field": affines.scaling((3, 32, 32), (1, 128, 128)),
}


def some_map(seed: int = 0, shape: tuple[int, ...] = (4, 6, 6)) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(size=shape) * 3).astype(np.float32)


def scan_grid(codes: str, degrees: float = 0.0) -> Grid:
    """An anisotropic grid that reaches beyond the network's input on every side."""
    spacing = {"L": 13.7, "R": 13.7, "A": 15.1, "P": 15.1, "I": 0.9, "S": 0.9}
    count = {"L": 29, "R": 29, "A": 25, "P": 25, "I": 14, "S": 14}
    shape = tuple(count[c] for c in codes)
    affine = rotated(affine_of(codes, [spacing[c] for c in codes]), (1, -1, 2), degrees)
    centre = affines.apply(INPUT, (5.5, 209.5, 209.5))
    affine[:3, 3] = centre + np.array([0.7, 1.3, 0.1]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def at_world(cam_syx: NDArray[np.float32], affine: Affine, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map at world points [n, 3], by SciPy: clamped in the outer half cells, 0 outside the cells."""
    cells = affines.apply(np.linalg.inv(affine), world)
    size = np.array(cam_syx.shape)
    inside = ((cells >= -0.5) & (cells <= size - 0.5)).all(axis=1)
    values = ndimage.map_coordinates(cam_syx.astype(float), np.clip(cells, 0, size - 1).T, order=1)
    return np.where(inside, values, 0.0)


def check_overlay(path: Path, cam: NDArray[np.float32], map_affine: Affine, grid: Grid) -> None:
    write_overlay(path, cam, map_affine, grid, compress=1)
    image = nibabel.load(path)
    assert image.shape == grid.shape
    np.testing.assert_allclose(image.affine, grid.affine_ras, rtol=1e-6, atol=1e-4)
    values = image.get_fdata()
    slope = float(image.dataobj.slope)
    assert slope == pytest.approx(np.abs(cam).max() / 127, rel=1e-6)
    index = np.random.default_rng(1).integers(0, grid.shape, size=(3000, 3))
    expected = at_world(cam, map_affine, affines.apply(grid.affine_ras, index))
    found = values[tuple(index.T)]
    assert np.abs(found - expected).max() <= slope * (0.5 + 1e-4)
    outside = expected == 0
    assert 0.1 < outside.mean() < 0.98
    assert not found[outside].any()


@pytest.mark.parametrize("placement", sorted(CELLS))
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_an_overlay_is_the_map_at_each_voxels_world_position(
    tmp_path: Path, codes: str, placement: str
) -> None:
    check_overlay(tmp_path / "o.nii.gz", some_map(), INPUT @ CELLS[placement], scan_grid(codes))


@pytest.mark.parametrize("placement", sorted(CELLS))
@pytest.mark.parametrize("codes", ORIENTATIONS[::7])
@pytest.mark.parametrize("degrees", [0.02, 4.0, 25.0])
def test_an_overlay_on_a_grid_oblique_to_the_map(
    tmp_path: Path, codes: str, placement: str, degrees: float
) -> None:
    """An oblique scan whose network input is not oblique with it."""
    check_overlay(tmp_path / "o.nii.gz", some_map(2), INPUT @ CELLS[placement], scan_grid(codes, degrees))


@pytest.mark.parametrize("degrees", [4.0, 25.0])
def test_an_overlay_where_scan_and_input_are_oblique_together(tmp_path: Path, degrees: float) -> None:
    turn = rotated(np.eye(4), (3, 1, 2), degrees)
    grid = scan_grid("LPS")
    check_overlay(
        tmp_path / "o.nii.gz",
        some_map(3),
        turn @ INPUT @ CELLS["stretch"],
        Grid(grid.shape, turn @ grid.affine_ras),
    )


@pytest.mark.parametrize("codes", ["LPS", "RAS", "ASL", "IRP"])
@pytest.mark.parametrize("degrees", [0.0, 15.0])
def test_simpleitk_reads_the_same_values_at_the_same_places(
    tmp_path: Path, codes: str, degrees: float
) -> None:
    cam, map_affine, grid = some_map(4), INPUT @ CELLS["stretch"], scan_grid(codes, degrees)
    write_overlay(tmp_path / "o.nii.gz", cam, map_affine, grid, compress=1)
    image = sitk.ReadImage(str(tmp_path / "o.nii.gz"))
    slope = np.abs(cam).max() / 127
    index = np.random.default_rng(5).integers(0, grid.shape, size=(300, 3))
    world = np.array([image.TransformIndexToPhysicalPoint([int(v) for v in i]) for i in index]) * (-1, -1, 1)
    np.testing.assert_allclose(world, affines.apply(grid.affine_ras, index), atol=1e-3)
    found = np.array([image.GetPixel([int(v) for v in i]) for i in index])
    expected = at_world(cam, map_affine, affines.apply(grid.affine_ras, index))
    assert np.abs(found - expected).max() <= slope * (0.5 + 1e-4)
    assert np.count_nonzero(found) > 20


def test_the_header_says_what_the_values_are(tmp_path: Path) -> None:
    cam, grid = some_map(6), scan_grid("LPS")
    write_overlay(tmp_path / "o.nii.gz", cam, INPUT @ CELLS["stretch"], grid, compress=1)
    header = nibabel.load(tmp_path / "o.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"
    assert header.get_data_dtype() == np.int8
    assert float(header["cal_min"]) == np.float32(0.05 * cam.max())
    assert float(header["cal_max"]) == np.float32(cam.max())
    assert header["descrip"].tobytes().rstrip(b"\0") == b"hirescam"
    for field in ("aux_file", "intent_name", "db_name", "data_type"):
        assert not header[field].tobytes().strip(b"\0")
    np.testing.assert_allclose(header.get_qform(), grid.affine_ras, atol=1e-3)
    assert nibabel.load(tmp_path / "o.nii.gz").get_fdata().max() <= float(header["cal_max"]) * 1.0001


def test_a_sheared_scan_keeps_its_affine_in_the_sform_alone(tmp_path: Path) -> None:
    affine = affine_of("LPS", (20, 20, 1.0), (200, 200, -100))
    affine[1, 2] = 0.3
    grid = Grid((20, 20, 10), affine)
    write_overlay(tmp_path / "o.nii", some_map(), INPUT @ CELLS["stretch"], grid, compress=1)
    image = nibabel.load(tmp_path / "o.nii")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)


def test_a_map_without_positive_evidence_has_a_maximum_of_zero(tmp_path: Path) -> None:
    cam = -np.abs(some_map())
    write_overlay(tmp_path / "o.nii.gz", cam, INPUT @ CELLS["stretch"], scan_grid("LPS"), compress=1)
    image = nibabel.load(tmp_path / "o.nii.gz")
    assert float(image.header["cal_max"]) == float(image.header["cal_min"]) == 0.0
    assert float(cam.min()) * 1.001 <= image.get_fdata().min() < 0.3 * float(cam.min())
    assert image.get_fdata().max() == 0.0


@pytest.mark.parametrize("value", [0.0, 1e-44, 3e38])
def test_extreme_maps_stay_finite(tmp_path: Path, value: float) -> None:
    cam = np.full((4, 6, 6), value, dtype=np.float32)
    write_overlay(tmp_path / "o.nii.gz", cam, INPUT @ CELLS["stretch"], scan_grid("LPS"), compress=1)
    found = nibabel.load(tmp_path / "o.nii.gz").get_fdata()
    assert np.isfinite(found).all()
    assert found.max() == pytest.approx(value, rel=1e-5, abs=1e-30)


def test_the_exact_maps_come_back_bit_by_bit(tmp_path: Path) -> None:
    cams = some_map(7, (3, 4, 6, 5))
    affine = INPUT @ CELLS["receptive-field"]
    write_cams(tmp_path / "c.nii.gz", cams, affine, compress=1)
    image = nibabel.load(tmp_path / "c.nii.gz")
    assert (image.shape, image.get_data_dtype()) == ((4, 6, 5, 3), np.float32)
    np.testing.assert_array_equal(np.asarray(image.dataobj), np.moveaxis(cams, 0, -1))
    np.testing.assert_allclose(image.affine, affine, rtol=1e-6)
    header = image.header
    assert (int(header["sform_code"]), int(header["qform_code"]), header.get_xyzt_units()[0]) == (1, 1, "mm")
    assert float(header["cal_max"]) == cams.max()
    assert float(header["cal_min"]) == np.float32(0.05 * float(cams.max()))
    read = sitk.ReadImage(str(tmp_path / "c.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), cams.transpose(0, 3, 2, 1))
    corner = np.array(read.TransformIndexToPhysicalPoint((3, 0, 4, 0))[:3]) * (-1, -1, 1)
    np.testing.assert_allclose(corner, affines.apply(affine, (3, 0, 4)), atol=1e-3)


def test_one_map_on_its_own_grid(tmp_path: Path) -> None:
    cam, affine = some_map(8), INPUT @ CELLS["stretch"]
    write_map(tmp_path / "m.nii.gz", cam, affine, compress=2)
    image = nibabel.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), cam)
    np.testing.assert_allclose(image.affine, affine, rtol=1e-6)
    assert float(image.header["cal_max"]) == cam.max()


@pytest.mark.parametrize("compress", [0, 1, 2, 3])
def test_the_same_content_gives_the_same_bytes_whatever_the_name_and_time(
    tmp_path: Path, compress: int
) -> None:
    for name in ("a", "b"):
        write_overlay(
            tmp_path / f"{name}.nii.gz",
            some_map(),
            INPUT @ CELLS["stretch"],
            scan_grid("LPS"),
            compress=compress,
        )
    first, second = ((tmp_path / f"{name}.nii.gz").read_bytes() for name in ("a", "b"))
    assert first == second
    write_overlay(
        tmp_path / "plain.nii", some_map(), INPUT @ CELLS["stretch"], scan_grid("LPS"), compress=compress
    )
    assert gzip.decompress(first) == (tmp_path / "plain.nii").read_bytes()


def test_a_scan_too_long_for_nifti_1_is_written_as_nifti_2(tmp_path: Path) -> None:
    grid = Grid((40000, 2, 2), affine_of("LPS", (0.008, 100, 4), (150, 60, -100)))
    write_overlay(tmp_path / "o.nii.gz", some_map(), INPUT @ CELLS["stretch"], grid, compress=1)
    image: Any = nibabel.load(tmp_path / "o.nii.gz")
    assert isinstance(image, nibabel.Nifti2Image)
    assert image.shape == grid.shape


@pytest.mark.parametrize(
    ("cells", "positions"),
    [
        (6, np.arange(512) / 85.3 - 0.5),  # outer half cells, where all rows are equal
        (6, np.arange(-200, 700) / 85.3),  # and rows beyond all cells
        (6, np.arange(40) / 85.3 + 2.2),
        (6, -np.arange(900) / 200.0 + 5.0),
        (105, np.arange(512) / 4.9 - 0.5),
        (1, np.arange(30) / 60.0),
        (7, np.full(5, 30.0)),
    ],
)
def test_blocks_of_rows_make_up_the_matrix(cells: int, positions: Any) -> None:
    weights = linear_matrix(cells, positions).astype(np.float32)
    rebuilt = np.full_like(weights, np.nan)
    end = 0
    for rows, columns, part in _row_blocks(weights):
        assert rows.start == end
        assert len(part) in (1, rows.stop - rows.start)
        assert len(part) <= 128
        rebuilt[rows] = 0.0
        rebuilt[rows, columns] = part
        end = rows.stop
    np.testing.assert_array_equal(rebuilt, weights)
    assert end == len(positions)


def test_blocks_need_few_columns() -> None:
    weights = linear_matrix(6, np.arange(512) / 85.3 - 0.5).astype(np.float32)
    found = [(rows.stop - rows.start, len(part), part.shape[1]) for rows, _, part in _row_blocks(weights)]
    outer, inner = [found[0], found[-1]], found[1:-1]
    assert [(rows, many) for rows, many, _ in outer] == [(43, 1), (42, 1)]
    assert len(inner) == 5
    assert all(rows == many and rows in (85, 86) for rows, many, _ in inner)
    assert max(columns for _, _, columns in found) == 2
