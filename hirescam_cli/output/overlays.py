"""Which overlays a case gets, under which names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from hirescam_cli.output.nifti import write_map, write_overlay
from hirescam_cli.output.publish import sync_file
from hirescam_cli.output.view import CaseView
from hirescam_cli.threads import in_threads


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

    Several are written at once, and all are on the disk when it returns. The overlay's file name is entered in the
    view's summary. Under another placement than the case's own the placement is part of the name.
    """
    affine_ras = view.affines_ras[placement]
    suffix = "" if placement == view.placement else f".{placement}"
    tasks: list[Callable[[], Path]] = []
    for method in view.cams:
        for name in labels:
            cam, maps = view.map_of(method, name), view.label(name)["maps"][method]
            stem = f"{method}.{slugs[name]}{suffix}"
            if grid in ("cam", "both"):
                maps["overlay"] = f"{stem}.cam.nii.gz"
                path = folder / maps["overlay"]
                tasks.append(partial(write_map, path, cam, affine_ras, compress=compress))
            if grid in ("scan", "both"):
                maps["overlay"] = f"{stem}.nii.gz"
                path = folder / maps["overlay"]
                tasks.append(
                    partial(write_overlay, path, cam, affine_ras, view.volume.grid, compress=compress)
                )
    # A thread of its own waits for the disk while others interpolate and compress.
    with ThreadPoolExecutor(1, thread_name_prefix="hirescam-sync") as disk:
        synced = in_threads(lambda task: disk.submit(sync_file, task()), tasks)
    for file in synced:
        file.result()
