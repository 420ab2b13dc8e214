"""Which overlays a case gets, under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hirescam_cli.output.nifti import write_map, write_overlay
from hirescam_cli.output.view import CaseView


def write_overlays(
    folder: Path,
    view: CaseView,
    labels: Sequence[str],
    slugs: Mapping[str, str],
    *,
    grid: str,
    placement: str,
    compress: int,
) -> None:
    """Write the overlays of `labels` for every method of the view: `grid` "scan" (8 bits), "cam" (exact) or "both".

    The overlay's file name is entered in the view's summary. Under another placement than the case's own the
    placement is part of the name.
    """
    affine_ras = view.affines_ras[placement]
    suffix = "" if placement == view.placement else f".{placement}"
    for method in view.cams:
        for name in labels:
            cam, maps = view.map_of(method, name), view.label(name)["maps"][method]
            stem = f"{method}.{slugs[name]}{suffix}"
            if grid in ("cam", "both"):
                maps["overlay"] = f"{stem}.cam.nii.gz"
                write_map(folder / maps["overlay"], cam, affine_ras, compress=compress)
            if grid in ("scan", "both"):
                maps["overlay"] = f"{stem}.nii.gz"
                write_overlay(folder / maps["overlay"], cam, affine_ras, view.volume.grid, compress=compress)
