"""The animation, the comparison and the slice scores."""

from __future__ import annotations

import io
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image, ImageSequence

from hirescam_cli.errors import UsageError
from hirescam_cli.pictures import draw_comparison, draw_label, draw_slice_scores, draw_volume_gif
from hirescam_cli.pictures.canvas import Canvas
from hirescam_cli.pictures.colour import positive_ramp, to_bytes
from hirescam_cli.pictures.compare import common_scale, comparison_scenes
from hirescam_cli.pictures.gif import LADDER, palette, positions_mm, render_frames
from hirescam_cli.pictures.scene import make_scene, slice_positions_mm
from hirescam_cli.pictures.scores import heatmap, render_slice_scores, score_table
from tests.views import changed, make_case

HEAD, MARGIN = 92, 16


def gif_frames(view, label="nodule", **kwargs) -> tuple[bytes, list[np.ndarray]]:
    target = io.BytesIO()
    draw_volume_gif(view, "hirescam", label, target, **kwargs)
    frames = ImageSequence.Iterator(Image.open(target))
    return target.getvalue(), [np.asarray(frame.convert("RGB")).astype(int) for frame in frames]


def test_the_animation_goes_through_every_slice_from_head_to_feet(known) -> None:
    scene = make_scene(known.view, "hirescam", "nodule")
    z = positions_mm(scene, 135)
    # 60 slices of 4 mm about z = -300.
    assert_allclose(z, -300 + 118 - 4 * np.arange(60))
    _, frames = gif_frames(known.view)
    assert len(frames) == 60
    x = MARGIN + LADDER[0].side + 64
    marks = [int(np.flatnonzero((frame[:, x : x + 120] < 30).all(axis=(1, 2)))[0]) for frame in frames]
    assert (np.diff(marks) > 0).all()
    rows = round(LADDER[0].side * 200 / 240)
    assert_allclose(np.array(marks) - HEAD, (np.arange(60) + 0.5) / 60 * rows, atol=1.5)


def test_every_frame_of_the_animation_has_the_same_scale(known) -> None:
    scene = make_scene(known.view, "hirescam", "nodule")
    _, frames = gif_frames(known.view)
    step = 240 / LADDER[0].side
    rows = round(200 / step)
    bars = [frame[HEAD + rows + 12 : HEAD + rows + 24, MARGIN : MARGIN + 300] for frame in frames]
    assert all((bar == bars[0]).all() for bar in bars)
    coloured = 0
    for frame, z in zip(frames, positions_mm(scene, 135), strict=True):
        plane = scene.plane("axial", step, (*scene.focus.point_mm[:2], float(z)))
        row, column = (round(n) for n in plane.frame.pixel_of(known.peak_mm + np.array([12, -12, 0])))
        around = (slice(HEAD + row - 4, HEAD + row + 4), slice(MARGIN + column - 4, MARGIN + column + 4))
        wanted = plane.rgb((-1000.0, 200.0), scene.scale)[row - 4 : row + 4, column - 4 : column + 4]
        got, expected = frame[around].mean(axis=(0, 1)), wanted.mean(axis=(0, 1))
        assert_allclose(got, expected, atol=16)
        coloured += bool(got[0] - got[2] > 40)
    assert 5 <= coloured <= 30


def test_the_animation_obeys_its_limit_and_is_deterministic(known) -> None:
    first, full = gif_frames(known.view)
    assert len(first) < 8_000_000
    assert gif_frames(known.view)[0] == first
    small, fewer = gif_frames(known.view, max_bytes=150_000)
    assert len(small) <= 150_000 < len(first)
    assert fewer[0].size < full[0].size
    with pytest.raises(UsageError, match="expected at most 900") as caught:
        gif_frames(known.view, max_bytes=900)
    assert caught.value.code == "gif-size"


@pytest.mark.slow
def test_noise_of_full_size_still_fits_eight_megabytes() -> None:
    case = make_case(spacing_mm=(1.0, 1.0, 1.0), shape_lps=(300, 300, 140), slices=141, side=150)
    noise = np.random.default_rng(0).normal(-400, 300, case.view.volume.array_ijk.shape)
    volume = replace(case.view.volume, array_ijk=noise.astype(np.int16))
    target = io.BytesIO()
    draw_volume_gif(replace(case.view, volume=volume), "hirescam", "nodule", target)
    assert 500_000 < target.tell() < 8_000_000


def test_the_animation_without_positive_evidence_stays_grey(known) -> None:
    scene = make_scene(known.view, "hirescam", "effusion")
    frame = next(iter(render_frames(scene, LADDER[-1]))).astype(int)
    rows = round(LADDER[-1].side * 200 / 240)
    assert np.ptp(frame[HEAD : HEAD + rows, MARGIN : MARGIN + LADDER[-1].side], axis=-1).max() == 0
    assert len(gif_frames(known.view, "effusion", max_bytes=400_000)[0]) <= 400_000


