"""The slice scores of many labels at once: labels by slices, each slice at its z in mm, and predictions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.record import Case, Label
from hirescam_cli.case.view import CaseView
from hirescam_cli.pictures.canvas import INK, MUTED, RULE, Canvas, number, ticks, write_png
from hirescam_cli.pictures.colour import RGB, even_ramp, to_bytes
from hirescam_cli.pictures.figure import WIDTH
from hirescam_cli.pictures.panels import WARM, draw_source
from hirescam_cli.pictures.planes import bounding_box
from hirescam_cli.pictures.scene import half_spacing_mm, on_scan, probability, slice_positions_mm

_MARGIN = 24
_NAMES = 236
_PROBABILITIES = 190
_HEAD, _FOOT = 104, 138
_LOWEST_ROW, _HIGHEST_ROW, _BODY = 14, 28, 620
_UNSEEN, _UNSEEN_FILL = 158 / 255, "#9e9e9e"


@cache
def _ramps() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Dark to bright, as in the maps: evidence for (to yellow) and against (to cyan), 256 even steps each."""
    warm = even_ramp("14161a", "56106e", "8f2469", "bb3754", "e35933", "f98c0a", "fcc32c", "ffe45c")
    cold = even_ramp("14161a", "14246e", "1747a6", "1a72c8", "22a0d8", "57ccdf", "b5f4ee")
    return warm, cold


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Slice scores [label, S] in logits, labels by falling probability, z in mm of each slice group [S]."""

    entries: tuple[Label, ...]
    scores: NDArray[np.float64]
    positions_mm: NDArray[np.float64]
    span_mm: tuple[float, float]
    case: Case

    @property
    def on_scan(self) -> NDArray[np.bool_]:
        """Which slice groups are not padding."""
        return on_scan(self.positions_mm, self.span_mm)

    @property
    def limit(self) -> float:
        """The largest score on the scan over all labels; without a positive one, the largest magnitude."""
        shown = self.scores[:, self.on_scan]
        if shown.size == 0:
            return 1.0
        highest = float(shown.max())
        return highest if highest > 0 else float(np.abs(shown).max()) or 1.0


def score_table(view: CaseView, labels: Sequence[str] | None = None) -> ScoreTable:
    """The slice scores of `labels` (default: all of the model), sorted by probability."""
    wanted = None if labels is None else set(labels)
    entries = [label for label in view.case.labels if wanted is None or label.name in wanted]
    entries.sort(key=lambda label: (-label.probability, label.index))
    scores = [view.slice_scores(label.name) for label in entries]
    if any(score is None for score in scores):
        raise ValueError("the network of this case has no slice scores")
    cams = view.cams(view.methods[0])
    box = bounding_box(view.volume.grid)
    return ScoreTable(
        tuple(entries),
        np.array(scores, dtype=np.float64),
        slice_positions_mm(cams.shape, view.affines_ras["stretch"]),
        (box.high[2], box.low[2]),
        view.case,
    )


def draw_slice_scores(
    view: CaseView,
    target: str | os.PathLike[str] | BinaryIO,
    labels: Sequence[str] | None = None,
    *,
    shared: bool = True,
) -> None:
    """Write the PNG of the slice scores (1200 pixels wide) to a path or binary file.

    `shared`: one scale in logits for all labels, so that rows compare; else each row has its own maximum.
    """
    write_png(render_slice_scores(score_table(view, labels), shared=shared), target)


def heatmap(table: ScoreTable, width: int, *, shared: bool = True) -> RGB:
    """Colours [label, width, 3], the scan from top to bottom; grey where the network saw no slice."""
    top, bottom = table.span_mm
    z = top - (np.arange(width) + 0.5) / width * (top - bottom)
    positions = table.positions_mm
    nearest = np.abs(z[:, None] - positions[None, :]).argmin(axis=1)
    seen = np.abs(z - positions[nearest]) <= half_spacing_mm(positions) + 1e-6
    limits = np.full(len(table.entries), table.limit)
    if not shared:
        own = np.where(table.on_scan, np.abs(table.scores), 0.0).max(axis=1)
        limits = np.where(own > 0, own, 1.0)
    strength = np.clip(table.scores[:, nearest] / limits[:, None], -1.0, 1.0)
    warm, cold = _ramps()
    level = np.rint(np.abs(strength) * (len(warm) - 1)).astype(np.intp)
    rgb = np.where((strength >= 0)[..., None], warm[level], cold[level])
    rgb[:, ~seen] = _UNSEEN
    return to_bytes(rgb)


def render_slice_scores(table: ScoreTable, *, shared: bool = True) -> RGB:
    """The heatmap with names, predictions, z in mm and scale, as [height, 1200, 3]."""
    rows = max(1, len(table.entries))
    row = int(np.clip(_BODY / rows, _LOWEST_ROW, _HIGHEST_ROW))
    canvas = Canvas(WIDTH, _HEAD + rows * row + _FOOT)
    x = _MARGIN + _NAMES + 10
    width = WIDTH - _MARGIN - _PROBABILITIES - 14 - x
    count = len(table.entries)
    canvas.text(_MARGIN, 44, f"Slice scores of {count} label{'s' if count != 1 else ''}", 21, bold=True)
    note = "bright is strong; their mean over all slice groups is the label's logit; labels by falling probability"
    canvas.text(_MARGIN, 68, note, 13, colour=MUTED)
    pixels = np.repeat(heatmap(table, width, shared=shared), row, axis=0)
    canvas.image(pixels, x, _HEAD)
    _rows(canvas, table, row, x, width)
    _z_axis(canvas, table, x, width, _HEAD + rows * row)
    _key(canvas, table, x, _HEAD + rows * row + 66, width, shared=shared)
    draw_source(canvas, _MARGIN, table.case)
    return canvas.rgb()


def _rows(canvas: Canvas, table: ScoreTable, row: int, x: int, width: int) -> None:
    size = float(np.clip(row - 2.5, 11.5, 14))
    left, bar = x + width + 14, _PROBABILITIES - 62
    canvas.text(left, _HEAD - 8, "probability", 13)
    canvas.text(x - 10, _HEAD - 8, "label", 13, anchor="right")
    for n, entry in enumerate(table.entries):
        middle, top = _HEAD + (n + 0.5) * row, _HEAD + n * row
        positive, p = entry.positive, entry.probability
        name = canvas.fitted(entry.name, _NAMES, size, bold=positive)
        canvas.text(x - 10, middle, name, size, anchor="right", middle=True, bold=positive)
        canvas.box(left, top + 2, bar, row - 4, fill="#f0f0f0")
        canvas.box(left, top + 2, bar * p, row - 4, fill=WARM if positive else "#9a9a9a")
        at = left + bar * entry.threshold
        canvas.line([at, at], [top + 1, top + row - 1], colour=INK)
        canvas.text(
            left + _PROBABILITIES, middle, probability(p), size, anchor="right", middle=True, bold=positive
        )
        if n:
            canvas.line([x, x + width], [top, top], colour="white", width=0.8, alpha=0.35)
    canvas.box(x - 0.5, _HEAD - 0.5, width + 1, row * len(table.entries) + 1, edge=RULE)


def _z_axis(canvas: Canvas, table: ScoreTable, x: int, width: int, y: int) -> None:
    top, bottom = table.span_mm
    for value in ticks(bottom, top, 8):
        at = x + (top - value) / (top - bottom) * width
        canvas.line([at, at], [y, y + 5], colour=MUTED)
        canvas.text(at, y + 18, number(value, 6), 12, anchor="center")
    canvas.text(x - 34, y + 18, "z, mm", 12, anchor="right")
    canvas.text(x, _HEAD - 8, "head", 13)
    canvas.text(x + width, _HEAD - 8, "feet", 13, anchor="right")


def _key(canvas: Canvas, table: ScoreTable, x: int, y: int, width: int, *, shared: bool) -> None:
    long = min(width, 380)
    warm, cold = _ramps()
    t = np.linspace(-1.0, 1.0, long)
    level = np.rint(np.abs(t) * 255).astype(np.intp)
    colours = np.where((t >= 0)[:, None], warm[level], cold[level])
    canvas.image(np.repeat(to_bytes(colours)[None], 14, axis=0), x, y)
    canvas.box(x - 0.5, y - 0.5, long + 1, 15, edge=RULE)
    limit = number(table.limit) if shared else "row's largest"
    shown = table.scores[:, table.on_scan]
    lower = "≤ " if shared and shown.size and shown.min() < -table.limit else ""
    canvas.text(x, y + 31, f"{lower}−{limit}", 12)
    canvas.text(x + long / 2, y + 31, "0", 12, anchor="center")
    canvas.text(x + long, y + 31, limit, 12, anchor="right")
    canvas.text(x - 10, y + 12, "logits", 12, anchor="right")
    canvas.box(x + long + 28, y, 14, 14, fill=_UNSEEN_FILL)
    canvas.text(x + long + 48, y + 12, "not seen", 12)
