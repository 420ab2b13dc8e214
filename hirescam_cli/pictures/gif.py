"""The animation of one label: axially from head to feet, one scale throughout, score and z beside it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hirescam_cli.case.view import CaseView
from hirescam_cli.errors import UsageError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.pictures.canvas import INK, MUTED, Canvas, font_file
from hirescam_cli.pictures.colour import RGB, Scale, to_bytes
from hirescam_cli.pictures.outlines import COLOURS, on_plane
from hirescam_cli.pictures.panels import COLD, WARM, draw_colour_bar, draw_profile
from hirescam_cli.pictures.planes import Frame
from hirescam_cli.pictures.scene import (
    DEMONSTRATION,
    PlaneImage,
    Scene,
    certificate,
    half_spacing_mm,
    headline,
    make_scene,
    signed_mm,
    slice_positions_mm,
    source_text,
)

MAX_BYTES = 8_000_000

_MARGIN, _HEAD, _FOOT = 16, 92, 96
_AXIS_GAP, _PROFILE, _NARROWEST = 64, 120, 120
_SECONDS = 10.0
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])


@dataclass(frozen=True)
class Quality:
    """How large an animation is: pixels of the slice's longer side, most frames, colours of the palette."""

    side: int
    frames: int
    colours: int

    @property
    def cost(self) -> float:
        """About proportional to the encoded size."""
        return self.side**2 * self.frames * float(np.log2(self.colours))


LADDER = (
    Quality(440, 135, 255),
    Quality(400, 120, 192),
    Quality(360, 110, 160),
    Quality(320, 100, 128),
    Quality(288, 90, 128),
    Quality(256, 80, 112),
    Quality(224, 64, 96),
    Quality(192, 48, 96),
    Quality(160, 32, 80),
    Quality(128, 20, 80),
)


def draw_volume_gif(
    view: CaseView,
    method: str,
    label: str,
    target: str | os.PathLike[str] | BinaryIO,
    *,
    max_bytes: int = MAX_BYTES,
    placement: str | None = None,
) -> None:
    """Write the GIF of one label to a path or binary file, in the best quality that fits `max_bytes`.

    Raises UsageError when not even the smallest does.
    """
    encoded = encode_gif(make_scene(view, method, label, placement=placement), max_bytes)
    if isinstance(target, str | os.PathLike):
        Path(target).write_bytes(encoded)
    else:
        target.write(encoded)


def encode_gif(scene: Scene, max_bytes: int = MAX_BYTES) -> bytes:
    """The animation's bytes. Qualities that a larger one's size already rules out are not tried."""
    budget = float("inf")
    for quality in LADDER:
        if quality.cost > budget:
            continue
        encoded = _encode(list(render_frames(scene, quality)), scene.scale, quality)
        if len(encoded) <= max_bytes:
            return encoded
        budget = quality.cost * max_bytes / len(encoded) * 1.25
    smallest = _encode(list(render_frames(scene, LADDER[-1])), scene.scale, LADDER[-1])
    if len(smallest) <= max_bytes:
        return smallest
    raise UsageError(
        f"The smallest animation takes {len(smallest)} bytes, expected at most {max_bytes}.",
        hint="Allow more bytes.",
        code="gif-size",
    )


def positions_mm(scene: Scene, most: int) -> NDArray[np.float64]:
    """RAS z of each frame from the top: as many as the scan has slices, at most `most`, evenly spaced."""
    volume = scene.view.volume
    axis = next(a for a, (world, _) in enumerate(affines.nearest_axes(volume.affine_ras)) if world == 2)
    count = max(1, min(most, volume.array_ijk.shape[axis]))
    top, bottom = scene.box.high[2], scene.box.low[2]
    return np.asarray(top - (np.arange(count) + 0.5) / count * (top - bottom), dtype=np.float64)


