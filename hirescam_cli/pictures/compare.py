"""HiResCAM and Grad-CAM of one label side by side: the same planes and scale, certificates, difference."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from hirescam_cli.case.view import CaseView
from hirescam_cli.errors import UsageError
from hirescam_cli.pictures.canvas import INK, MUTED, Canvas, number, write_png
from hirescam_cli.pictures.colour import RGB, Scale
from hirescam_cli.pictures.figure import WIDTH
from hirescam_cli.pictures.panels import draw_colour_bar, draw_plane, draw_source, plane_title
from hirescam_cli.pictures.planes import PLANES, Box
from hirescam_cli.pictures.scene import (
    Scene,
    certificate,
    find_focus,
    headline,
    make_scene,
    point_text,
)

USUAL = ("hirescam", "gradcam")

_MARGIN, _GAP, _TITLE = 24, 18, 26
_COLUMN = (WIDTH - 2 * _MARGIN - 2 * _GAP) // 3
_TALLEST = 440
_HEAD = 176
_FOOT = 116


def draw_comparison(
    view: CaseView,
    label: str,
    target: str | os.PathLike[str] | BinaryIO,
    *,
    placement: str | None = None,
    smooth: bool = True,
) -> None:
    """Write the PNG that compares two methods for one label (1200 pixels wide) to a path or binary file.

    HiResCAM and Grad-CAM where the case holds both, else its first two methods. Raises UsageError for fewer.
    """
    write_png(render_comparison(*comparison_scenes(view, label, placement=placement, smooth=smooth)), target)


def comparison_scenes(
    view: CaseView, label: str, *, placement: str | None = None, smooth: bool = True
) -> tuple[Scene, Scene, Scene]:
    """First method, second, and second minus first, signed, on the planes through the first one's focus."""
    one, two = _methods(view)
    first = make_scene(view, one, label, signed=True, placement=placement, smooth=smooth)
    second = make_scene(view, two, label, signed=True, placement=placement, smooth=smooth, focus=first.focus)
    return first, second, replace(second, cam=second.cam - first.cam)


def _methods(view: CaseView) -> tuple[str, str]:
    usual, held = [m for m in USUAL if m in view.methods], view.methods
    if len(held) < 2:
        raise UsageError(
            f"The case holds maps of {' and '.join(held) or 'no method'}, expected two methods to compare.",
            hint="Explain it with `--method hirescam --method gradcam`.",
            code="comparison-methods",
        )
    one, two = (usual if len(usual) == 2 else held)[:2]
    return one, two


def common_scale(scenes: tuple[Scene, Scene, Scene]) -> Scale:
    """One signed scale that holds both maps and their difference."""
    return Scale(max(float(np.abs(scene.cam).max()) for scene in scenes), signed=True)


def render_comparison(first: Scene, second: Scene, difference: Scene) -> RGB:
    """The comparison as [height, 1200, 3]."""
    scenes = (first, second, difference)
    scale, step = common_scale(scenes), _step(first.box)
    rows = list(zip(*(scene.planes(step) for scene in scenes), strict=True))
    heights = [row[0].frame.shape[0] for row in rows]
    canvas = Canvas(WIDTH, _HEAD + sum(heights) + len(PLANES) * _TITLE + (len(PLANES) - 1) * _GAP + _FOOT)
    _head(canvas, first, second)
    cross = None if first.focus.kind == "middle" else first.focus.point_mm
    y = _HEAD
    for row, height in zip(rows, heights, strict=True):
        y += _TITLE
        for n, plane in enumerate(row):
            x = _left(n)
            title = plane_title(plane.frame, oblique=first.oblique) if n == 0 else None
            draw_plane(
                canvas, x, y, plane.frame, plane.rgb(first.view.window_hu, scale), cross_mm=cross, title=title,
                masks=first.masks,
            )  # fmt: skip
        y += height + _GAP
    bar = WIDTH - 2 * _MARGIN
    title = f"Evidence for (warm) and against (cold) the label, {first.unit}; one scale for all three columns"
    draw_colour_bar(canvas, _MARGIN, y + 20, bar, scale, -scale.limit or -1.0, scale.limit or 1.0, title)
    draw_source(canvas, _MARGIN, first.view.case)
    return canvas.rgb()


def _left(column: int) -> int:
    return _MARGIN + column * (_COLUMN + _GAP)


def _step(box: Box) -> float:
    width, depth, length = box.size_mm
    return max(width / _COLUMN, depth / _COLUMN, length / _TALLEST, depth / _TALLEST)


def _head(canvas: Canvas, first: Scene, second: Scene) -> None:
    room = WIDTH - 2 * _MARGIN
    canvas.text(_MARGIN, 48, canvas.fitted(first.label, room, 23, bold=True), 23, bold=True)
    canvas.text(_MARGIN, 76, canvas.fitted(headline(first.entry), room, 15), 15)
    names = [scene.title for scene in (first, second)]
    for column, scene in enumerate((first, second)):
        _column_head(
            canvas,
            column,
            names[column],
            certificate(scene.entry, scene.method),
            _peak(scene),
        )
    agreement = first.entry.agreement
    correlation = None if agreement is None else agreement.correlation
    apart = None if agreement is None else agreement.peak_distance_mm
    _column_head(
        canvas,
        2,
        f"{names[1]} − {names[0]}",
        "" if correlation is None else f"correlation of the maps {number(correlation, 2)}",
        "" if apart is None else f"peaks {apart:.0f} mm apart",
    )


def _column_head(canvas: Canvas, column: int, name: str, *lines: str) -> None:
    x, y = _left(column), 116
    canvas.line([x, x + _COLUMN], [y - 24, y - 24], colour=INK)
    canvas.text(x, y, name, 16, bold=True)
    for n, line in enumerate(lines):
        canvas.text(x, y + 22 + 19 * n, canvas.fitted(line, _COLUMN, 13), 13, colour=MUTED)


def _peak(scene: Scene) -> str:
    """Where a map's own peak lies, which need not be where the planes are."""
    focus = find_focus(scene.view, scene.cam, scene.affine_ras)
    if focus.cell is None or focus.cell_mm is None:
        return f"no positive evidence (highest cell {number(float(scene.cam.max()))})"
    return f"peak {number(float(scene.cam[focus.cell]))} at {point_text(focus.cell_mm)}"
