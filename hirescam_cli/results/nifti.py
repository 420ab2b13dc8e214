"""NIfTI: every label's exact maps, and overlays on the scan's grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.durable import Written, wait_for_disk
from hirescam_cli.geometry import Affine
from hirescam_cli.results.format import Made, Request, ResultFormat
from hirescam_cli.results.nifti_file import write_cams, write_map, write_overlay
from hirescam_cli.threads import in_threads

Task = tuple[Made, Callable[[], Path]]


def write_exact_maps(
    folder: Path,
    cams: Mapping[str, NDArray[np.float32]],
    affine_ras: Affine,
    *,
    placement: str,
    compress: int,
) -> list[Made]:
    """Every method's maps [L, i, j, k] in one file each: they are in every case, whatever the formats."""
    made = []
    for method, maps in cams.items():
        path = f"{method}.cams.nii.gz"
        write_cams(folder / path, maps, affine_ras, compress=compress)
        made.append(Made(path, "cams", method=method, placement=placement, grid="cam"))
    return made


def write(request: Request) -> list[Made]:
    """The overlays of the wanted labels: on the "scan"'s grid (8 bits), the map's own ("cam", exact), or on both.

    Several are written at once, and the disk holds all of them when it returns.
    """
    tasks = [
        task
        for method in request.view.methods
        for label in request.labels
        for task in _tasks(request, method, label)
    ]
    # A thread of its own waits for the disk and reads back, while others interpolate and compress.
    with ThreadPoolExecutor(1, thread_name_prefix="hirescam-disk") as disk:

        def run(task: Task) -> tuple[Made, Future[Written]]:
            made, work = task
            return made, disk.submit(wait_for_disk, work())

        files = in_threads(run, tasks)
    return [_with(made, written.result()) for made, written in files]


def _tasks(request: Request, method: str, label: str) -> list[Task]:
    view, style, placement = request.view, request.style, request.placement
    cam, affine_ras = view.native_map_of(method, label), view.native_affines_ras[placement]
    stem, compress = request.stem(method, label), style.compress
    tasks: list[Task] = []
    if style.grid in ("cam", "both"):
        path = f"{stem}.cam.nii.gz"
        work = partial(write_map, request.folder / path, cam, affine_ras, compress=compress)
        tasks.append((Made(path, "overlay", method, label, placement, "cam"), work))
    if style.grid in (None, "scan", "both"):
        path = f"{stem}.nii.gz"
        target = view.volume.grid
        write_it = partial(write_overlay, request.folder / path, cam, affine_ras, target, compress=compress)
        tasks.append((Made(path, "overlay", method, label, placement, "scan"), write_it))
    return tasks


def _with(made: Made, written: Written) -> Made:
    return Made(made.path, made.role, made.method, made.label, made.placement, made.grid, written)


FORMAT = ResultFormat("nifti", "NIfTI overlays", write, grid="scan")
