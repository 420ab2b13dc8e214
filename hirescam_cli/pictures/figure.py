"""The picture of one label: three planes through the peak, scores by slice, and how far to trust the map."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.view import CaseView
from hirescam_cli.pictures.canvas import MUTED, Canvas, number, write_png
from hirescam_cli.pictures.colour import RGB
from hirescam_cli.pictures.panels import (
    draw_colour_bar,
    draw_plane,
    draw_profile,
    draw_source,
    plane_title,
)
from hirescam_cli.pictures.planes import Box
from hirescam_cli.pictures.scene import Scene, facts, headline, make_scene, on_scan, slice_positions_mm

WIDTH = 1200

_MARGIN = 24
_GAP = 18
_TITLE = 26
_AXIS_GAP = 72
_PROFILE, _WIDEST_PROFILE = 200, 340
_NARROWEST = 170
_CAPTION = 420
_LONGEST = 900
_FOOT = 76
_NAMES = 98
_MOST_OUTLINES = 3


@dataclass(frozen=True)
class Layout:
    """The side of a pixel in mm, the corners (x, y) and sizes of its parts in pixels, its height."""

    step_mm: float
    axial: tuple[int, int]
    coronal: tuple[int, int]
    sagittal: tuple[int, int]
    caption: tuple[int, int, int]
    profile: tuple[int, int, int, int]
    height: int


def lay_out(box: Box) -> Layout:
    """Axial over coronal, sagittal and profile beside the coronal, in one scale; the caption top right."""
    width_mm, depth_mm, length_mm = box.size_mm
    room = WIDTH - 2 * _MARGIN - _GAP - _AXIS_GAP - _PROFILE
    narrow = room - _NARROWEST
    step = max((width_mm + depth_mm) / room, width_mm / narrow, depth_mm / narrow, length_mm / _LONGEST)
    columns, rows_axial, rows = (max(1, round(mm / step)) for mm in (width_mm, depth_mm, length_mm))
    upper = max(rows_axial, _CAPTION)
    top, low = _MARGIN + _TITLE, _MARGIN + _TITLE + upper + _GAP + _TITLE
    second = _MARGIN + max(columns, _NARROWEST) + _GAP
    profile = second + max(rows_axial, _NARROWEST) + _AXIS_GAP
    return Layout(
        step,
        (_MARGIN, top),
        (_MARGIN, low),
        (second, low),
        (second + 6, top, WIDTH - _MARGIN - second - 6),
        (profile, low, min(_WIDEST_PROFILE, WIDTH - _MARGIN - profile), rows),
        low + rows + _FOOT,
    )


def draw_label(
    view: CaseView,
    method: str,
    label: str,
    target: str | os.PathLike[str] | BinaryIO,
    *,
    signed: bool = False,
    placement: str | None = None,
    smooth: bool = True,
) -> None:
    """Write the PNG of one label (1200 pixels wide) to a path or binary file.

    `signed` adds negative evidence in a second hue; `placement` defaults to the case's; `smooth` False shows
    the map's true cells. Raises KeyError for a method or placement that the case lacks.
    """
    write_png(
        render_label(make_scene(view, method, label, signed=signed, placement=placement, smooth=smooth)),
        target,
    )


def render_label(scene: Scene) -> RGB:
    """The picture of one label as [height, 1200, 3]."""
    layout = lay_out(scene.box)
    canvas = Canvas(WIDTH, layout.height)
    cross = None if scene.focus.kind == "middle" else scene.focus.point_mm
    corners = (layout.axial, layout.coronal, layout.sagittal)
    for (x, y), plane in zip(corners, scene.planes(layout.step_mm), strict=True):
        draw_plane(
            canvas,
            x,
            y,
            plane.frame,
            plane.rgb(scene.view.window_hu, scene.scale),
            cross_mm=cross,
            ruler=plane.frame.name == "axial",
            title=plane_title(plane.frame, oblique=scene.oblique),
            masks=scene.masks,
        )
    _caption(canvas, layout, scene)
    _profile(canvas, layout, scene)
    draw_source(canvas, _MARGIN, scene.view.case)
    return canvas.rgb()


def _caption(canvas: Canvas, layout: Layout, scene: Scene) -> None:
    x, y, width = layout.caption
    y -= 2
    for line in canvas.wrapped(scene.label, width, 23, bold=True):
        canvas.text(x, y, line, 23, bold=True)
        y += 29
    canvas.text(x, y, canvas.fitted(headline(scene.entry), width, 15), 15)
    y += 32
    for name, value in facts(scene):
        canvas.text(x, y, name, 14, colour=MUTED)
        for line in canvas.wrapped(value, width - _NAMES, 14):
            canvas.text(x + _NAMES, y, line, 14)
            y += 20
        y += 3
    y = _outline_key(canvas, x, y, width, scene)
    _evidence_key(canvas, x, y + 28, width, scene)


def _outline_key(canvas: Canvas, x: int, y: int, width: int, scene: Scene) -> int:
    """The outlined masks by name, each beside a piece of its line; returns where the caption goes on."""
    for n, (mask, colour) in enumerate(scene.masks[:_MOST_OUTLINES]):
        if n == 0:
            canvas.text(x, y, "Outlines" if len(scene.masks) > 1 else "Outline", 14, colour=MUTED)
        empty = "" if mask.array_ijk.any() else " (empty)"
        canvas.line([x + _NAMES, x + _NAMES + 22], [y - 5, y - 5], colour="black", width=5.0)
        canvas.line([x + _NAMES + 1, x + _NAMES + 21], [y - 5, y - 5], colour=colour, width=3.0)
        canvas.text(x + _NAMES + 30, y, canvas.fitted(f"{mask.name}{empty}", width - _NAMES - 30, 14), 14)
        y += 20
    return y


def _evidence_key(canvas: Canvas, x: int, y: int, width: int, scene: Scene) -> None:
    highest, lowest = float(scene.cam.max()), float(scene.cam.min())
    if highest <= 0:
        canvas.text(x, y, "No positive evidence anywhere.", 15, bold=True)
        canvas.text(
            x, y + 20, f"The highest cell of the map is {number(highest)} {scene.unit.partition(' ')[0]}.", 13
        )
        y += 54
    if scene.scale.limit <= 0 or (highest <= 0 and not scene.signed):
        return
    low = min(lowest, 0.0) if scene.signed else 0.0
    title = (
        f"Evidence for (warm) and against (cold) the label, {scene.unit}"
        if scene.signed
        else f"Evidence for the label, {scene.unit}"
    )
    draw_colour_bar(canvas, x, y, min(width, 420), scene.scale, low, max(highest, 0.0), title)


def _profile(canvas: Canvas, layout: Layout, scene: Scene) -> None:
    positions = slice_positions_mm(scene.cam.shape, scene.affine_ras)
    given = scene.view.slice_scores(scene.label)
    values = scene.cam.sum(axis=(1, 2)).astype(np.float64) if given is None else given
    cell, unit = scene.focus.cell, scene.unit.partition(" ")[0]
    mark = None if cell is None else float(positions[cell[0]])
    draw_profile(
        canvas,
        layout.profile,
        (scene.box.high[2], scene.box.low[2]),
        positions,
        values,
        mark_mm=mark,
        title=f"Map summed by slice, {unit}" if given is None else "Slice scores, logits",
        note="" if given is None else _mean_note(scene, positions),
    )
    x, y, _, _ = layout.profile
    canvas.text(x - 8, y - 7, "z, mm", 12, anchor="right")


def _mean_note(scene: Scene, positions_mm: NDArray[np.float64]) -> str:
    """What the scores' mean is; slice groups off the scan count in it and are not drawn."""
    off = int((~on_scan(positions_mm, (scene.box.high[2], scene.box.low[2]))).sum())
    padding = f" with {off} group{'s' if off > 1 else ''} of padding" if off else ""
    return f"mean{padding} = logit = {number(scene.entry.logit)}"
