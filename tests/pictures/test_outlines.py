"""Outlines run exactly around the pixels whose centres lie in a mask, in every plane and on every grid."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray

from hirescam_cli.case.record import Case
from hirescam_cli.case.view import Outlined
from hirescam_cli.geometry import Grid, reorient
from hirescam_cli.geometry import affine as affines
from hirescam_cli.masks.mask import Mask
from hirescam_cli.outlining import OutlineOptions, find_outlines
from hirescam_cli.pictures.compare import comparison_scenes, render_comparison
from hirescam_cli.pictures.figure import lay_out, render_label
from hirescam_cli.pictures.gif import LADDER, encode_gif, render_frames
from hirescam_cli.pictures.mosaic import render_mosaic
from hirescam_cli.pictures.outlines import (
    COLOURS,
    in_patient,
    on_grid,
    on_plane,
    outlines_of,
    trace,
)
from hirescam_cli.pictures.scene import make_scene
from tests.masks.mask_world import GRIDS, OBLIQUE, blob, nifti


def filled(lines: list[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixel centres lie inside an odd number of the lines, as matplotlib tells."""
    centres = np.stack(np.indices(shape), axis=-1).reshape(-1, 2)
    inside = np.zeros(len(centres), dtype=np.bool_)
    for line in lines:
        inside ^= Polygon(line).contains_points(centres)
    return inside.reshape(shape)


def mask_of(inside: NDArray[np.bool_], affine: NDArray[np.float64], name: str = "nodule") -> Mask:
    return Mask(name, inside, affine, Path("case") / f"{name}.nii.gz", "0" * 64)


def test_one_pixel_has_four_corners() -> None:
    inside = np.zeros((4, 5), dtype=np.bool_)
    inside[1, 3] = True
    (line,) = trace(inside)
    assert sorted(map(tuple, line.tolist())) == [(0.5, 2.5), (0.5, 3.5), (1.5, 2.5), (1.5, 3.5)]
    assert trace(np.zeros((3, 3), np.bool_)) == []


def test_a_ring_has_two_lines_and_touching_pixels_have_one_each() -> None:
    ring = np.ones((5, 5), dtype=np.bool_)
    ring[2, 2] = False
    assert sorted(len(line) for line in trace(ring)) == [4, 4]
    touching = np.eye(2, dtype=np.bool_)
    assert [len(line) for line in trace(touching)] == [4, 4]
    assert np.array_equal(filled(trace(touching), (2, 2)), touching)


@pytest.mark.parametrize("seed", range(12))
def test_any_shape_is_given_back_by_its_lines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random((17, 13)) < (0.15, 0.5, 0.85)[seed % 3]
    lines = trace(inside)
    assert np.array_equal(filled(lines, inside.shape), inside)
    for line in lines:
        steps = np.diff(np.vstack([line, line[:1]]), axis=0)
        assert ((steps == 0).sum(axis=1) == 1).all()
        assert (np.abs(steps[:, 0] != 0).astype(int)[:-1] != (steps[1:, 0] != 0)).all()


@pytest.mark.parametrize("affine", GRIDS.values(), ids=GRIDS)
def test_a_grid_takes_the_mask_where_its_centres_lie(affine: NDArray[np.float64]) -> None:
    inside = blob() > 0
    fine = Grid(
        (21, 18, 15),
        affine
        @ np.array([[1 / 3, 0, 0, -1 / 3], [0, 1 / 3, 0, -1 / 3], [0, 0, 1 / 3, -1 / 3], [0, 0, 0, 1]]),
    )
    found = on_grid(mask_of(inside, affine), fine)
    assert np.array_equal(found, inside.repeat(3, 0).repeat(3, 1).repeat(3, 2))
    other = Grid((6, 7, 5), OBLIQUE)
    taken = on_grid(mask_of(inside, affine), other)
    for index in np.ndindex(other.shape):
        at = np.rint(affines.apply(np.linalg.inv(affine), affines.apply(OBLIQUE, index))).astype(int)
        within = ((at >= 0) & (at < inside.shape)).all()
        assert taken[index] == bool(within and inside[tuple(at)])