def render_frames(scene: Scene, quality: Quality) -> Iterator[RGB]:
    """The frames [height, width, 3] from head to feet."""
    width_mm, depth_mm, _ = scene.box.size_mm
    step = max(width_mm, depth_mm) / quality.side
    x, y, _ = scene.focus.point_mm
    axial = scene.plane("axial", step)
    rows, columns = axial.frame.shape
    base, area = _backdrop(scene, rows, columns)
    groups = slice_positions_mm(scene.cam.shape, scene.affine_ras)
    scores = _scores(scene)
    half = half_spacing_mm(groups)
    for z in positions_mm(scene, quality.frames):
        plane = _dithered(scene.plane("axial", step, (x, y, float(z))), scene.scale, quality)
        picture = base.copy()
        picture[_HEAD : _HEAD + rows, _MARGIN : _MARGIN + columns] = _outlined(
            plane.rgb(scene.view.window_hu, scene.scale), plane.frame, scene
        )
        nearest = int(np.abs(groups - z).argmin())
        seen = abs(groups[nearest] - z) <= half + 1e-6
        score = f"score {scores[nearest]:.2f}".replace("-", "−") if seen else "not seen"
        yield _marked(picture, scene, area, columns, float(z), score)


def _outlined(rgb: RGB, plane: Frame, scene: Scene) -> RGB:
    """A slice's image with the outlines of masks, one pixel wide."""
    if not scene.masks:
        return rgb
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    for mask, colour in scene.masks:
        for line in on_plane(mask, plane):
            corners = [(float(column), float(row)) for row, column in line]
            draw.line([*corners, corners[0]], fill=colour, width=1)
    return np.asarray(image)


def _scores(scene: Scene) -> NDArray[np.float64]:
    given = scene.view.slice_scores(scene.label)
    return scene.cam.sum(axis=(1, 2)).astype(np.float64) if given is None else given


def _backdrop(scene: Scene, rows: int, columns: int) -> tuple[RGB, tuple[int, int, int, int]]:
    """What stays the same in every frame, and the profile's area (x, y, width, height)."""
    area = (_MARGIN + max(columns, _NARROWEST) + _AXIS_GAP, _HEAD, _PROFILE, rows)
    width, height = area[0] + _PROFILE + _MARGIN, _HEAD + rows + _FOOT
    canvas = Canvas(width + width % 2, height + height % 2)
    room = width - 2 * _MARGIN
    entry = scene.entry
    canvas.text(_MARGIN, 26, canvas.fitted(scene.label, room, 17, bold=True), 17, bold=True)
    line = f"{scene.title}, {scene.placement}  ·  {headline(entry)}"
    canvas.text(_MARGIN, 46, canvas.fitted(line, room, 12), 12)
    canvas.text(_MARGIN, 62, canvas.fitted(certificate(entry, scene.method), room, 12), 12, colour=MUTED)
    draw_profile(
        canvas,
        area,
        (scene.box.high[2], scene.box.low[2]),
        slice_positions_mm(scene.cam.shape, scene.affine_ras),
        _scores(scene),
        mark_mm=None,
        title="",
        note="",
    )
    limit = scene.scale.limit
    if limit > 0:
        bar = min(max(columns, _NARROWEST), 300)
        draw_colour_bar(canvas, _MARGIN, _HEAD + rows + 12, bar, scene.scale, 0.0, limit, "", height=12)
        canvas.text(
            area[0] + _PROFILE, _HEAD + rows + 42, f"bar: {scene.unit}", 11, colour=MUTED, anchor="right"
        )
    else:
        canvas.text(_MARGIN, _HEAD + rows + 26, "No positive evidence anywhere.", 13, bold=True)
    case = scene.view.case
    if case.model.demonstration:
        mark = canvas.fitted(DEMONSTRATION, room, 11, bold=True)
        canvas.text(_MARGIN, _HEAD + rows + 66, mark, 11, colour=WARM, bold=True)
    canvas.text(_MARGIN, _HEAD + rows + 84, canvas.fitted(source_text(case), room, 11), 11, colour=MUTED)
    return canvas.rgb(), area


