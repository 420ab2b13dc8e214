"""The picture of one label: colours where the evidence is, sizes as promised, text drawn literally."""

from __future__ import annotations

import io
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from hirescam_cli.case.view import matrix
from hirescam_cli.geometry import affine as affines
from hirescam_cli.pictures import draw_label
from hirescam_cli.pictures.canvas import Canvas, literal, number, ticks
from hirescam_cli.pictures.colour import Scale, negative_ramp, oklab, positive_ramp, scan_grey
from hirescam_cli.pictures.figure import lay_out, render_label
from hirescam_cli.pictures.panels import draw_colour_bar
from hirescam_cli.pictures.scene import certificate, facts, find_focus, make_scene, probability
from tests.views import LABELS, Known, changed, make_case


@pytest.fixture(scope="module")
def known() -> Known:
    return make_case()


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    """Every text drawn from here on."""
    drawn: list[str] = []
    original = Canvas.text

    def recording(self, x, y, text, *args, **kwargs):
        drawn.append(text)
        return original(self, x, y, text, *args, **kwargs)

    monkeypatch.setattr(Canvas, "text", recording)
    return drawn


def drawn_png(view, *args, **kwargs) -> tuple[bytes, np.ndarray]:
    target = io.BytesIO()
    draw_label(view, *args, target, **kwargs)
    return target.getvalue(), np.asarray(Image.open(target))


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


@pytest.mark.parametrize("label", LABELS)
def test_the_picture_is_1200_pixels_wide_with_clean_margins(known, label) -> None:
    encoded, picture = drawn_png(known.view, "hirescam", label, signed=True)
    assert picture.shape[1:] == (1200, 3)
    assert picture.shape[0] == lay_out(make_scene(known.view, "hirescam", label).box).height <= 1600
    assert Image.open(io.BytesIO(encoded)).info == {}
    for edge in (picture[:6], picture[-6:], picture[:, :8], picture[:, -8:]):
        assert (edge == 255).all()


