"""The parts of pictures: a plane with its marks, the colour bar, the profile along z."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.record import Case
from hirescam_cli.masks.mask import Mask
from hirescam_cli.pictures.canvas import INK, MUTED, RULE, Anchor, Canvas, number, ticks
from hirescam_cli.pictures.colour import RGB, Scale, to_bytes
from hirescam_cli.pictures.outlines import draw_outlines
from hirescam_cli.pictures.planes import Frame
from hirescam_cli.pictures.scene import (
    DEMONSTRATION,
    half_spacing_mm,
    on_scan,
    signed_mm,
    source_text,
)

WARM, COLD = "#c8452f", "#2d6fae"

_INSET, _LINE = 11.0, 16.0
_ROOM_FOR_SIDES, _ROOM_FOR_RULER = 50, 110
_NORMAL_NAMES = ("x", "y", "z")


def plane_title(frame: Frame, *, oblique: bool = False) -> str:
    """ "Axial, z = −288.0 mm": a plane of the patient's axes, which is said where the scan has others (`oblique`)."""
    name = f"{frame.name.capitalize()}{' of the patient' if oblique else ''}"
    return f"{name}, {_NORMAL_NAMES[frame.normal_axis]} = {signed_mm(frame.position_mm)} mm"


def draw_plane(
    canvas: Canvas,
    x: int,
    y: int,
    frame: Frame,
    rgb: RGB,
    *,
    cross_mm: Sequence[float] | None,
    ruler: bool = False,
    title: str | None = None,
    masks: Sequence[tuple[Mask, str]] = (),
) -> None:
    """A plane's image with masks' outlines, the patient's sides, a broken crosshair at a RAS point, maybe a ruler."""
    rows, columns = frame.shape
    canvas.image(rgb, x, y)
    canvas.box(x - 0.5, y - 0.5, columns + 1, rows + 1, edge=RULE)
    if title:
        canvas.text(x, y - 7, title, 13)
    draw_outlines(canvas, x, y, frame, masks)
    if cross_mm is not None:
        _cross(canvas, x, y, frame, cross_mm)
    _sides(canvas, x, y, frame)
    if ruler and columns >= _ROOM_FOR_RULER:
        _ruler(canvas, x, y, frame)


def _sides(canvas: Canvas, x: int, y: int, frame: Frame) -> None:
    """The letters at the middle of the edges; a pair is left out where it would not fit."""
    rows, columns = frame.shape
    left, right, top, bottom = frame.letters
    places = []
    if columns >= _ROOM_FOR_SIDES and rows >= _LINE:
        places += [(_INSET, rows / 2, left), (columns - _INSET, rows / 2, right)]
    if rows >= _ROOM_FOR_SIDES and columns >= _LINE:
        places += [(columns / 2, _INSET, top), (columns / 2, rows - _INSET, bottom)]
    for across, down, letter in places:
        canvas.text(
            x + across,
            y + down,
            letter,
            14,
            colour="white",
            bold=True,
            anchor="center",
            middle=True,
            outline=True,
        )


def _cross(canvas: Canvas, x: int, y: int, frame: Frame, point_mm: Sequence[float]) -> None:
    rows, columns = frame.shape
    row, column = frame.pixel_of(point_mm)
    at_y, at_x, gap = y + row + 0.5, x + column + 0.5, 16.0
    for start, stop in ((x, at_x - gap), (at_x + gap, x + columns)):
        if stop > start:
            _cross_line(canvas, [start, stop], [at_y, at_y])
    for start, stop in ((y, at_y - gap), (at_y + gap, y + rows)):
        if stop > start:
            _cross_line(canvas, [at_x, at_x], [start, stop])


def _cross_line(canvas: Canvas, xs: Sequence[float], ys: Sequence[float]) -> None:
    canvas.line(xs, ys, colour="black", alpha=0.35)
    canvas.line(xs, ys, colour="white", alpha=0.7, dashes=(5, 4))


def _ruler(canvas: Canvas, x: int, y: int, frame: Frame) -> None:
    rows, columns = frame.shape
    length = next((mm for mm in (50, 20, 10, 5, 2, 1) if mm / frame.step_mm <= columns * 0.4), 1)
    pixels = length / frame.step_mm
    right, base = x + columns - 12.0, y + rows - 12.0
    canvas.line([right - pixels, right], [base, base], colour="black", width=5)
    canvas.line([right - pixels + 1, right - 1], [base, base], colour="white", width=3)
    canvas.text(right, base - 7, f"{length} mm", 12, colour="white", anchor="right", outline=True)