@pytest.mark.parametrize("quality", LADDER)
def test_palettes_fit_and_hold_the_scales_end(known, quality) -> None:
    scale = make_scene(known.view, "hirescam", "nodule").scale
    colours = palette(scale, quality.colours)
    assert len(colours) <= quality.colours <= 256
    strongest = scale.over(np.float32([0.0, 1.0]), np.float32([scale.limit] * 2)) * 255
    for colour in [*strongest, [0, 0, 0], [255, 255, 255]]:
        assert np.abs(colours.astype(int) - colour).max(axis=1).min() <= 1


def test_the_comparison_shows_the_same_planes_on_one_scale(known) -> None:
    first, second, difference = comparison_scenes(known.view, "nodule")
    assert first.focus == second.focus == difference.focus
    assert_allclose(difference.cam, known.view.cams("gradcam")[..., 0] - known.view.cams("hirescam")[..., 0])
    scale = common_scale((first, second, difference))
    assert scale.signed
    assert scale.limit == max(np.abs(s.cam).max() for s in (first, second, difference))
    for a, b in zip(first.planes(2.0), second.planes(2.0), strict=True):
        assert (a.frame.affine_ras == b.frame.affine_ras).all()
        assert (a.hu == b.hu).all()


def test_the_comparison_is_drawn_with_both_certificates(known, monkeypatch) -> None:
    drawn: list[str] = []
    original = Canvas.text
    monkeypatch.setattr(
        Canvas,
        "text",
        lambda self, x, y, text, *a, **k: (drawn.append(text), original(self, x, y, text, *a, **k)),
    )
    target = io.BytesIO()
    draw_comparison(known.view, "nodule", target)
    picture = np.asarray(Image.open(target)).astype(int)
    assert picture.shape[1] == 1200
    for edge in (picture[:6], picture[-6:], picture[:, :8], picture[:, -8:]):
        assert (edge == 255).all()
    for text in (
        "HiResCAM",
        "Grad-CAM",
        "Grad-CAM − HiResCAM",
        "correlation of the maps 0.81",
        "peaks 40 mm apart",
    ):
        assert text in drawn
    assert sum("complete" in text for text in drawn) == 2
    # Warm in the HiResCAM column at its peak, cold in the difference, where Grad-CAM claims less.
    first, _, _ = comparison_scenes(known.view, "nodule")
    plane = first.plane("axial", 240 / 372)
    row, column = (round(n) for n in plane.frame.pixel_of(known.peak_mm))
    y = 176 + 26 + row
    warm, cold = picture[y, 24 + column], picture[y, 24 + 2 * (372 + 18) + column]
    assert warm[0] - warm[2] > 80
    assert cold[2] - cold[0] > 30


def test_a_comparison_needs_both_methods(known) -> None:
    alone = replace(known.view, native={"hirescam": known.view.native["hirescam"]})
    with pytest.raises(UsageError, match="maps of hirescam, expected two methods"):
        draw_comparison(alone, "nodule", io.BytesIO())


def test_slice_scores_lie_at_their_millimetres(known) -> None:
    table = score_table(known.view)
    z = table.positions_mm
    # 33 groups of 6 mm; the network's 99 slices of 2 mm lie about the scan's middle.
    assert_allclose(np.diff(z), -6.0)
    assert table.span_mm == (-180.0, -420.0)
    assert_allclose(slice_positions_mm((33, 6, 6), known.view.affines_ras["receptive-field"]), z)
    peak_group = int(np.argmax(table.scores[0]))
    assert peak_group == known.peak_cell[0]
    row = heatmap(table, 240)[0].astype(int)
    # Bright is strong, as in the maps; the grey of what was not seen is no strength.
    brightness = np.where((row == 158).all(axis=-1), 0, row.sum(axis=-1))
    assert abs((-180 - (brightness.argmax() + 0.5)) - z[peak_group]) <= 3.0


def test_slice_scores_are_on_one_scale_for_all_labels(known) -> None:
    table = score_table(known.view)
    assert [e.name for e in table.entries] == ["nodule", "cost_of $x_1$ & <b>", "effusion"]
    assert table.limit == table.scores[:, table.on_scan].max()
    rows = heatmap(table, 240).astype(int)
    peak = round(-180 - float(table.positions_mm[known.peak_cell[0]]))
    strongest, weaker, negative = rows[:, peak]
    assert strongest.sum() > weaker.sum()
    assert tuple(strongest) == tuple(to_bytes(positive_ramp()[-1])) == (255, 228, 92)
    assert negative[2] > negative[0]
    own = heatmap(table, 240, shared=False).astype(int)
    assert (own[0, peak] == strongest).all()
    assert own[1, peak].sum() > weaker.sum()
    assert own[1, peak][0] > own[1, peak][2]
    # The network saw the middle 198 mm.
    grey = (rows == 158).all(axis=(0, 2))
    assert abs(grey.sum() - 42) <= 2
    assert grey[0]
    assert grey[-1]


