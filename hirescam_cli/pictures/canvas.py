"""A drawing surface measured in pixels, on matplotlib's Agg renderer without pyplot or global state.

Coordinates are pixels from the top left corner. Text is drawn literally (no mathtext), in the font that comes
with matplotlib; characters which that font lacks are drawn as its replacement sign. The same calls give the
same bytes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray
from PIL import Image

from hirescam_cli.pictures.colour import RGB

Anchor = Literal["left", "center", "right"]

INK = "#1a1a1a"
MUTED = "#6b6b6b"
RULE = "#c9c9c9"

_DPI = 100.0
_POINTS_PER_PIXEL = 72.0 / _DPI
_REPLACEMENT = "\ufffd"


@cache
def font_file(bold: bool = False) -> str:
    """Path of the font that every picture uses."""
    return str(
        Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    )


@cache
def _glyphs(bold: bool) -> frozenset[int]:
    return frozenset(get_font(font_file(bold)).get_charmap())


def literal(text: str, *, bold: bool = False) -> str:
    """`text` on one line: white space collapsed, characters without a glyph replaced."""
    known = _glyphs(bold)
    return "".join(c if ord(c) in known else _REPLACEMENT for c in " ".join(text.split()))


class Canvas:
    """A white surface of `width` x `height` pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._figure = Figure(
            figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white", edgecolor="none"
        )
        self._agg = FigureCanvasAgg(self._figure)
        self._pixels = Affine2D().scale(1.0, -1.0).translate(0.0, float(height))

    def image(self, rgb: RGB, x: int, y: int) -> None:
        """Put an image [rows, columns, 3] with its top left corner at (x, y), pixel on pixel."""
        self._figure.figimage(rgb, x, self.height - y - rgb.shape[0], origin="upper")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 13.0,
        *,
        colour: str = INK,
        bold: bool = False,
        anchor: Anchor = "left",
        middle: bool = False,
        outline: bool = False,
    ) -> None:
        """One line of text: (x, y) is on its baseline, or half-way up if `middle`; `size` in pixels."""
        drawn = self._figure.text(
            x,
            y,
            literal(text, bold=bold),
            transform=self._pixels,
            fontproperties=FontProperties(fname=font_file(bold), size=size * _POINTS_PER_PIXEL),
            color=colour,
            ha=anchor,
            va="center_baseline" if middle else "baseline",
            parse_math=False,
            usetex=False,
        )
        if outline:
            drawn.set_path_effects([Stroke(linewidth=2.2, foreground="black"), Normal()])

    def text_width(self, text: str, size: float = 13.0, *, bold: bool = False) -> float:
        """Width in pixels of a line of text."""
        prop = FontProperties(fname=font_file(bold), size=size * _POINTS_PER_PIXEL)
        width, _, _ = self._agg.get_renderer().get_text_width_height_descent(
            literal(text, bold=bold), prop, False
        )
        return float(width)

    def fitted(self, text: str, width: float, size: float = 13.0, *, bold: bool = False) -> str:
        """`text`, cut short with an ellipsis where it is wider than `width` pixels."""
        line = literal(text, bold=bold)
        if self.text_width(line, size, bold=bold) <= width:
            return line
        low, high = 0, len(line)
        while low < high:
            half = (low + high + 1) // 2
            fits = self.text_width(line[:half].rstrip() + "…", size, bold=bold) <= width
            low, high = (half, high) if fits else (low, half - 1)
        return line[:low].rstrip() + "…"

    def wrapped(
        self, text: str, width: float, size: float = 13.0, *, bold: bool = False, lines: int = 2
    ) -> list[str]:
        """`text` broken at spaces into at most `lines` lines of `width` pixels, each cut short if need be."""
        words, result = literal(text, bold=bold).split(" "), [""]
        while words:
            longer = f"{result[-1]} {words[0]}".strip()
            if result[-1] and self.text_width(longer, size, bold=bold) > width:
                if len(result) == lines:
                    result[-1] = " ".join([result[-1], *words])
                    break
                result.append("")
                continue
            result[-1] = longer
            words.pop(0)
        return [self.fitted(line, width, size, bold=bold) for line in result]

    def line(
        self,
        xs: Sequence[float],
        ys: Sequence[float],
        *,
        colour: str = INK,
        width: float = 1.0,
        alpha: float = 1.0,
        dashes: tuple[float, float] | None = None,
    ) -> None:
        """A polyline; `width` in pixels."""
        drawn = Line2D(
            xs,
            ys,
            transform=self._pixels,
            color=colour,
            linewidth=width * _POINTS_PER_PIXEL,
            alpha=alpha,
            solid_capstyle="butt",
            dash_capstyle="butt",
        )
        if dashes:
            drawn.set_linestyle((0, dashes))
        self._add(drawn)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str | None = None,
        edge: str | None = None,
    ) -> None:
        """A rectangle, filled or outlined."""
        self._add(
            Rectangle(
                (x, y),
                width,
                height,
                transform=self._pixels,
                facecolor=fill or "none",
                edgecolor=edge or "none",
                linewidth=_POINTS_PER_PIXEL,
            )
        )

    def _add(self, artist: Any) -> None:
        self._figure.add_artist(artist)

    def rgb(self) -> RGB:
        """What has been drawn, as [height, width, 3]."""
        self._agg.draw()
        drawn: RGB = np.asarray(self._agg.buffer_rgba())[..., :3].copy()
        return drawn


def write_png(rgb: NDArray[np.uint8], target: str | os.PathLike[str] | BinaryIO) -> None:
    """Encode an image as PNG without any metadata, to a path or a binary file."""
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, format="PNG", compress_level=6)
    if isinstance(target, str | os.PathLike):
        Path(target).write_bytes(encoded.getvalue())
    else:
        target.write(encoded.getvalue())


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2, 2.5 or 5 times a power of ten apart) within low .. high."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** np.floor(np.log10(span / count))
    step = next(s * power for s in (1.0, 2.0, 2.5, 5.0, 10.0) if span / (s * power) <= count + 1e-9)
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [float(n * step) for n in range(first, last + 1)]


def number(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits with a true minus sign."""
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return "0" if float(value) == 0 else text.replace("-", "−")
