"""Pictures of an evaluation: labels by measures with their intervals, and the ledger, a bar for each region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hirescam_cli.pictures.canvas import INK, MUTED, RULE, Canvas, number, ticks
from hirescam_cli.pictures.colour import RGB
from hirescam_cli.pictures.panels import COLD, WARM

_WIDTH, _MARGIN, _NAMES, _GAP = 1400, 24, 210, 52
_HEAD, _FOOT = 132, 96
_COLOURS = (WARM, COLD, "#4a8a3c", "#8a4a9e", "#b8860b", "#2f8f8f")
_DOT = 7.0
_LEDGER_WIDTH, _BLOCK, _BAR = 860, 58, 20
_ROUNDING = 1e-4


@dataclass(frozen=True)
class Dot:
    """A mean with its interval; `low` None: without one."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A label. `dots`: by panel, then by method (None: not defined); `marks`: by panel, what chance and the cells
    allow: (chance, ceiling), either None."""

    name: str
    note: str
    dots: tuple[tuple[Dot | None, ...], ...]
    marks: tuple[tuple[float | None, float | None], ...]


@dataclass(frozen=True)
class Summary:
    """`panels`: title and range of each measure; `series`: the methods."""

    title: str
    note: str
    panels: tuple[tuple[str, float, float], ...]
    series: tuple[str, ...]
    rows: tuple[Row, ...]


def render_summary(summary: Summary) -> RGB:
    """Labels from top to bottom, a panel for each measure: dots are means, lines their 95 % intervals."""
    tall = 14 + 12 * len(summary.series)
    canvas = Canvas(_WIDTH, _HEAD + max(1, len(summary.rows)) * tall + _FOOT)
    canvas.text(_MARGIN, 40, canvas.fitted(summary.title, _WIDTH - 2 * _MARGIN, 21, bold=True), 21, bold=True)
    canvas.text(_MARGIN, 64, canvas.fitted(summary.note, _WIDTH - 2 * _MARGIN, 13), 13, colour=MUTED)
    width = (_WIDTH - 2 * _MARGIN - _NAMES) / len(summary.panels) - _GAP
    bottom = _HEAD + max(1, len(summary.rows)) * tall
    for n, row in enumerate(summary.rows):
        middle = _HEAD + (n + 0.5) * tall
        if n % 2:
            canvas.box(_MARGIN, _HEAD + n * tall, _WIDTH - 2 * _MARGIN, tall, fill="#f6f6f6")
        canvas.text(_MARGIN + 4, middle - 2, canvas.fitted(row.name, _NAMES - 20, 13), 13)
        canvas.text(_MARGIN + 4, middle + 12, row.note, 11, colour=MUTED)
    for p, (title, low, high) in enumerate(summary.panels):
        left = _MARGIN + _NAMES + p * (width + _GAP)
        panel = _Panel(canvas, left, width, low, high)
        panel.axis(title, bottom)
        for n, row in enumerate(summary.rows):
            panel.row(_HEAD + n * tall, tall, row.dots[p], row.marks[p])
    _legend(canvas, summary.series, bottom + 58)
    return canvas.rgb()


class _Panel:
    """One measure: an axis from `low` to `high` over `width` pixels."""

    def __init__(self, canvas: Canvas, left: float, width: float, low: float, high: float) -> None:
        self.canvas, self.left, self.width, self.low, self.high = canvas, left, width, low, high

    def x(self, value: float) -> float:
        """Where a value lies; values beyond the axis lie on its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.left + share * self.width

    def axis(self, title: str, bottom: float) -> None:
        """Title, grid and numbers."""
        self.canvas.text(
            self.left, _HEAD - 24, self.canvas.fitted(title, self.width + _GAP, 13), 13, bold=True
        )
        for tick in ticks(self.low, self.high, 4):
            at = self.x(tick)
            self.canvas.line([at, at], [_HEAD - 6, bottom + 4], colour=RULE)
            self.canvas.text(at, bottom + 20, number(tick), 11, colour=MUTED, anchor="center")

    def row(
        self,
        top: float,
        tall: float,
        dots: Sequence[Dot | None],
        marks: tuple[float | None, float | None],
    ) -> None:
        """The means of a label, and what chance and the cells allow."""
        for mark, dashes in zip(marks, ((2.0, 2.0), None), strict=True):
            if mark is not None:
                at = self.x(mark)
                self.canvas.line([at, at], [top + 3, top + tall - 3], colour=INK, width=1.6, dashes=dashes)
        for s, dot in enumerate(dots):
            if dot is None:
                continue
            y, colour = top + 13 + 12 * s, _COLOURS[s % len(_COLOURS)]
            if dot.low is not None and dot.high is not None:
                self.canvas.line([self.x(dot.low), self.x(dot.high)], [y, y], colour=colour, width=2.4)
            at = self.x(dot.mean)
            self.canvas.box(at - _DOT / 2, y - _DOT / 2, _DOT, _DOT, fill=colour)


