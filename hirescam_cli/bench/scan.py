"""Rows about everything around the network: preparation, overlays, a whole scan, its memory."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from hirescam_cli.bench.network import engine
from hirescam_cli.bench.table import Row, at_least, at_most
from hirescam_cli.bench.timing import interleaved, ratio, seconds
from hirescam_cli.bench.workload import Workload, made_sparse, scan_affine, synthetic_scan, write_scan
from hirescam_cli.case.publish import CaseFolder
from hirescam_cli.errors import HirescamError
from hirescam_cli.geometry.resample import resample_linear
from hirescam_cli.io import discover
from hirescam_cli.io.scan import InputPath, Scan
from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.pipeline import Prepared, Session, explain_prepared, open_session, read_case, write_case
from hirescam_cli.prepare import ModelInput, Preparation, prepare
from hirescam_cli.prepare.steps.resample import Resample
from hirescam_cli.prepare.steps.window import Window
from hirescam_cli.results.nifti_file import write_overlay
from hirescam_cli.settings import Settings
from hirescam_cli.volume import Provenance, Volume

_MEGABYTE = 1e6
_CALIBRATION = 12


def _volume(workload: Workload) -> Volume:
    return Volume(workload.array_ijk, workload.affine_ras, Provenance("nifti", "0" * 64))


def preparation_rows(workload: Workload) -> list[Row]:
    """Preparation beside SimpleITK's B-spline alone, and how far their voxels differ."""
    workload.say("preparation, and SimpleITK's B-spline")
    preparation, volume = workload.spec.preparation, _volume(workload)
    fine, clip = _resampling(preparation)
    answers: list[sitk.Image] = []
    # The network's first slice is the uppermost one, and resampling keeps the first voxel's centre.
    image = sitk.GetImageFromArray(np.transpose(workload.array_ijk, (2, 1, 0))[::-1])
    image.SetSpacing([float(s) for s in workload.size.spacing_mm])
    shape = [
        round(n * s / new)
        for n, s, new in zip(
            workload.size.shape, workload.size.spacing_mm, fine.spacing_mm[::-1], strict=True
        )
    ]
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(workload.threads)

    def peer() -> None:
        answers[:] = [sitk.Resample(
            image, shape, sitk.Transform(), sitk.sitkBSpline, image.GetOrigin(),
            fine.spacing_mm[::-1], image.GetDirection(), 0.0, sitk.sitkFloat32,
        )]  # fmt: skip

    def mine() -> ModelInput:
        return prepare(volume, preparation)

    mine()
    ours = [seconds(mine)]
    theirs = seconds(peer)
    ours += [seconds(mine) for _ in range(2)]
    difference = _difference(mine(), sitk.GetArrayViewFromImage(answers[0]), clip)
    sizes = (" x ".join(str(n) for n in each) for each in (workload.size.shape, shape))
    return [
        Row(
            "preparation",
            "Preparation, over SimpleITK's B-spline alone",
            "x faster",
            theirs / statistics.median(ours),
            workload.goal(at_least(10.0)),
            f"{statistics.median(ours):.2f} s over {theirs:.1f} s, voxels {' to '.join(sizes)}",
        ),
        Row(
            "preparation-difference",
            "Largest difference to SimpleITK, beyond the rounding to whole HU",
            "HU",
            difference,
            at_most(0.05),
            "all voxels of the resampled scan",
        ),
    ]


def _resampling(preparation: Preparation) -> tuple[Resample, tuple[float, float]]:
    """The resampling of a preparation like RAD-ChestCT's, and the HU that it keeps."""
    fine, window = preparation.steps[:2]
    assert isinstance(fine, Resample)
    assert isinstance(window, Window)
    return fine, window.hu[0]