def test_the_same_call_gives_the_same_bytes_also_from_threads(known, tmp_path) -> None:
    jobs = [("hirescam", "nodule"), ("gradcam", LABELS[1]), ("hirescam", "effusion"), ("gradcam", "nodule")]
    once = [drawn_png(known.view, *job)[0] for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda job: drawn_png(known.view, *job)[0], jobs * 3))
    assert again == once * 3
    draw_label(known.view, *jobs[0], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes() == once[0]


def test_drawing_takes_under_600_ms_of_one_core(known) -> None:
    spent = []
    for _ in range(3):
        start = time.thread_time()
        drawn_png(known.view, "hirescam", "nodule", signed=True)
        spent.append(time.thread_time() - start)
    assert min(spent) < 0.6


@pytest.mark.parametrize("text", [r"$x_1$", r"$\frac{1}{2}$", "<b>&amp;", r"\alpha", "a_b^c", "$", "%s{0}"])
def test_text_is_drawn_literally(text) -> None:
    canvas = Canvas(600, 60)
    canvas.text(20, 40, text, 24)
    ink = np.flatnonzero((canvas.rgb() < 128).any(axis=(0, 2)))
    assert_allclose(ink[-1] - ink[0], canvas.text_width(text, 24), atol=8)
    widths = [canvas.text_width(text[:n], 24) for n in range(1, len(text) + 1)]
    assert all(b > a for a, b in pairwise(widths))


def test_characters_without_a_glyph_and_line_breaks_are_harmless() -> None:
    assert literal("nodule \n\t 結節") == "nodule \ufffd\ufffd"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        canvas = Canvas(300, 40)
        canvas.text(10, 30, "結節\x00\x07 é ß Ω", 20)
        assert (canvas.rgb() < 128).any()


def test_long_labels_are_wrapped_and_cut_within_their_room(texts) -> None:
    label = "a_very_long_label_" * 30
    known = make_case(labels=(label, " ".join(["many short words"] * 30)), shape_lps=(60, 40, 30))
    for name in (label, known.view.case.labels[1].name):
        picture = render_label(make_scene(known.view, "hirescam", name))
        assert (picture[:, -8:] == 255).all()
    assert any(text.endswith("…") for text in texts)
    canvas = Canvas(10, 10)
    lines = canvas.wrapped("one two three four five six seven", 100, 13)
    assert len(lines) == 2
    assert lines[0] == "one two three"
    assert lines[1].startswith("four five")
    assert lines[1].endswith("…")
    assert max(canvas.text_width(line, 13) for line in lines) <= 100


@pytest.mark.parametrize("ramp", [positive_ramp, negative_ramp])
def test_ramps_are_perceptually_even_and_grow_lighter(ramp) -> None:
    lab = oklab(ramp())
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.std() / steps.mean() < 0.02
    assert (np.diff(lab[:, 0]) > 0).all()


def test_oklab_of_known_colours() -> None:
    # White, and sRGB red, from the definition's published values.
    assert_allclose(oklab(np.array([1.0, 1.0, 1.0])), [1, 0, 0], atol=1e-3)
    assert_allclose(oklab(np.array([1.0, 0.0, 0.0])), [0.628, 0.225, 0.126], atol=1e-3)


def test_opacity_grows_from_zero() -> None:
    scale = Scale(2.0, signed=True)
    grey = np.full(5, 0.4, dtype=np.float32)
    blended = scale.over(grey, np.float32([0.0, 0.02, 0.2, 0.5, 1.0]))
    moved = np.abs(blended - 0.4).sum(axis=-1)
    assert moved[0] < 1e-6
    assert moved[1] < 0.02
    assert (np.diff(moved) > 0).all()


@pytest.mark.parametrize(
    "ends", [(-0.0143, 0.0207), (0.0, 0.261), (-0.00028, 0.0654), (-4.0, 0.001), (-1, 1)]
)
def test_labels_of_the_colour_bar_do_not_overlap(ends, monkeypatch) -> None:
    spans = []
    canvas = Canvas(500, 100)

    def recording(x, _y, text, size, anchor="left", bold=False):
        width = canvas.text_width(text, size, bold=bold)
        start = {"left": x, "right": x - width, "center": x - width / 2}[anchor]
        spans.append((start, start + width, text))

    monkeypatch.setattr(canvas, "text", recording)
    draw_colour_bar(canvas, 40, 30, 420, Scale(1.0, True), *ends, "title")
    spans.sort()
    labels = [span for span in spans if span[2] != "title"]
    assert "0" in [text for _, _, text in labels]
    assert all(left[1] + 3 < right[0] for left, right in pairwise(labels))
    assert number(max(ends, key=abs)) in [text for _, _, text in labels]


def test_ticks_and_numbers() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(-0.3, 0.71, 5) == pytest.approx([-0.25, 0, 0.25, 0.5])
    assert ticks(3, 3) == [3]
    assert [number(v) for v in (0, -0.0, 1234.5, -0.01234, 3.0e-7)] == ["0", "0", "1.23e3", "−0.0123", "3e−7"]
    assert [probability(v) for v in (0.0, 0.0004, 0.5, 0.99951, 1.0)] == [
        "0.000",
        "<0.001",
        "0.500",
        ">0.999",
        "1.000",
    ]


@pytest.mark.parametrize(("degrees", "said"), [(0.0, False), (12.0, True)])
def test_planes_of_an_oblique_scan_are_called_the_patients(texts, degrees, said) -> None:
    case = make_case(degrees=degrees)
    render_label(make_scene(case.view, "hirescam", "nodule"))
    titles = [text for text in texts if text.startswith(("Axial", "Coronal", "Sagittal"))]
    assert len(titles) == 3
    assert [" of the patient, " in title for title in titles] == [said] * 3
