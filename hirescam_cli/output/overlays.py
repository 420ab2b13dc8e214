"""Which overlays a case gets, under which names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from hirescam_cli.output.durable import Written, settled
from hirescam_cli.output.nifti import write_map, write_overlay
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
) -> dict[Path, Written]:
    """Write the overlays of `labels` for every method of the view: `grid` "scan" (8 bits), "cam" (exact) or "both".

    Several are written at once, and all are settled when it returns. The name of the overlay (that on the scan's grid,
    if there is one) is entered in the view's summary. Under another placement than the case's own the placement is
    part of the file name, and the summary goes on to name the case's own.
    """
    affine_ras = view.affines_ras[placement]
    suffix = "" if placement == view.placement else f".{placement}"
    tasks: list[Callable[[], Path]] = []
    for method in view.cams:
        for name in labels:
            cam, maps = view.map_of(method, name), view.label(name)["maps"][method]
            stem = f"{method}.{slugs[name]}{suffix}"
            if grid in ("cam", "both"):
                path = folder / f"{stem}.cam.nii.gz"
                if not suffix and maps["overlay"] is None:
                    maps["overlay"] = path.name
                tasks.append(partial(write_map, path, cam, affine_ras, compress=compress))
            if grid in ("scan", "both"):
                path = folder / f"{stem}.nii.gz"
                if not suffix:
                    maps["overlay"] = path.name
                tasks.append(
                    partial(write_overlay, path, cam, affine_ras, view.volume.grid, compress=compress)
                )
    # A thread of its own waits for the disk and reads back, while others interpolate and compress.
    with ThreadPoolExecutor(1, thread_name_prefix="hirescam-settle") as disk:

        def run(task: Callable[[], Path]) -> tuple[Path, Future[Written]]:
            path = task()
            return path, disk.submit(settled, path)

        files = in_threads(run, tasks)
    return {path: written.result() for path, written in files}