def _legend(canvas: Canvas, series: Sequence[str], y: float) -> None:
    x = float(_MARGIN)
    for s, name in enumerate(series):
        canvas.box(x, y - 9, 10, 10, fill=_COLOURS[s % len(_COLOURS)])
        canvas.text(x + 16, y, name, 13)
        x += 16 + canvas.text_width(name, 13) + 28
    for text, dashes in (
        ("chance (a cell chosen blindly)", (2.0, 2.0)),
        ("ceiling (the best cells can do)", None),
    ):
        canvas.line([x + 5, x + 5], [y - 11, y + 3], colour=INK, width=1.6, dashes=dashes)
        canvas.text(x + 16, y, text, 13)
        x += 16 + canvas.text_width(text, 13) + 28
    note = "lines: 95 % intervals over patients; without one where there are fewer than 5 patients"
    canvas.text(_MARGIN, y + 24, note, 12, colour=MUTED)


@dataclass(frozen=True)
class Ledger:
    """The mean logit of a label's `cases` in parts, by name, in the order in which they are shown."""

    name: str
    cases: int
    logit: float
    parts: tuple[tuple[str, Dot], ...]


def render_ledger(title: str, note: str, ledgers: Sequence[Ledger]) -> RGB:
    """A bar for each part of each label's logit, to the right where it speaks for the label; a scale for each label."""
    rows = sum(len(one.parts) for one in ledgers)
    canvas = Canvas(_LEDGER_WIDTH, 96 + _BLOCK * len(ledgers) + _BAR * rows + 24)
    wide = _LEDGER_WIDTH - 2 * _MARGIN
    canvas.text(_MARGIN, 40, canvas.fitted(title, wide, 21, bold=True), 21, bold=True)
    canvas.text(_MARGIN, 64, canvas.fitted(note, wide, 13), 13, colour=MUTED)
    y = 92.0
    for one in ledgers:
        canvas.text(_MARGIN, y + 30, canvas.fitted(one.name, 320, 15, bold=True), 15, bold=True)
        heading = f"{one.cases} scan{'s' if one.cases != 1 else ''}, logit {number(one.logit)}"
        canvas.text(_LEDGER_WIDTH - _MARGIN, y + 30, heading, 13, colour=MUTED, anchor="right")
        y += _BLOCK - 16
        _bars(canvas, one, y)
        y += _BAR * len(one.parts) + 16
    return canvas.rgb()


def _bars(canvas: Canvas, one: Ledger, y: float) -> None:
    ends = [value for _, dot in one.parts for value in _extent(dot)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    left, right = _MARGIN + 200.0, _LEDGER_WIDTH - _MARGIN - 90.0
    scale = (right - left) / (high - low or 1.0)
    zero = left - low * scale
    for name, dot in one.parts:
        canvas.text(_MARGIN + 8, y + 14, canvas.fitted(name, 180, 13), 13)
        length = dot.mean * scale
        canvas.box(min(zero, zero + length), y + 4, abs(length), _BAR - 8, fill=WARM if length > 0 else COLD)
        if dot.low is not None and dot.high is not None:
            middle, ends_x = y + _BAR / 2, [zero + dot.low * scale, zero + dot.high * scale]
            canvas.line(ends_x, [middle, middle], colour=INK, width=1.4)
        rounding = abs(dot.mean) <= _ROUNDING * max(1.0, abs(one.logit))
        text = "0" if rounding else number(dot.mean)
        canvas.text(_LEDGER_WIDTH - _MARGIN, y + 14, text, 13, anchor="right")
        y += _BAR
    canvas.line([zero, zero], [y - _BAR * len(one.parts), y], colour=MUTED)


def _extent(dot: Dot) -> tuple[float, ...]:
    return tuple(value for value in (dot.mean, dot.low, dot.high) if value is not None)
