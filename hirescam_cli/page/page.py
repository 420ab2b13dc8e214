"""The page of a case: scan, maps and summary in one HTML file that needs nothing else."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from hirescam_cli import __version__
from hirescam_cli.case.document import plain
from hirescam_cli.case.view import CaseView
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry import reorient
from hirescam_cli.page.bundle import bundle
from hirescam_cli.page.document import document, json_text, style
from hirescam_cli.page.encode import PackedScan, pack_maps, pack_scan
from hirescam_cli.page.evaluated import Evaluated
from hirescam_cli.pictures.colour import negative_ramp, positive_ramp, to_bytes
from hirescam_cli.volume import Volume

PAGE_BYTES = 20_000_000
"""A page is smaller than this."""
_MARGIN = 500_000
_SHOWN = (
    "case",
    "started",
    "warnings",
    "input",
    "model",
    "run",
    "coverage",
    "seen",
    "target",
    "placement",
)
_MAP_SHARE = 0.7
_STYLES = ("base.css", "page.css", "details.css", "viewer.css", "profile.css", "layout.css")


def page_text(view: CaseView, evaluated: Evaluated | None = None) -> str:
    """The page of `view`: one HTML document that loads nothing from elsewhere.

    `evaluated`: outlines of masks and the ledger, where there are any. Raises PageTooLarge when it cannot
    be kept below `PAGE_BYTES`.
    """
    summary, extra = _summary(view), evaluated or Evaluated()
    room = PAGE_BYTES - _MARGIN - extra.room - len(json_text(summary).encode("utf-8"))
    maps = pack_maps(
        [np.moveaxis(view.cams(method), -1, 0) for method in view.methods], int(room * _MAP_SHARE)
    )
    scan = pack_scan(view.volume, room - sum(len(packed.text) for packed in maps))
    described = {
        "version": __version__,
        "summary": summary,
        "scan": {
            **scan.describe(),
            "spacing_mm": list(view.volume.spacing_mm),
            "oblique": affines.is_oblique(view.volume.affine_ras),
            "images": _images(view.volume, scan),
        },
        **extra.describe(scan),
        "maps": [
            {
                "id": f"map-{n}",
                "method": method,
                "title": view.title(method),
                "unit": view.unit(method),
                **packed.describe(),
            }
            for n, (method, packed) in enumerate(zip(view.methods, maps, strict=True))
        ],
        "placements": {name: affine.tolist() for name, affine in view.affines_ras.items()},
        "placement": view.placement,
        "seen": {"shape": list(view.seen.shape), "affine": view.seen.affine_ras.tolist()},
        "window": list(view.window_hu),
        "ramps": {"positive": _ramp(positive_ramp()), "negative": _ramp(negative_ramp())},
    }
    return document(
        "page.html",
        title=f"{view.case.case} - hirescam",
        code=bundle("main.js"),
        css=style(*_STYLES),
        images="data: blob:",
        data={
            "case-json": json_text(described),
            "scan": scan.text,
            **{f"map-{n}": packed.text for n, packed in enumerate(maps)},
        },
    )


def _images(volume: Volume, scan: PackedScan) -> dict[str, object] | None:
    """What the scanner calls the slices across one axis of the embedded scan: [first, last] of each, or None."""
    numbers = volume.provenance.slice_numbers
    if not numbers:
        return None
    order, _ = reorient(volume.grid, "IPL")
    axis = order.source.index(2)
    along = numbers[::-1] if order.flip[axis] else numbers
    size = scan.factors_zyx[axis]
    groups = [along[start : start + size] for start in range(0, len(along), size)]
    word = "frame" if volume.provenance.kind == "dicom-enhanced" else "image"
    return {"axis": axis, "word": word, "numbers": [_ends(group) for group in groups]}


def _ends(group: tuple[int | None, ...]) -> list[int] | None:
    known = [number for number in group if number is not None]
    return [min(known), max(known)] if len(known) == len(group) else None


def _ramp(colours: NDArray[np.float64]) -> str:
    """A ramp [256, 3] as the hexadecimal digits of its bytes."""
    return to_bytes(colours).tobytes().hex()


def _summary(view: CaseView) -> dict[str, object]:
    """What the page shows of a case; slice scores, as they are drawn, to seven digits."""
    case = view.case
    shown = {name: plain(getattr(case, name)) for name in _SHOWN}
    shown["labels"] = [
        plain(msgspec.structs.replace(label, slice_scores=_rounded(view.slice_scores(label.name))))
        for label in case.labels
    ]
    return shown


def _rounded(scores: NDArray[np.float64] | None) -> tuple[float, ...] | None:
    return None if scores is None else tuple(float(f"{score:.7g}") for score in scores.tolist())
