"""The picture of one label: its size, its text and its colour bar."""

from __future__ import annotations

import io
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from hirescam_cli.pictures import draw_label
from hirescam_cli.pictures.canvas import Canvas, literal, number, ticks
from hirescam_cli.pictures.colour import Scale, negative_ramp, oklab, positive_ramp
from hirescam_cli.pictures.figure import lay_out, render_label
from hirescam_cli.pictures.panels import draw_colour_bar
from hirescam_cli.pictures.scene import make_scene, probability
from tests.views import LABELS, make_case


def drawn_png(view, *args, **kwargs) -> tuple[bytes, np.ndarray]:
    target = io.BytesIO()
    draw_label(view, *args, target, **kwargs)
    return target.getvalue(), np.asarray(Image.open(target))


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