def _difference(prepared: ModelInput, values_zyx: NDArray[np.float32], clip: tuple[float, float]) -> float:
    """Largest |int16 - float| beyond the half HU of rounding, over all of a scan that is not cropped."""
    content = tuple(slice(round(low + 0.5), round(high + 0.5)) for low, high in prepared.edges)
    ours = prepared.array_ijk[content]
    worst = 0.0
    for mine, theirs in zip(ours, values_zyx, strict=True):
        worst = max(worst, float(np.abs(mine - np.clip(theirs, *clip)).max()))
    return max(0.0, worst - 0.5)


def _explained(workload: Workload) -> tuple[Session, Prepared, Any]:
    session = open_session(workload.settings, workload.spec)
    prepared = read_case(_found(workload.scan_path, workload), workload.spec, workload.settings)
    return session, prepared, explain_prepared(session, prepared)


def _found(path: Path, workload: Workload) -> Scan:
    return discover([InputPath(path)], workload.settings.read).scans[0]


def overlay_rows(workload: Workload) -> list[Row]:
    """One overlay on the scan's grid beside what nibabel needs to write the same map in float32."""
    workload.say("an overlay, and nibabel's in float32")
    session, prepared, explained = _explained(workload)
    cam, grid = explained.explanation.cams["hirescam"][0], prepared.volume.grid
    affine_ras = explained.affines_ras[session.facts.placement]
    mine_path, peer_path = workload.folder / "mine.nii.gz", workload.folder / "peer.nii.gz"

    def mine() -> None:
        write_overlay(mine_path, cam, affine_ras, grid, compress=workload.settings.compress)

    def peer() -> None:
        values = resample_linear(cam, affine_ras, grid)
        nibabel.save(nibabel.Nifti1Image(values, grid.affine_ras), peer_path)

    mine()
    ours = [seconds(mine) for _ in range(3)]
    theirs = seconds(peer)
    ours += [seconds(mine) for _ in range(2)]
    sizes = [path.stat().st_size / _MEGABYTE for path in (mine_path, peer_path)]
    for path in (mine_path, peer_path):
        path.unlink()
    return [
        Row(
            "overlay",
            "One overlay (interpolate, quantise, compress, write), over nibabel in float32",
            "x faster",
            theirs / statistics.median(ours),
            workload.goal(at_least(20.0)),
            f"{statistics.median(ours):.2f} s and {sizes[0]:.0f} MB over {theirs:.1f} s and {sizes[1]:.0f} MB",
        )
    ]


def scan_rows(workload: Workload) -> list[Row]:
    """A whole scan, from the file to the published case folder, over the forward pass alone.

    With maps as sparse as a trained network's, and with those of random weights: noise in every cell, than which
    nothing is harder to compress.
    """
    scan = _found(workload.scan_path, workload)
    model_input = read_case(scan, workload.spec, workload.settings).model_input
    hu = workload.feed.positions(model_input.array_ijk)
    padding = model_input.padding_groups(workload.slices_per_group)
    some = np.flatnonzero(~padding)
    some = some[np.linspace(0, len(some) - 1, min(len(some), _CALIBRATION)).astype(int)]
    sparse = made_sparse(workload.network, engine(workload).values(hu, some).to("cpu"))
    hu = np.concatenate([hu[~padding], hu[padding][:1]])
    return [
        *_whole_scan(workload, scan, hu, sparse, "", "maps as sparse as a trained network's", (1.15, 1.4)),
        *_whole_scan(
            workload,
            scan,
            hu,
            workload.network,
            "-dense",
            "maps of noise, the hardest to compress",
            (1.25, 2.0),
        ),
    ]


