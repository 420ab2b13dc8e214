"""The contact sheet of a batch: case by case a thumbnail, its status and its findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from hirescam_cli.case.record import AnyCase, Case
from hirescam_cli.case.view import affine_of
from hirescam_cli.geometry import Grid
from hirescam_cli.pictures.canvas import MUTED, RULE, Canvas
from hirescam_cli.pictures.colour import RGB
from hirescam_cli.pictures.figure import WIDTH, lay_out
from hirescam_cli.pictures.panels import WARM
from hirescam_cli.pictures.planes import bounding_box
from hirescam_cli.pictures.scene import DEMONSTRATION, probability

CASES_A_SHEET = 60
"""Cases on one sheet; more go to further sheets."""
FINDINGS = 3
"""Positive labels that a tile names."""
_COLUMNS, _MARGIN, _GAP, _HEAD, _FOOT = 5, 24, 16, 76, 40
_WIDE = (WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) // _COLUMNS
_TALL, _TEXT = 160, 96
_PITCH = _TALL + _TEXT + _GAP


@dataclass(frozen=True, eq=False)
class Contact:
    """A case on the sheet: `name`, what is said of it, and the axial plane of its first picture where there is one."""

    name: str
    lines: tuple[str, ...]
    failed: bool
    demonstration: bool
    picture: RGB | None


def contact_of(name: str, case: AnyCase, picture: RGB | None) -> Contact:
    """What a sheet says of a case; `picture`: that of its most probable label, [height, 1200, 3], by `draw_label`."""
    if not isinstance(case, Case):
        return Contact(name, (case.error.message,), True, False, None)
    positive = [label for label in case.ranked if label.positive]
    shown = positive[:FINDINGS] or case.ranked[:1]
    lines = [f"{probability(label.probability)}  {label.name}" for label in shown]
    if len(positive) > FINDINGS:
        lines.append(f"and {len(positive) - FINDINGS} more positive")
    if not positive:
        lines = ["none positive; highest:", *lines]
    axial = None if picture is None else axial_of(case, picture)
    return Contact(name, tuple(lines), False, case.model.demonstration, axial)


def axial_of(case: Case, picture: RGB) -> RGB | None:
    """The axial plane cut out of the picture of a label; None where it is not laid out as this version does."""
    grid = Grid(case.input.shape, affine_of(case.input.affine))
    layout, (width, depth, _) = lay_out(box := bounding_box(grid)), box.size_mm
    if picture.shape[:2] != (layout.height, WIDTH):
        return None
    (x, y), step = layout.axial, layout.step_mm
    return picture[y : y + max(1, round(depth / step)), x : x + max(1, round(width / step))]


def render_contact_sheet(contacts: Sequence[Contact], *, sheet: int = 1, sheets: int = 1) -> RGB:
    """A sheet as [height, 1200, 3]."""
    rows = -(-len(contacts) // _COLUMNS)
    canvas = Canvas(WIDTH, _HEAD + rows * _PITCH + _FOOT)
    of = f", sheet {sheet} of {sheets}" if sheets > 1 else ""
    count = len(contacts)
    canvas.text(_MARGIN, 38, f"{count} case{'' if count == 1 else 's'}{of}", 21, bold=True)
    note = (
        "each the axial plane through the peak of its most probable label's map, and that label's probability"
    )
    canvas.text(_MARGIN, 60, note, 13, colour=MUTED)
    for n, contact in enumerate(contacts):
        x, y = _MARGIN + (n % _COLUMNS) * (_WIDE + _GAP), _HEAD + (n // _COLUMNS) * _PITCH
        _tile(canvas, x, y, contact)
    if any(contact.demonstration for contact in contacts):
        canvas.text(_MARGIN, canvas.height - 14, DEMONSTRATION, 13, colour=WARM, bold=True)
    return canvas.rgb()


def _tile(canvas: Canvas, x: int, y: int, contact: Contact) -> None:
    if contact.picture is None:
        said = "failed" if contact.failed else "no picture"
        canvas.box(x, y, _WIDE, _TALL, fill="#f1f1f1", edge=RULE)
        canvas.text(x + _WIDE / 2, y + _TALL / 2, said, 14, colour=MUTED, anchor="center", middle=True)
    else:
        canvas.image(_fitted(contact.picture), x, y)
    y += _TALL + 17
    canvas.text(x, y, canvas.fitted(contact.name, _WIDE, 13, bold=True), 13, bold=True)
    lines = list(contact.lines)
    if contact.failed:
        lines = canvas.wrapped(" ".join(lines), _WIDE, 12, lines=FINDINGS + 1)
    for n, line in enumerate(lines[: FINDINGS + 1]):
        colour = WARM if contact.failed else MUTED
        canvas.text(x, y + 18 + 17 * n, canvas.fitted(line, _WIDE, 12), 12, colour=colour)


def _fitted(picture: RGB) -> RGB:
    """The picture in the middle of a tile [160, width, 3], its proportions kept, black about it."""
    image = Image.fromarray(picture)
    scale = min(_WIDE / image.width, _TALL / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    tile = np.zeros((_TALL, _WIDE, 3), dtype=np.uint8)
    left, top = (_WIDE - size[0]) // 2, (_TALL - size[1]) // 2
    tile[top : top + size[1], left : left + size[0]] = image.resize(size, Image.Resampling.LANCZOS)
    return tile
