"""All positive labels of a case at a glance: for each the axial plane through its map's peak."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from hirescam_cli.case.record import Label
from hirescam_cli.case.view import CaseView
from hirescam_cli.pictures.canvas import MUTED, Canvas, number, write_png
from hirescam_cli.pictures.colour import RGB
from hirescam_cli.pictures.figure import WIDTH
from hirescam_cli.pictures.panels import draw_plane, draw_source
from hirescam_cli.pictures.planes import Box
from hirescam_cli.pictures.scene import Scene, make_scene, point_text, probability

_MARGIN, _GAP, _HEAD, _FOOT = 24, 18, 84, 44
_COLUMNS = 4
_WIDE = (WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS
_TALLEST = 300
_TEXT = 58


@dataclass(frozen=True)
class Tiles:
    """Size of a tile's picture in mm a pixel and in pixels."""

    step_mm: float
    rows: int

    @property
    def pitch(self) -> int:
        """From one row of tiles to the next."""
        return self.rows + _TEXT + _GAP


def positive_labels(view: CaseView) -> list[Label]:
    """The positive labels of a case, most probable first."""
    return [label for label in view.case.ranked if label.positive]


def draw_mosaic(
    view: CaseView,
    method: str,
    target: str | os.PathLike[str] | BinaryIO,
    *,
    signed: bool = False,
    placement: str | None = None,
    smooth: bool = True,
) -> None:
    """Write the PNG of all positive labels (1200 pixels wide) to a path or binary file.

    Each tile has its own scale, from 0 to the map's maximum, which it names. Raises KeyError for a method or
    placement that the case lacks.
    """
    scenes = [
        make_scene(view, method, label.name, signed=signed, placement=placement, smooth=smooth)
        for label in positive_labels(view)
    ]
    write_png(render_mosaic(view, method, scenes), target)


def lay_out_tiles(box: Box) -> Tiles:
    """Tiles in which the whole of an axial plane has room."""
    width, depth, _ = box.size_mm
    step = max(width / _WIDE, depth / _TALLEST)
    return Tiles(step, max(1, round(depth / step)))


def render_mosaic(view: CaseView, method: str, scenes: list[Scene]) -> RGB:
    """The mosaic as [height, 1200, 3]."""
    count = len(scenes)
    tiles = lay_out_tiles(scenes[0].box) if scenes else Tiles(1.0, 1)
    rows = -(-count // _COLUMNS)
    canvas = Canvas(WIDTH, _HEAD + rows * tiles.pitch + _FOOT)
    title = f"{count} positive label{'' if count == 1 else 's'}, {view.title(method)}"
    canvas.text(_MARGIN, 40, canvas.fitted(title, WIDTH - 2 * _MARGIN, 21, bold=True), 21, bold=True)
    note = f"axial planes through each map's peak; bright is strong, up to each map's own peak in {view.unit(method)}"
    canvas.text(_MARGIN, 64, canvas.fitted(note, WIDTH - 2 * _MARGIN, 13), 13, colour=MUTED)
    for n, scene in enumerate(scenes):
        x = _MARGIN + (n % _COLUMNS) * (_WIDE + _GAP)
        _tile(canvas, x, _HEAD + (n // _COLUMNS) * tiles.pitch, tiles, scene)
    draw_source(canvas, _MARGIN, view.case)
    return canvas.rgb()


def _tile(canvas: Canvas, x: int, y: int, tiles: Tiles, scene: Scene) -> None:
    entry, focus = scene.entry, scene.focus
    canvas.text(x, y + 13, canvas.fitted(scene.label, _WIDE, 14, bold=True), 14, bold=True)
    peak = "no positive evidence" if focus.kind != "peak" else f"peak {number(float(scene.cam.max()))}"
    place = "" if focus.cell_mm is None else f" at {point_text(focus.cell_mm)}"
    beyond = " (outside the scan)" if focus.beyond else ""
    facts = (
        f"probability {probability(entry.probability)}, logit {number(entry.logit)}",
        peak + place + beyond,
    )
    for line, text in enumerate(facts):
        canvas.text(x, y + 31 + 17 * line, canvas.fitted(text, _WIDE, 12), 12, colour=MUTED)
    plane = scene.plane("axial", tiles.step_mm)
    cross = None if focus.kind == "middle" else focus.point_mm
    rgb = plane.rgb(scene.view.window_hu, scene.scale)
    draw_plane(canvas, x, y + _TEXT, plane.frame, rgb, cross_mm=cross, ruler=True, masks=scene.masks)
