"""The page of a case: scan, maps and summary in one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hirescam_cli import __version__
from hirescam_cli.errors import OutputCreateError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.output.durable import write_file
from hirescam_cli.output.page.document import chosen, document, json_text, script, style
from hirescam_cli.output.page.encode import PageTooLarge, pack_maps, pack_scan
from hirescam_cli.output.pictures.colour import negative_ramp, positive_ramp, to_bytes
from hirescam_cli.output.view import CaseView

PAGE_BYTES = 20_000_000
"""A page is smaller than this."""
_MARGIN = 500_000
_MAP_SHARE = 0.7
_SCRIPTS = (
    "dom.js",
    "theme.js",
    "unpack.js",
    "geometry.js",
    "colour.js",
    "case.js",
    "store.js",
    "plane.js",
    "pointer.js",
    "profile.js",
    "labels.js",
    "controls.js",
    "evidence.js",
    "about.js",
    "keys.js",
    "main.js",
)
_STYLES = ("base.css", "page.css", "viewer.css")


def write_page(view: CaseView, path: Path) -> None:
    """Write the page of `view` to `path`: one HTML file, under 20 MB, that loads nothing from elsewhere.

    Raises OutputCreateError or OutputIOError when the file cannot be written, OutputCreateError also when scan
    and maps do not fit into a page however coarsely.
    """
    try:
        text = page_text(view)
    except PageTooLarge as error:
        raise OutputCreateError(
            f"{path.name} of {view.summary['case']} would be larger than {PAGE_BYTES / 1e6:g} MB: {error}.",
            hint="Ask for fewer methods or for a target layer with fewer cells, or leave html out.",
            code="page-too-large",
        ) from error
    write_file(path, text.encode("utf-8"))


def page_text(view: CaseView) -> str:
    """The page of `view` as HTML. Raises PageTooLarge when it cannot be kept below `PAGE_BYTES`."""
    summary = _summary(view.summary)
    room = PAGE_BYTES - _MARGIN - len(json_text(summary).encode("utf-8"))
    maps = pack_maps([np.moveaxis(cams, -1, 0) for cams in view.cams.values()], int(room * _MAP_SHARE))
    scan = pack_scan(view.volume, room - sum(len(packed.text) for packed in maps))
    described = {
        "version": __version__,
        "summary": summary,
        "scan": {
            **scan.describe(),
            "spacing_mm": list(view.volume.spacing_mm),
            "oblique": affines.is_oblique(view.volume.affine_ras),
        },
        "maps": [
            {"id": f"map-{n}", "method": method, **packed.describe()}
            for n, (method, packed) in enumerate(zip(view.cams, maps, strict=True))
        ],
        "placements": {name: affine.tolist() for name, affine in view.affines_ras.items()},
        "placement": view.placement,
        "window": list(view.window_hu),
        "ramps": {"positive": _ramp(positive_ramp()), "negative": _ramp(negative_ramp())},
    }
    return document(
        "page.html",
        title=f"{view.summary['case']} - hirescam",
        code=script(*_SCRIPTS),
        css=style(*_STYLES),
        images="data: blob:",
        data={
            "case-json": json_text(described),
            "scan": scan.text,
            **{f"map-{n}": packed.text for n, packed in enumerate(maps)},
        },
    )


def _ramp(colours: NDArray[np.float64]) -> str:
    """A ramp [256, 3] as the hexadecimal digits of its bytes."""
    return to_bytes(colours).tobytes().hex()


def _summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a summary; slice scores to seven digits."""
    shown = chosen(
        summary,
        (
            "case",
            "started",
            "warnings",
            "input",
            "model",
            "run",
            "coverage",
            "placement",
            "target_layer",
            "network",
        ),
    )
    shown["labels"] = [_label(entry) for entry in summary["labels"]]
    return shown


def _label(entry: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "index", "logit", "probability", "threshold", "positive", "maps", "agreement")
    scores = entry.get("slice_scores")
    rounded = None if scores is None else [float(f"{score:.7g}") for score in scores]
    return {**chosen(entry, keys), "slice_scores": rounded}