def _marked(
    picture: RGB, scene: Scene, area: tuple[int, int, int, int], columns: int, z: float, score: str
) -> RGB:
    """The frame's own marks: a line at its z in the profile, z and score in figures, the patient's sides."""
    x, y, width, height = area
    top, bottom = scene.box.high[2], scene.box.low[2]
    at = y + min(height - 1, int((top - z) / (top - bottom) * height))
    picture[at, x : x + width] = (0, 0, 0)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    figures = ImageFont.truetype(font_file(), 12)
    draw.text((x + width, y - 8), score, fill=(26, 26, 26), font=figures, anchor="rs")
    draw.text((_MARGIN, y - 8), f"z = {signed_mm(z)} mm", fill=(26, 26, 26), font=figures, anchor="ls")
    sides = ImageFont.truetype(font_file(bold=True), 14)
    right = _MARGIN + columns
    for place, letter, anchor in (
        ((_MARGIN + 6, y + height // 2), "R", "lm"),
        ((right - 6, y + height // 2), "L", "rm"),
        (((_MARGIN + right) // 2, y + 5), "A", "mt"),
        (((_MARGIN + right) // 2, y + height - 5), "P", "mb"),
    ):
        draw.text(place, letter, fill="white", font=sides, anchor=anchor, stroke_width=1, stroke_fill="black")
    return np.asarray(image)


def palette(scale: Scale, colours: int) -> NDArray[np.uint8]:
    """Colours [<= `colours`, 3]: greys, evidence of all strengths over all greys, and those of the profile.

    Built from the scale and not from the frames, so that every frame of every animation is matched alike.
    """
    fixed = np.array(
        [_rgb(code) for code in (WARM, COLD, "#ffffff", "#f6f6f6", INK, *COLOURS)], dtype=np.uint8
    )
    greys, strengths = colours // 4, _strengths(colours)
    tissues = (colours - greys - len(fixed)) // strengths
    logits = np.linspace(0.0, scale.limit, strengths + 1, dtype=np.float32)[1:]
    tissue = np.linspace(0.0, 1.0, tissues, dtype=np.float32)
    blends = to_bytes(scale.over(*np.broadcast_arrays(tissue[:, None], logits[None, :]))).reshape(-1, 3)
    ladder = np.repeat(np.rint(np.linspace(0, 255, greys)).astype(np.uint8)[:, None], 3, axis=1)
    return np.unique(np.concatenate([fixed, ladder, blends if scale.limit > 0 else blends[:0]]), axis=0)


def _strengths(colours: int) -> int:
    """How many strengths of evidence a palette of so many colours tells apart."""
    return max(4, int(np.sqrt(colours * 0.85)))


def _dithered(plane: PlaneImage, scale: Scale, quality: Quality) -> PlaneImage:
    """Evidence moved by up to half a palette step in a fixed 4 x 4 pattern, against false contours."""
    rows, columns = plane.evidence.shape
    pattern = np.tile((_BAYER + 0.5) / 16 - 0.5, (rows // 4 + 1, columns // 4 + 1))[:rows, :columns]
    moved = plane.evidence + np.float32(scale.limit / _strengths(quality.colours)) * pattern.astype(
        np.float32
    )
    return replace(plane, evidence=np.where(plane.evidence > 0, moved, plane.evidence))


def _rgb(code: str) -> list[int]:
    return [int(code[i : i + 2], 16) for i in (1, 3, 5)]


def _encode(frames: list[RGB], scale: Scale, quality: Quality) -> bytes:
    """GIF bytes of frames that share one palette."""
    colours = palette(scale, quality.colours)
    table = Image.new("P", (1, 1))
    table.putpalette(np.resize(colours, (256, 3)).tobytes())
    images = [Image.fromarray(f).quantize(palette=table, dither=Image.Dither.NONE) for f in frames]
    milliseconds = int(np.clip(_SECONDS * 1000 / len(images), 60, 200)) // 10 * 10
    encoded = io.BytesIO()
    images[0].save(
        encoded,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=milliseconds,
        loop=0,
        optimize=False,
        disposal=1,
    )
    return encoded.getvalue()