@pytest.mark.parametrize("affine", GRIDS.values(), ids=GRIDS)
def test_lines_for_the_page_lie_in_the_scans_slices(affine: NDArray[np.float64]) -> None:
    inside = blob() > 0
    scan = Grid((8, 9, 7), affine)
    lines = in_patient(mask_of(inside, affine), scan)
    order, upright = reorient(scan, "IPL")
    whole = np.zeros(scan.shape, dtype=np.bool_)
    whole[:7, :6, :5] = inside
    expected = order.apply(whole)
    to_index = np.linalg.inv(upright.affine_ras)
    for axis, plane in enumerate(("axial", "coronal", "sagittal")):
        found = np.zeros(upright.shape, dtype=np.bool_)
        slices = np.moveaxis(found, axis, 0)
        for name, points in lines:
            if name == plane:
                assert np.array_equal(points[0], points[-1])
                index = affines.apply(to_index, points)
                assert np.ptp(index[:, axis]) < 1e-9
                n = round(index[0, axis])
                slices[n] ^= filled([np.delete(index, axis, axis=1)], slices[n].shape)
        assert np.array_equal(found, expected)


def lesion(known) -> NDArray[np.bool_]:
    """A box of voxels around the known lesion, on the scan's grid."""
    grid = known.view.volume.grid
    centre = np.rint(affines.apply(np.linalg.inv(grid.affine_ras), known.peak_mm)).astype(int)
    inside = np.zeros(grid.shape, dtype=np.bool_)
    inside[tuple(slice(c - 9, c + 10) for c in centre)] = True
    return inside


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
def test_the_line_lies_where_the_picture_shows_the_mask(known, name: str) -> None:
    inside = lesion(known)
    mask = mask_of(inside, known.view.volume.affine_ras)
    view = replace(known.view, masks=(Outlined(mask, "nodule"),))
    scene = make_scene(view, "hirescam", "nodule")
    layout = lay_out(scene.box)
    plane = next(p.frame for p in scene.planes(layout.step_mm) if p.frame.name == name)
    pixels = np.stack(np.indices(plane.shape), axis=-1)
    world = affines.apply(plane.affine_ras, np.concatenate([pixels, np.zeros((*plane.shape, 1))], axis=-1))
    index = np.rint(affines.apply(np.linalg.inv(mask.affine_ras), world) - 1e-6).astype(int)
    within = ((index >= 0) & (index < inside.shape)).all(axis=-1)
    expected = np.zeros(plane.shape, dtype=np.bool_)
    expected[within] = inside[tuple(index[within].T)]
    assert expected.any()
    assert np.array_equal(filled(on_plane(mask, plane), plane.shape), expected)

    with_line, without = render_label(scene), render_label(make_scene(known.view, "hirescam", "nodule"))
    x, y = getattr(layout, name)
    rows, columns = plane.shape
    changed = (with_line != without).any(axis=-1)[y : y + rows, x : x + columns]
    inner = expected.copy()
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        inner &= np.roll(expected, step, axis)
    edge = expected & ~inner
    near = np.zeros_like(edge)
    for row, column in np.argwhere(edge):
        near[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4] = True
    assert changed.any()
    assert not (changed & ~near).any()


def test_the_label_own_mask_comes_first_and_those_of_other_labels_stay_away(known) -> None:
    affine = known.view.volume.affine_ras
    own, organ, other = (mask_of(lesion(known), affine, name) for name in ("nodule", "lung", "effusion"))
    masks = (Outlined(organ), Outlined(other, "effusion"), Outlined(own, "nodule"))
    view = replace(known.view, masks=masks)
    assert [(mask.name, colour) for mask, colour in outlines_of(view, "nodule")] == [
        ("nodule", COLOURS[0]),
        ("lung", COLOURS[1]),
    ]
    assert [mask.name for mask, _ in outlines_of(view, "effusion")] == ["effusion", "lung"]
    everywhere = replace(known.view, masks=(Outlined(organ), Outlined(own)))
    assert [mask.name for mask, _ in outlines_of(everywhere, "nodule")] == ["nodule", "lung"]
    assert [mask.name for mask, _ in outlines_of(everywhere, "effusion")] == ["lung", "nodule"]


def renamed(case: Case, *names: str) -> Case:
    """A case whose labels are called so."""
    labels = [msgspec.structs.replace(one, name=name) for one, name in zip(case.labels, names, strict=True)]
    return msgspec.structs.replace(case, labels=tuple(labels))