def draw_colour_bar(
    canvas: Canvas,
    x: int,
    y: int,
    width: int,
    scale: Scale,
    low: float,
    high: float,
    title: str,
    height: int = 20,
) -> None:
    """A horizontal bar from `low` to `high` in the unit of a map.

    Its rows run from dark to bright tissue below the colour, because opacity grows with the evidence.
    """
    logits = np.linspace(low, high, width, dtype=np.float32)
    grey = np.linspace(0.85, 0.0, height, dtype=np.float32)
    canvas.text(x, y - 8, title, 13)
    canvas.image(to_bytes(scale.over(*np.broadcast_arrays(grey[:, None], logits[None, :]))), x, y)
    canvas.box(x - 0.5, y - 0.5, width + 1, height + 1, edge=MUTED)
    for value, anchor in _bar_labels(canvas, width, low, high):
        at = x + (value - low) / (high - low) * width
        canvas.line([at, at], [y + height, y + height + 5], colour=MUTED)
        canvas.text(at, y + height + 18, number(value), 12, anchor=anchor, bold=anchor != "center")


def _bar_labels(canvas: Canvas, width: int, low: float, high: float) -> list[tuple[float, Anchor]]:
    """The ends of a bar that are not 0, aligned with it, and the round numbers whose labels clear them."""
    labels: list[tuple[float, Anchor]] = []
    left, right = 0.0, float(width)
    zero = (0.0 - low) / (high - low) * width
    ends: tuple[tuple[float, Anchor], ...] = ((low, "left"), (high, "right"))
    for value, anchor in ends:
        room = canvas.text_width(number(value), 12, bold=True) + 16
        if value != 0 and room < (zero if anchor == "left" else width - zero):
            labels.append((value, anchor))
            left, right = (room, right) if anchor == "left" else (left, width - room)
    for value in ticks(low, high, 5):
        at, half = (value - low) / (high - low) * width, canvas.text_width(number(value), 12) / 2
        if value == 0 or (at - half >= left and at + half <= right):
            labels.append((value, "center"))
    return labels


def draw_source(canvas: Canvas, margin: int, case: Case, size: float = 13.0) -> None:
    """The last line of a picture: whose figures these are, and that a demonstration model's mean nothing."""
    room, y = canvas.width - 2.0 * margin, canvas.height - 14.0
    x = float(margin)
    if case.model.demonstration:
        canvas.text(x, y, DEMONSTRATION, size, colour=WARM, bold=True)
        used = canvas.text_width(DEMONSTRATION, size, bold=True) + size
        x, room = x + used, room - used
    canvas.text(x, y, canvas.fitted(source_text(case), room, size), size, colour=MUTED)


def draw_profile(
    canvas: Canvas,
    area: tuple[float, float, float, float],
    span_mm: tuple[float, float],
    positions_mm: NDArray[np.float64],
    scores: NDArray[np.float64],
    *,
    mark_mm: float | None,
    title: str,
    note: str,
) -> None:
    """Scores against z in `area` (x, y, width, height), whose height is `span_mm` (z at top, z at bottom).

    Slice groups beyond the span (padding) are left out. A dashed line marks `mark_mm`.
    """
    x, y, width, height = area
    top, bottom = span_mm
    drawn = on_scan(positions_mm, span_mm)
    shown = scores[drawn] if drawn.any() else np.zeros(1)
    low, high = min(0.0, float(shown.min())), max(0.0, float(shown.max()))
    pad = (high - low) * 0.05
    low, high = (0.0, 1.0) if pad == 0 else (low - pad * (low < 0), high + pad * (high > 0))

    def across(score: float) -> float:
        return x + (score - low) / (high - low) * width

    def down(z: float) -> float:
        return y + (top - z) / (top - bottom) * height

    canvas.box(x, y, width, height, fill="#f6f6f6")
    _profile_axes(canvas, area, (low, high), (top, bottom))
    half = half_spacing_mm(positions_mm)
    for z, score in zip(positions_mm[drawn], scores[drawn], strict=True):
        upper, lower = down(min(z + half, top)), down(max(z - half, bottom))
        start, stop = sorted((across(0.0), across(float(score))))
        canvas.box(start, upper, stop - start, lower - upper, fill=WARM if score > 0 else COLD)
    canvas.line([across(0.0)] * 2, [y, y + height], colour=INK)
    if mark_mm is not None and bottom <= mark_mm <= top:
        canvas.line([x, x + width], [down(mark_mm)] * 2, colour=INK, dashes=(5, 4))
    canvas.text(x, y - 7, title, 13)
    canvas.text(x + width, y + height + 36, note, 12, colour=MUTED, anchor="right")


def _profile_axes(
    canvas: Canvas,
    area: tuple[float, float, float, float],
    across: tuple[float, float],
    span_mm: tuple[float, float],
) -> None:
    x, y, width, height = area
    for value in ticks(*across, 4):
        at = x + (value - across[0]) / (across[1] - across[0]) * width
        canvas.line([at, at], [y, y + height], colour=RULE, width=0.8)
        canvas.text(at, y + height + 18, number(value), 12, anchor="center")
    last = float("inf")
    for value in ticks(span_mm[1], span_mm[0], max(1, int(height / 45))):
        at = y + (span_mm[0] - value) / (span_mm[0] - span_mm[1]) * height
        if last - at < _LINE:
            continue
        last = at
        canvas.line([x - 5, x], [at, at], colour=MUTED)
        canvas.text(x - 8, at, number(value, 6), 12, anchor="right", middle=True)