def test_slice_scores_of_chosen_labels_only(known) -> None:
    assert [e.name for e in score_table(known.view, ["effusion", "nodule"]).entries] == [
        "nodule",
        "effusion",
    ]


def test_83_labels_are_readable_and_sorted() -> None:
    names = [f"label_{n}" for n in range(82)] + [
        "a name that is far too long for the room beside the heatmap"
    ]
    known = make_case(labels=names, shape_lps=(60, 40, 30))
    target = io.BytesIO()
    draw_slice_scores(known.view, target)
    picture = np.asarray(Image.open(target))
    assert picture.shape == (104 + 83 * 14 + 138, 1200, 3)
    for edge in (picture[:6], picture[-6:], picture[:, :8], picture[:, -8:]):
        assert (edge == 255).all()
    probabilities = [e.probability for e in score_table(known.view).entries]
    assert probabilities == sorted(probabilities, reverse=True)


def test_all_negative_scores_do_not_scale_noise_to_full_strength(known) -> None:
    table = score_table(known.view, ["effusion"])
    assert table.scores.max() < 0
    assert table.limit == -table.scores[:, table.on_scan].min()
    rgb = heatmap(table, 240).astype(int)
    assert (rgb[..., 2] >= rgb[..., 0]).all()
    assert render_slice_scores(table).shape[1] == 1200


@pytest.mark.parametrize(
    "shape", [(60, 40, 1), (60, 40, 2), (2, 40, 30), (60, 1, 30), (30, 20, 140), (1, 1, 1)]
)
def test_scans_of_extreme_shapes_are_drawn_within_the_margins(shape) -> None:
    case = make_case(shape_lps=shape)
    pictures = [io.BytesIO() for _ in range(4)]
    draw_label(case.view, "hirescam", "nodule", pictures[0], signed=True)
    draw_slice_scores(case.view, pictures[1])
    draw_comparison(case.view, "nodule", pictures[2])
    draw_volume_gif(case.view, "hirescam", "nodule", pictures[3], max_bytes=1_000_000)
    for target in pictures[:3]:
        picture = np.asarray(Image.open(target))
        assert picture.shape[1] == 1200
        assert picture.shape[0] < 2400
        for edge in (picture[:6], picture[-6:], picture[:, :8], picture[:, -8:]):
            assert (edge == 255).all()
    assert Image.open(pictures[3]).n_frames in {min(shape[2], quality.frames) for quality in LADDER}


def test_every_kind_of_picture_goes_to_paths(known, tmp_path) -> None:
    folder = tmp_path
    draw_label(known.view, "hirescam", "nodule", folder / "hirescam.n.png")
    draw_slice_scores(known.view, folder / "slice-scores.png")
    draw_comparison(known.view, "nodule", str(folder / "comparison.n.png"))
    gif = folder / "gradcam.n.gif"
    draw_volume_gif(known.view, "gradcam", "nodule", gif, max_bytes=400_000)
    assert sorted(path.name for path in folder.iterdir()) == [
        "comparison.n.png",
        "gradcam.n.gif",
        "hirescam.n.png",
        "slice-scores.png",
    ]
    for path in folder.iterdir():
        with Image.open(path) as image:
            image.load()


MARK = "DEMONSTRATION MODEL, NO CLINICAL MEANING"


def _written(monkeypatch, draw) -> list[str]:
    """Every text that a picture holds."""
    drawn: list[str] = []
    original = Canvas.text

    def recording(self, x, y, text, *args, **kwargs):
        drawn.append(text)
        return original(self, x, y, text, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Canvas, "text", recording)
        draw(io.BytesIO())
    return drawn


@pytest.mark.parametrize("demonstration", [True, False])
@pytest.mark.parametrize("kind", ["label", "comparison", "scores", "animation"])
def test_every_picture_names_model_and_case_and_marks_a_demonstration(
    known, monkeypatch, kind, demonstration
) -> None:
    model = msgspec.structs.replace(known.view.case.model, demonstration=demonstration)
    view = changed(known.view, model=model)
    draw = {
        "label": lambda target: draw_label(view, "hirescam", "nodule", target),
        "comparison": lambda target: draw_comparison(view, "nodule", target),
        "scores": lambda target: draw_slice_scores(view, target),
        "animation": lambda target: draw_volume_gif(view, "hirescam", "nodule", target),
    }[kind]
    texts = _written(monkeypatch, draw)
    (source,) = [text for text in texts if text.startswith("model made-up")]
    assert "case a/made-up" in source
    assert texts.count(MARK) == demonstration
