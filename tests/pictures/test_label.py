"""The picture of one label: colours where the evidence is."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hirescam_cli.case.view import matrix
from hirescam_cli.geometry import affine as affines
from hirescam_cli.pictures.colour import Scale, scan_grey
from hirescam_cli.pictures.figure import lay_out, render_label
from hirescam_cli.pictures.scene import certificate, facts, find_focus, make_scene
from tests.views import changed, make_case


def pixel_in_picture(scene, name, point_mm) -> tuple[int, int]:
    layout = lay_out(scene.box)
    plane = next(p for p in scene.planes(layout.step_mm) if p.frame.name == name)
    row, column = plane.frame.pixel_of(point_mm)
    x, y = getattr(layout, name)
    return y + round(row), x + round(column)


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
def test_the_peaks_pixel_has_the_strongest_colour_over_the_scan(known, name) -> None:
    scene = make_scene(known.view, "hirescam", "nodule")
    assert_allclose(scene.focus.point_mm, known.peak_mm)
    plane = scene.plane(name, lay_out(scene.box).step_mm)
    row, column = (round(n) for n in plane.frame.pixel_of(known.peak_mm))
    peak = scene.cam[known.peak_cell]
    assert peak == scene.cam.max()
    assert_allclose(plane.evidence[row, column], peak, rtol=0.03)
    grey = scan_grey(plane.hu[row, column], (-1000.0, 200.0))
    expected = Scale(float(peak)).over(grey, plane.evidence[row, column]) * 255
    got = render_label(scene)[pixel_in_picture(scene, name, known.peak_mm)]
    assert_allclose(got, expected, atol=1)
    red, _, blue = got.astype(int)
    assert red - blue > 90


def test_pixels_without_evidence_keep_the_scans_grey(known) -> None:
    scene = make_scene(known.view, "hirescam", "nodule")
    # Mirrored about x = 10, and 6 mm off the crosshair.
    mirrored = known.peak_mm * [-1, 1, 1] + np.array([20, 6, 0])
    row, column = pixel_in_picture(scene, "axial", mirrored)
    picture = render_label(scene)
    assert known.view.map_of("hirescam", "nodule")[known.peak_cell[0], known.peak_cell[1], 4] < 0
    # -850 HU in a window from -1000 to 200.
    assert_allclose(picture[row, column], 255 * 150 / 1200, atol=1)


def test_negative_evidence_is_cold_if_signed_and_absent_otherwise(known) -> None:
    cold_mm = affines.apply(
        known.view.affines_ras["stretch"], [known.peak_cell[0], known.peak_cell[1], 5 - known.peak_cell[2]]
    )
    cold_mm[1] += 6.0  # off the crosshair
    plain = make_scene(known.view, "hirescam", "nodule")
    signed = make_scene(known.view, "hirescam", "nodule", signed=True)
    at = pixel_in_picture(plain, "axial", cold_mm)
    red, green, blue = render_label(plain)[at].astype(int)
    assert red == green == blue
    red, _, blue = render_label(signed)[at].astype(int)
    assert blue - red > 20


def test_the_signed_scale_gives_equal_magnitudes_equal_strength(known) -> None:
    scene = make_scene(known.view, "hirescam", "nodule", signed=True)
    cam = np.full_like(scene.cam, 0.1)
    cam[0, 0, 0] = -0.4
    scene = replace(scene, cam=cam)
    assert scene.scale == Scale(pytest.approx(0.4), True)
    assert_allclose(scene.scale.strength(np.float32([-0.4, -0.1, 0.1])), [-1.0, -0.25, 0.25])


def test_the_scale_runs_from_zero_to_the_maps_maximum(known) -> None:
    scene = make_scene(known.view, "hirescam", "nodule")
    assert scene.scale == Scale(float(scene.cam.max()), False)
    values = scene.cam[known.peak_cell] * np.float32([-1, 0, 0.5, 2])
    assert_allclose(scene.scale.strength(values), [0, 0, 0.5, 1])


def test_voxels_that_the_network_did_not_see_are_greyed(known) -> None:
    scene = make_scene(known.view, "hirescam", "nodule")
    step = lay_out(scene.box).step_mm
    plane = scene.plane("coronal", step)
    rgb = plane.rgb((-1000.0, 200.0), scene.scale).astype(int)
    # 240 mm of scan, of which the network saw the middle 198 mm (up to its whole slice groups).
    rows = np.flatnonzero(~plane.seen.any(axis=1))
    assert_allclose(len(rows) * step, 240 - 198, atol=2.5)
    assert (np.ptp(rgb[rows], axis=-1) == 0).all()
    tissue = (plane.hu > 30) & (plane.hu < 50)
    clear, greyed = rgb[tissue & plane.seen & (plane.evidence <= 0)], rgb[tissue & ~plane.seen]
    assert clear.min() > 215
    assert 60 < greyed.min() <= greyed.max() < 165
    air = rgb[(plane.hu < -990) & ~plane.seen]
    assert air.min() > 15


def test_outside_an_oblique_scan_is_black() -> None:
    scene = make_scene(make_case(degrees=20.0).view, "hirescam", "nodule", signed=True)
    plane = scene.plane("axial", 1.0)
    rgb = plane.rgb((-1000.0, 200.0), scene.scale)
    assert not plane.inside[0, 0]
    assert (rgb[~plane.inside] == 0).all()
    assert (rgb[plane.inside].max(axis=-1) > 0).mean() > 0.3


def test_without_positive_evidence_it_says_so_and_colours_nothing(known, texts) -> None:
    scene = make_scene(known.view, "hirescam", "effusion")
    assert scene.focus.kind == "middle"
    assert_allclose(scene.focus.point_mm, [10.0, -20.0, -300.0])
    picture = render_label(scene).astype(int)
    assert "No positive evidence anywhere." in texts
    assert any("−0.0002 logits" in text for text in texts)
    layout = lay_out(scene.box)
    for plane, corner in zip(
        scene.planes(layout.step_mm), (layout.axial, layout.coronal, layout.sagittal), strict=True
    ):
        rows, columns = plane.frame.shape
        panel = picture[corner[1] : corner[1] + rows, corner[0] : corner[0] + columns]
        assert np.ptp(panel, axis=-1).max() == 0
    assert not any("Evidence for" in text for text in texts)


def test_signed_without_positive_evidence_shows_the_most_negative_cell(known, texts) -> None:
    scene = make_scene(known.view, "hirescam", "effusion", signed=True)
    assert scene.focus.kind == "strongest-negative"
    assert scene.focus.cell == np.unravel_index(scene.cam.argmin(), scene.cam.shape)
    render_label(scene)
    assert "No positive evidence anywhere." in texts
    assert "Lowest" in texts
    assert any("against (cold)" in text for text in texts)


def test_placements_put_the_same_peak_at_different_points(known) -> None:
    stretch = make_scene(known.view, "hirescam", "nodule")
    field = make_scene(known.view, "hirescam", "nodule", placement="receptive-field")
    assert stretch.focus.cell == field.focus.cell == known.peak_cell
    centre = affines.apply(known.view.affines_ras["stretch"], [known.peak_cell[0], 2.5, 2.5])
    away, nearer = (np.array(s.focus.point_mm) - centre for s in (stretch, field))
    assert_allclose(nearer, away / 2, atol=1e-9)
    assert ("Placement", "receptive field of the cells") in facts(field)


def test_true_cells_hold_only_values_of_the_map(known) -> None:
    scene = make_scene(known.view, "hirescam", "nodule", smooth=False)
    plane = scene.plane("axial", 1.0)
    values = np.unique(plane.evidence)
    assert set(values[values != 0].tolist()) <= set(scene.cam[known.peak_cell[0]].ravel().tolist())
    assert len(values) >= 20
    assert ("Map", "6 × 6 cells per slice group, as they are") in facts(scene)


def test_a_peak_outside_the_scan_is_said_to_be_there_and_the_planes_stay_inside(known) -> None:
    view = known.view
    cam = np.zeros_like(view.native["hirescam"])
    cam[0, 0, 0, 0] = 1.0
    affine = view.affines_ras["stretch"] @ affines.scaling((1, 1, 1), (-40.0, 0.0, 0.0))
    target = msgspec.structs.replace(view.case.target, affines={"stretch": matrix(affine)})
    moved = changed(replace(view, native={"hirescam": cam}), target=target)
    scene = make_scene(moved, "hirescam", "nodule")
    assert scene.focus.beyond
    assert scene.focus.cell_mm[2] > scene.box.high[2]
    # The last slice's centre: 4 mm slices about z = -300.
    assert_allclose(scene.focus.point_mm[2], -300 + 29.5 * 4)
    assert any("outside the scan" in value for _, value in facts(scene))
    inside = find_focus(view, view.map_of("hirescam", "nodule"), view.affines_ras["stretch"])
    assert not inside.beyond


def test_certificates_tell_complete_from_incomplete(known, texts) -> None:
    entry = known.view.label("nodule")
    assert certificate(entry, "hirescam").startswith("complete: sum + bias = logit, residual ")
    assert certificate(entry, "gradcam") == "not complete: sum + bias ≠ logit, residual 3"
    render_label(make_scene(known.view, "gradcam", "nodule"))
    assert "Grad-CAM at conv2d.7" in texts
    assert any(text.startswith("not complete") for text in texts)


def test_the_caption_holds_what_it_promises(known, texts) -> None:
    render_label(make_scene(known.view, "hirescam", "nodule"))
    caption = " | ".join(texts)
    for part in (
        "nodule",
        "probability 0.990",
        "logit 4.59",
        "HiResCAM",
        "stretch",
        "complete:",
        "DEMONSTRATION MODEL, NO CLINICAL MEANING",
        "model made-up",
        f"case {known.view.case.case}",
    ):
        assert part in caption
    assert "0.198 logits at R 70, P 0, z −288.0 mm" in caption