def _whole_scan(
    workload: Workload,
    scan: Scan,
    hu: NDArray[np.int16],
    network: AxialNet,
    suffix: str,
    maps: str,
    goals: tuple[float, float],
) -> list[Row]:
    """Rows for a few and for all overlays, with one network; `hu`: the slice groups that have to be computed.

    `goals`: for the one and the other.
    """
    weights = workload.checkpoint(network, f"scan{suffix}")
    settings = replace(workload.settings, weights=(weights,))
    session, alone = open_session(settings, workload.spec), engine(workload, network)
    few, many = workload.size.few, len(workload.spec.labels)
    parts: dict[int, dict[str, float]] = {}

    def whole(labels: int) -> Callable[[], object]:
        def work() -> None:
            parts[labels] = _one_scan(workload, session, scan, replace(settings, labels=f"top:{labels}"))

        return work

    workload.say(f"a whole scan with {few} overlays, and with {many}: {maps}")
    alone.forward_only(hu[: alone.chunk])
    candidates = {"few": whole(few), "forward": lambda: alone.forward_only(hu), "many": whole(many)}
    # A new case each time: taking an old one away is not part of explaining a scan.
    remove = partial(shutil.rmtree, workload.folder / "cases", ignore_errors=True)
    times = interleaved(candidates, (workload.size.rounds + 1) // 2, before=remove)
    remove()
    forward = statistics.median(times["forward"])
    rows = []
    for name, count, goal in (("few", few, goals[0]), ("many", many, goals[1])):
        split = ", ".join(f"{stage} {value:.2f}" for stage, value in parts[count].items())
        rows.append(
            Row(
                f"scan-{name}{suffix}",
                f"A whole scan with {count} overlays, pictures off, over the forward pass alone; {maps}",
                "x",
                ratio(times[name], times["forward"]),
                workload.goal(at_most(goal)),
                f"{statistics.median(times[name]):.1f} s over {forward:.1f} s; last run, seconds: {split}",
            )
        )
    return rows


def _one_scan(workload: Workload, session: Session, scan: Scan, settings: Settings) -> dict[str, float]:
    """Read, prepare, explain, write and publish one scan; seconds by stage."""
    prepared = read_case(scan, workload.spec, settings)
    explained = explain_prepared(session, prepared)
    case = CaseFolder(workload.folder / "cases", scan.case)
    with case as folder:
        done = write_case(folder, session.facts, prepared, explained, settings)
    spent = {
        stage: getattr(done.run.seconds, stage)
        for stage in ("read", "prepare", "network", "explain", "write")
    }
    return {stage: value or 0.0 for stage, value in spent.items()}


def memory_rows(workload: Workload) -> list[Row]:
    """Peak resident memory of `hirescam explain` in a process of its own, on a long scan with every label."""
    workload.say("the memory of a whole process")
    shape = (*workload.size.shape[:2], workload.size.long)
    path = workload.folder / "long.nii.gz"
    write_scan(path, synthetic_scan(shape), scan_affine(shape, workload.size.spacing_mm))
    labels = len(workload.spec.labels)
    command = [
        sys.executable, "-m", "hirescam_cli", "explain", str(path), "--output", str(workload.folder / "long"),
        "--model", workload.model_option, "--weights", str(workload.weights), "--labels", "all",
        "--format", "nifti", "--device", str(workload.device), "--jobs", "0", "--quiet",
    ]  # fmt: skip
    peak = peak_megabytes(command)
    path.unlink()
    return [
        Row(
            "memory",
            f"Peak memory of the whole process, {shape[0]} x {shape[1]} x {shape[2]} voxels, {labels} labels",
            "MB",
            peak,
            at_most(2500.0),
            "hirescam explain, nothing else in the process; ru_maxrss",
        )
    ]


_CHILD = (
    "import resource, subprocess, sys; "
    "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def peak_megabytes(command: list[str]) -> float:
    """Peak resident memory of a command in MB, read by a parent of its own so that no other child counts."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HirescamError(
            f"`{' '.join(command[1:4])}` ended with code {done.returncode}.",
            hint=done.stderr.strip()[-500:] or None,
            code="bench-child",
        )
    peak = int(done.stdout.split()[-1])
    return peak / _MEGABYTE if sys.platform == "darwin" else peak * 1024 / _MEGABYTE
