"""A scan's own slices with a map over them, for viewers that show nothing but images: all that must be said is in them.

Below each slice stands what it shows and that it is for research only, so that no anatomy is covered; only the four
letters of the patient's sides lie in the slice. Nothing names the patient or the case.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hirescam_cli.case.view import CaseView
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.resample import aligned_axes
from hirescam_cli.pictures.canvas import font_file, literal, number
from hirescam_cli.pictures.colour import RGB, Scale, scan_grey, to_bytes
from hirescam_cli.pictures.planes import Frame, covered, inverse, sample
from hirescam_cli.pictures.scene import DEMONSTRATION, certificate, headline, make_scene, signed_mm

RESEARCH = "RESEARCH USE ONLY, NOT FOR DIAGNOSIS"
NARROWEST = 512

_GREYS = 256
_LEVELS = 253
_UNSEEN, _HATCHED = 253, 254
_HATCH_PIXELS = 11
_LINE, _MARGIN, _BAR, _NUMBER = 20, 8, 12, 220
_TOLERANCE = 1e-6
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}
_SHOWN = {"S": "H", "I": "F"}
_WHITE, _GREY, _YELLOW, _RED = (255, 255, 255), (190, 190, 190), (255, 214, 64), (255, 112, 96)


class Capture:
    """The slices of the scan of `view` with one map; pixels are square multiples of the scan's, `zoom` times as many.

    Colours are those of every other picture: the scale from 0 to the map's maximum (`signed`: both ways), what the
    network did not see greyed and hatched. `smooth` False shows the cells as they are.
    """

    def __init__(
        self, view: CaseView, method: str, label: str, *, placement: str, signed: bool, smooth: bool
    ) -> None:
        self.scene = make_scene(view, method, label, signed=signed, placement=placement, smooth=smooth)
        self.slices = view.volume.array_ijk.shape[2]
        self.zoom = max(1, -(-NARROWEST // view.volume.array_ijk.shape[0]))
        columns, rows = (int(n) * self.zoom for n in view.volume.array_ijk.shape[:2])
        self.shape = (rows, columns)

    @property
    def sides(self) -> tuple[str, str]:
        """Towards which of the patient's sides rows of pixels run (columns grow), and columns of pixels."""
        codes = affines.orientation(self.scene.view.volume.affine_ras)
        return _SHOWN.get(codes[0], codes[0]), _SHOWN.get(codes[1], codes[1])

    def affine_ras(self, k: int) -> Affine:
        """Pixel (row, column, 0) of slice k to RAS mm."""
        affine = np.zeros((4, 4))
        affine[3, 3] = 1.0
        # Zoomed pixel n of an axis is centred on voxel (n + 1/2) / zoom - 1/2.
        first = 0.5 / self.zoom - 0.5
        index = np.array([[0, 1 / self.zoom, 0], [1 / self.zoom, 0, 0], [0, 0, 1.0]])
        affine[:3, :3] = index
        affine[:3, 3] = (first, first, k)
        return np.asarray(self.scene.view.volume.affine_ras @ affine, dtype=np.float64)

    def rgb(self, k: int, shown_as: int) -> RGB:
        """Slice k [rows, columns, 3] with its caption below; `shown_as`: its number in the series, from 1."""
        picture = np.empty((self.shape[0] + self._caption.shape[0], self.shape[1], 3), dtype=np.uint8)
        self._draw(k, picture[: self.shape[0]])
        picture[self.shape[0] :] = self._caption
        top, right = self.shape[0] + _MARGIN - 2, self.shape[1] - _MARGIN
        picture[top : top + _LINE, right - _NUMBER : right] = self._number(k, shown_as)
        for rows, columns, letter, drawn in self._letters:
            picture[rows, columns][drawn] = letter[drawn]
        return picture

    def _draw(self, k: int, out: RGB) -> None:
        """Put slice k into `out` [rows, columns, 3]."""
        plane = Frame("axial", self.shape, 1.0, self.affine_ras(k))
        evidence = sample(self.scene.cam, self.scene.affine_ras, plane, smooth=self.scene.smooth)
        index = self._levels(evidence)
        seen = self._seen(k, plane)
        if seen is not None:
            np.copyto(index, self._hatch, where=~seen)
        index *= np.uint16(_GREYS)
        index += self._grey(k)
        out[...] = np.take(self._table, index, axis=0)

    def _grey(self, k: int) -> NDArray[np.uint16]:
        """The scan in the network's window, 0 to 255."""
        hu = self.scene.view.volume.array_ijk[:, :, k].T
        if hu.dtype == np.int16:
            grey = np.take(self._greys, np.ascontiguousarray(hu).view(np.uint16))
        else:
            grey = _greys(hu.astype(np.float32), self.scene.view.window_hu)
        return grey if self.zoom == 1 else grey.repeat(self.zoom, axis=0).repeat(self.zoom, axis=1)

    @cached_property
    def _greys(self) -> NDArray[np.uint16]:
        """The grey of every HU in 16 bits, by its bits."""
        hu = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
        return _greys(hu.astype(np.float32), self.scene.view.window_hu)

    def _seen(self, k: int, plane: Frame) -> NDArray[np.bool_] | None:
        """Where the network saw slice k; None: everywhere."""
        seen = self.scene.view.seen
        if self._seen_axes is None:
            found = covered(seen.shape, seen.affine_ras, plane)
            return None if found.all() else found
        rows, columns, slices = self._seen_axes
        if rows.all() and columns.all() and slices[k]:
            return None
        seen_here: NDArray[np.bool_] = rows[:, None] & columns[None, :] & slices[k]
        return seen_here

    @cached_property
    def _seen_axes(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]] | None:
        """Which rows, columns and slices the network saw, where its grid runs like the scan's."""
        seen = self.scene.view.seen
        index = inverse(seen.affine_ras) @ self.affine_ras(0)
        axes = aligned_axes(index, (*self.shape, self.slices))
        if axes is None:
            return None
        found = []
        for axis, (source, count) in enumerate(zip(axes, (*self.shape, self.slices), strict=True)):
            at = index[source, axis] * np.arange(count) + index[source, 3]
            found.append((at >= -0.5 - _TOLERANCE) & (at <= seen.shape[source] - 0.5 + _TOLERANCE))
        return found[0], found[1], found[2]

    @cached_property
    def _hatch(self) -> NDArray[np.uint16]:
        """Rows of the table of colours for what was not seen."""
        rows, columns = np.indices(self.shape, sparse=True)
        return np.where((rows + columns) % _HATCH_PIXELS == 0, _HATCHED, _UNSEEN).astype(np.uint16)

    def _levels(self, evidence: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Strengths as rows of the table of colours."""
        scale = self.scene.scale
        if scale.limit <= 0:
            return np.full(evidence.shape, self._zero, dtype=np.uint16)
        low = -scale.limit if scale.signed else 0.0
        strength = (evidence - np.float32(low)) * np.float32((_LEVELS - 1) / (scale.limit - low))
        np.clip(strength, 0, _LEVELS - 1, out=strength)
        strength += np.float32(0.5)
        return strength.astype(np.uint16)

    @property
    def _zero(self) -> int:
        return (_LEVELS - 1) // 2 if self.scene.scale.signed else 0

    @cached_property
    def _table(self) -> RGB:
        """Colours [strength x grey, 3]: `Scale.over` of every strength and grey, then what was not seen."""
        scale: Scale = self.scene.scale
        low = -scale.limit if scale.signed else 0.0
        logits = np.linspace(low, scale.limit, _LEVELS, dtype=np.float32)
        logits[self._zero] = 0.0
        grey = np.linspace(0.0, 1.0, _GREYS, dtype=np.float32)
        over = to_bytes(scale.over(*np.broadcast_arrays(grey[None, :], logits[:, None])))
        unseen = 0.30 + (grey - 0.5) * 0.38
        rows = [np.repeat(to_bytes(unseen + hatch)[:, None], 3, axis=1) for hatch in (0.0, 0.16)]
        return np.concatenate([over, np.stack(rows)]).reshape(-1, 3)

    @cached_property
    def _letters(self) -> list[tuple[slice, slice, RGB, NDArray[np.bool_]]]:
        """The patient's sides at the four edges: where, the pixels, and which of them are drawn."""
        codes = affines.orientation(self.scene.view.volume.affine_ras)
        rows, columns = self.shape
        found = []
        for code, y, x in (
            (_OPPOSITE[codes[0]], rows // 2, 14),
            (codes[0], rows // 2, columns - 14),
            (_OPPOSITE[codes[1]], 14, columns // 2),
            (codes[1], rows - 14, columns // 2),
        ):
            image, mask = Image.new("RGB", (24, 24)), Image.new("L", (24, 24))
            text, font = _SHOWN.get(code, code), _font(16, bold=True)
            ImageDraw.Draw(image).text((12, 12), text, fill=_WHITE, font=font, anchor="mm")
            ImageDraw.Draw(mask).text((12, 12), text, fill=255, font=font, anchor="mm", stroke_width=1)
            part = slice(max(0, y - 12), y + 12), slice(max(0, x - 12), x + 12)
            found.append((*part, np.asarray(image), np.asarray(mask) > 0))
        return found

    def _number(self, k: int, shown_as: int) -> RGB:
        """The slice's own number and height, for the right end of the caption's first line."""
        image = Image.new("RGB", (_NUMBER, _LINE))
        volume = self.scene.view.volume
        middle = [(n - 1) / 2 for n in volume.array_ijk.shape[:2]]
        z = float(affines.apply(volume.affine_ras, (*middle, k))[2])
        text = f"slice {shown_as} of {self.slices}  ·  z {signed_mm(z)} mm"
        ImageDraw.Draw(image).text((_NUMBER, _LINE // 2), text, fill=_GREY, font=_font(13), anchor="rm")
        return np.asarray(image)

    @cached_property
    def _caption(self) -> RGB:
        """What stands below every slice."""
        scene, width = self.scene, self.shape[1] - 2 * _MARGIN
        case = scene.view.case
        low, high = scene.view.window_hu
        lines = [
            (scene.label, 16, True, _WHITE, width - _NUMBER),
            (headline(scene.entry), 13, False, _WHITE, width),
            (certificate(scene.entry, scene.method), 13, False, _GREY, width),
            (
                f"{scene.title}, placement {scene.placement}  ·  window {number(low, 6)} to {number(high, 6)} HU",
                13, False, _GREY, width,
            ),
            (f"hirescam {case.run.version}  ·  model {case.model.name}", 13, False, _GREY, width),
            (RESEARCH, 15, True, _YELLOW, width),
        ]  # fmt: skip
        if case.model.demonstration:
            lines.append((DEMONSTRATION, 15, True, _RED, width))
        height = 2 * _MARGIN + _LINE * (len(lines) + 1)
        image = Image.new("RGB", (self.shape[1], height + height % 2))
        draw = ImageDraw.Draw(image)
        y = _MARGIN + 8
        for n, (text, size, bold, colour, room) in enumerate(lines):
            if n == len(lines) - 1 - case.model.demonstration:
                self._bar(image, draw, y)
                y += _LINE
            draw.text(
                (_MARGIN, y),
                _fitted(text, room, size, bold),
                fill=colour,
                font=_font(size, bold),
                anchor="lm",
            )
            y += _LINE
        return np.asarray(image)

    def _bar(self, image: Image.Image, draw: ImageDraw.ImageDraw, y: int) -> None:
        """The colour scale with its ends and unit."""
        scale = self.scene.scale
        if scale.limit <= 0:
            draw.text(
                (_MARGIN, y), "No positive evidence anywhere.", fill=_WHITE, font=_font(13), anchor="lm"
            )
            return
        low = -scale.limit if scale.signed else 0.0
        start, size, font = _MARGIN, 200, _font(13)
        left = number(low)
        draw.text((start, y), left, fill=_WHITE, font=font, anchor="lm")
        start += int(font.getlength(left)) + 6
        logits = np.linspace(low, scale.limit, size, dtype=np.float32)
        colours = to_bytes(scale.over(np.full(size, 0.35, dtype=np.float32), logits))
        image.paste(Image.fromarray(np.repeat(colours[None], _BAR, axis=0)), (start, y - _BAR // 2))
        text = f"{number(scale.limit)} {self.scene.unit}"
        room = self.shape[1] - _MARGIN - (start + size + 6)
        draw.text((start + size + 6, y), _fitted(text, room, 13), fill=_WHITE, font=font, anchor="lm")


def _greys(hu: NDArray[np.float32], window_hu: tuple[float, float]) -> NDArray[np.uint16]:
    return np.rint(scan_grey(hu, window_hu) * (_GREYS - 1)).astype(np.uint16)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(bold), size)


def _fitted(text: str, width: float, size: int, bold: bool = False) -> str:
    """`text` on one line, cut short with an ellipsis where it is wider than `width` pixels."""
    font, line = _font(size, bold), literal(text, bold=bold)
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