def test_a_mask_on_every_picture_is_only_that_label_s_own_which_is_called_so(known) -> None:
    affine = known.view.volume.affine_ras
    case = renamed(known.view.case, "結節", "腫瘤", *(f"{n}" for n in range(len(known.view.case.labels) - 2)))
    view = replace(known.view, case=case, masks=(Outlined(mask_of(lesion(known), affine, "結節")),))
    assert [colour for _, colour in outlines_of(view, "結節")] == [COLOURS[0]]
    assert [colour for _, colour in outlines_of(view, "腫瘤")] == [COLOURS[1]]


def test_which_masks_of_a_case_are_outlined(known, tmp_path: Path) -> None:
    case = renamed(
        known.view.case, "nodule <1cm", "nodule >1cm", *map(str, range(len(known.view.case.labels) - 2))
    )
    case = msgspec.structs.replace(case, case="ct")

    def outlined(
        *names: str, everywhere: tuple[str, ...] = ()
    ) -> tuple[list[tuple[str | None, str]], list[str]]:
        shutil.rmtree(tmp_path / "ct", ignore_errors=True)
        for name in names:
            nifti(
                tmp_path / f"ct/{name}.nii.gz", lesion(known).astype(np.uint8), known.view.volume.affine_ras
            )
        outlines = find_outlines(OutlineOptions(tmp_path, None, everywhere or None), ["ct"])
        assert outlines is not None
        found, problems = outlines.of(case)
        return [(one.label, one.mask.name) for one in found], [problem.code for problem in problems]

    assert outlined("nodule >1cm", "heart") == ([("nodule >1cm", "nodule >1cm")], [])
    assert outlined("nodule 1cm", "heart") == ([], ["mask-ambiguous"])
    assert outlined("nodule >1cm", "heart", everywhere=("Heart",)) == (
        [("nodule >1cm", "nodule >1cm"), (None, "heart")],
        [],
    )


def test_a_mosaic_has_the_line_too(known) -> None:
    mask = mask_of(lesion(known), known.view.volume.affine_ras)
    lined = make_scene(replace(known.view, masks=(Outlined(mask, "nodule"),)), "hirescam", "nodule")
    plain = make_scene(known.view, "hirescam", "nodule")
    pictures = [render_mosaic(scene.view, "hirescam", [scene]) for scene in (plain, lined)]
    assert 0 < int((pictures[0] != pictures[1]).any(axis=-1).sum()) < 5000


def test_comparison_and_animation_have_the_line_too(known) -> None:
    mask = mask_of(lesion(known), known.view.volume.affine_ras)
    view = replace(known.view, masks=(Outlined(mask, "nodule"),))
    plain = render_comparison(*comparison_scenes(known.view, "nodule"))
    lined = render_comparison(*comparison_scenes(view, "nodule"))
    changed = np.flatnonzero((plain != lined).any(axis=(0, 2)))
    thirds = {int(column) // 400 for column in changed}
    assert thirds == {0, 1, 2}
    green = np.rint(np.array(to_rgb(COLOURS[0])) * 255).astype(int)
    quality = LADDER[-1]
    frames = list(render_frames(make_scene(view, "hirescam", "nodule"), quality))
    marked = [bool((frame == green).all(axis=-1).any()) for frame in frames]
    assert 0 < sum(marked) < len(frames)
    without = render_frames(make_scene(known.view, "hirescam", "nodule"), quality)
    assert not any((frame == green).all(axis=-1).any() for frame in without)
    assert encode_gif(make_scene(view, "hirescam", "nodule"))[:6] == b"GIF89a"


def test_coarse_lines_run_around_squares_of_voxels() -> None:
    inside = np.zeros((12, 12, 12), dtype=np.bool_)
    inside[3:9, 3:9, 3:9] = True
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    for name, points in in_patient(mask_of(inside, affine), Grid(inside.shape, affine), 3):
        normal = {"axial": 2, "coronal": 1, "sagittal": 0}[name]
        across = np.delete(points, normal, axis=1)
        # Squares of 3 voxels, counted from the upright grid's first voxel: the mask begins with one.
        assert {tuple(corner) for corner in across.tolist()} == {
            (5.0, 5.0),
            (5.0, 17.0),
            (17.0, 5.0),
            (17.0, 17.0),
        }
        assert points[0, normal] in np.arange(6.0, 18.0, 2.0)
