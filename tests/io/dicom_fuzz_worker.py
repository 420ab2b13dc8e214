"""Reads mutated DICOM series under a memory limit and prints what happened; run by test_dicom_fuzz as a process.

Arguments: a folder of intact series, a scratch folder, the first seed and the number of seeds. One line a seed:
"ok", an error code, or "FAIL" with the reason.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from hirescam_cli.errors import HirescamError
from hirescam_cli.io.dicom import find_series, read_series
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.volume import Volume

MEMORY_BYTES = 3 << 30
SECONDS = 20
INTERPOLATED = ("uneven-slices", "gantry-tilt", "interpolated-gaps")


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four random changes, most of them among the elements before the pixels."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        size = len(out)
        reach = min(size, 1400) if rng.random() < 0.7 else size
        at = rng.randrange(max(reach, 1)) if size else 0
        kind = rng.randrange(8)
        if kind == 0:
            del out[at:]
        elif kind == 1:
            del out[at : at + rng.randint(1, 16)]
        elif kind == 2:
            out[at:at] = rng.randbytes(rng.randint(1, 16))
        elif kind == 3:
            out[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80"]
            )
        elif kind == 4 and size:
            out[at : at + 2] = out[(at + 8) % size : (at + 8) % size + 2]
        elif size:
            out[min(at, size - 1)] ^= 1 << rng.randrange(8)
    return bytes(out)


def keeps_the_other_slices(volume: Volume, intact: Volume, changed: int) -> bool:
    """Whether the slices of untouched files are where they were (unless reading said that it interpolated)."""
    if any(str(warning).startswith(INTERPOLATED) for warning in volume.provenance.warnings):
        return True
    index = np.linalg.inv(volume.affine_ras) @ intact.affine_ras
    found = {}
    for k in range(intact.array_ijk.shape[2]):
        corner = index @ [0, 0, k, 1]
        at = round(float(corner[2]))
        if np.abs(corner[:3] - [0, 0, at]).max() < 0.2 and 0 <= at < volume.array_ijk.shape[2]:
            found[k] = at
    expected = [k for k in range(intact.array_ijk.shape[2]) if k != changed]
    missing = [k for k in expected if k not in found]
    same = all(
        np.array_equal(volume.array_ijk[..., found[k]], intact.array_ijk[..., k])
        for k in expected
        if k in found
    )
    return same and not missing


def outcome(series: Path, scratch: Path, rng: random.Random) -> str:
    """What reading a copy of `series` with one mutated file leads to."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(series, scratch)
    files = sorted(scratch.iterdir())
    victim = rng.choice(files)
    victim.write_bytes(mutate(victim.read_bytes(), rng))
    options = ReadOptions(max_voxels=10_000_000)
    scans, ignored = find_series(scratch, files, options)
    if not scans:
        return ignored[0].code if ignored else "no-dicom"
    intact_scan = find_series(series, sorted(series.iterdir()), options)[0][0]
    intact = read_series(intact_scan, options)
    answers = []
    for scan in scans:
        try:
            volume = read_series(scan, options)
        except HirescamError as error:
            answers.append(error.code)
            continue
        if not np.isfinite(volume.array_ijk).all() or not np.isfinite(volume.affine_ras).all():
            return "FAIL not finite"
        changed = int(victim.name[:2]) if len(files) > 1 else -1
        whole = len(files) > 1 and len(scan.selector) >= len(files) - 1
        if whole and not keeps_the_other_slices(volume, intact, changed):
            return f"FAIL wrong slices {volume.array_ijk.shape} {volume.provenance.warnings}"
        answers.append("ok")
    return "+".join(answers)


def main() -> None:
    """Every seed in turn."""
    root, scratch, first, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    every = sorted(root.iterdir())
    for seed in range(first, first + count):
        rng = random.Random(seed)
        print(seed, end=" ", flush=True)
        signal.alarm(SECONDS)
        try:
            answer = outcome(every[seed % len(every)], scratch, rng)
        except Exception:
            answer = "FAIL " + traceback.format_exc().replace("\n", " | ")[-1500:]
        signal.alarm(0)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
