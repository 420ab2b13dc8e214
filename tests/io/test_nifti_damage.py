"""Damaged NIfTI files: what the common readers return in silence must be an error here, and never a wrong volume."""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.errors import ScanError
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.io.gzipped import GzipError, GzipReader
from tests.io.nifti_factory import chest_hu, make_nifti

SHORT, LONG = 60, 500


def load_bytes(folder: Path, data: bytes) -> np.ndarray:
    path = folder / "scan.nii.gz"
    path.write_bytes(data)
    (scan,) = discover([InputPath(path)], ReadOptions()).scans
    return read(scan, ReadOptions()).array_ijk


def check_mutations(folder: Path, count: int, seed: int) -> None:
    """Flip a bit, cut off an end or cut out a piece: an error, or exactly the volume that was there."""
    good = make_nifti(folder / "good.nii.gz", chest_hu((24, 20, 16))).read_bytes()
    truth = load_bytes(folder, good)
    rng = random.Random(seed)
    undetected, unclear, harmless = [], [], 0
    for number in range(count):
        data = bytearray(good)
        # Header, body and trailer of the stream each get their share.
        place = (rng.randrange(len(data)), rng.randrange(18), len(data) - 1 - rng.randrange(10))[number % 3]
        if number % 5 < 3:
            data[place] ^= 1 << rng.randrange(8)
        elif number % 5 == 3:
            del data[place:]
        else:
            del data[place : place + 1 + rng.randrange(40)]
        try:
            same = np.array_equal(load_bytes(folder, bytes(data)), truth)
        except ScanError as error:
            if error.code not in ("nifti-damaged", "not-an-image") or not error.hint:
                unclear.append(str(error))
        else:
            harmless += same
            if not same:
                undetected.append(number)
    assert undetected == []
    assert unclear == []
    # Only the ten bytes of the gzip header (time, system, level) may change without a trace in the voxels.
    assert harmless < count // 3


def test_no_bit_flip_or_truncation_goes_unnoticed(tmp_path: Path) -> None:
    check_mutations(tmp_path, SHORT, seed=1)


@pytest.mark.slow
def test_no_bit_flip_or_truncation_goes_unnoticed_in_500(tmp_path: Path) -> None:
    check_mutations(tmp_path, LONG, seed=2)


def test_the_usual_reader_does_not_notice(tmp_path: Path) -> None:
    """What all this is for: the checksum of this file is wrong, and nibabel gives its voxels without a word."""
    nib = pytest.importorskip("nibabel")
    path = make_nifti(tmp_path / "a.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(bytes(data))
    assert np.asarray(nib.load(path).dataobj).shape == (12, 11, 10)
    with pytest.raises(ScanError, match="checksum"):
        load_bytes(tmp_path, bytes(data))


@pytest.mark.parametrize("keep", range(0, 40, 3))
def test_truncation_within_the_gzip_header(tmp_path: Path, keep: int) -> None:
    data = make_nifti(tmp_path / "a.nii.gz").read_bytes()[:keep]
    with pytest.raises(ScanError) as caught:
        load_bytes(tmp_path, data)
    assert caught.value.code == "nifti-damaged"


def test_members_padding_and_foreign_bytes(tmp_path: Path) -> None:
    raw = gzip.decompress(make_nifti(tmp_path / "a.nii.gz").read_bytes())
    members = gzip.compress(raw[:500]) + gzip.compress(raw[500:])
    assert np.array_equal(load_bytes(tmp_path, members), chest_hu())
    assert np.array_equal(load_bytes(tmp_path, members + bytes(512)), chest_hu())


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("zeros", [0, 5, 3 << 20])
@pytest.mark.parametrize("junk", [b"j", b"junk", b"\x1fX", b"junkjunkjunkjunk!", b"garbage" * 4])
def test_foreign_bytes_behind_the_stream_are_told_as_such(
    tmp_path: Path, members: int, zeros: int, junk: bytes
) -> None:
    raw = gzip.decompress(make_nifti(tmp_path / "a.nii.gz").read_bytes())
    parts = [raw[:500], raw[500:]] if members == 2 else [raw]
    data = b"".join(map(gzip.compress, parts)) + bytes(zeros) + junk
    with pytest.raises(ScanError, match="stream is followed by bytes that are not a gzip member") as caught:
        load_bytes(tmp_path, data)
    assert caught.value.code == "nifti-damaged"


@pytest.mark.parametrize("zeros", [0, 3 << 20])
@pytest.mark.parametrize("keep", [1, 2, 5, 12, -9, -1])
def test_another_member_that_is_cut_ends_too_early(tmp_path: Path, zeros: int, keep: int) -> None:
    raw = gzip.decompress(make_nifti(tmp_path / "a.nii.gz").read_bytes())
    data = gzip.compress(raw) + bytes(zeros) + gzip.compress(b"more of it")[:keep]
    with pytest.raises(ScanError, match="the compressed stream ends too early"):
        load_bytes(tmp_path, data)


def test_optional_fields_of_the_gzip_header(tmp_path: Path) -> None:
    raw = gzip.decompress(make_nifti(tmp_path / "a.nii.gz").read_bytes())
    with gzip.GzipFile(filename="secret-name", mode="wb", fileobj=(buffer := io.BytesIO())) as file:
        file.write(raw)
    assert b"secret-name" in buffer.getvalue()
    assert np.array_equal(load_bytes(tmp_path, buffer.getvalue()), chest_hu())


def test_gzip_reader_in_small_steps() -> None:
    payload = np.random.default_rng(0).integers(0, 20, 300_000, dtype=np.uint8).tobytes()
    reader = GzipReader(io.BytesIO(gzip.compress(payload)), chunk=777)
    parts = []
    while part := reader.read(1001):
        parts.append(part)
    assert b"".join(parts) == payload
    with pytest.raises(GzipError, match="empty"):
        GzipReader(io.BytesIO(b""))


def test_a_bomb_is_read_without_its_memory(tmp_path: Path) -> None:
    """200 MB of zeros behind a small volume: a warning, and no more memory than the volume needs."""
    path = make_nifti(tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(200 << 20), 9))
    report = run_limited(tmp_path, [path], megabytes=150)
    assert report == [["read", ["trailing-bytes"]]]


def run_limited(
    folder: Path, paths: list[Path], megabytes: int, *, compare: bool = False
) -> list[list[object]]:
    """Read each path in a process that may take `megabytes` beyond what Python and its modules hold.

    With `compare`, a volume that differs from nibabel's counts as "WRONG".
    """
    script = folder / "limited.py"
    script.write_text(_LIMITED)
    listing = folder / "paths.json"
    listing.write_text(json.dumps([str(path) for path in paths]))
    command = [sys.executable, str(script), str(listing), str(megabytes), *(["compare"] if compare else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: list[list[object]] = json.loads(done.stdout)
    return result


_LIMITED = """
import json, resource, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import nibabel as nib
import numpy as np
import hirescam_cli.io.dicom, hirescam_cli.io.nifti
from hirescam_cli.errors import HirescamError
from hirescam_cli.io import InputPath, ReadOptions, discover, read

size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = size + (int(sys.argv[2]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
results = []
for name in json.loads(Path(sys.argv[1]).read_text()):
    try:
        (scan,) = discover([InputPath(Path(name))], ReadOptions()).scans
        volume = read(scan, ReadOptions())
    except HirescamError as error:
        results.append(["refused", error.code])
        continue
    codes = [warning.code for warning in volume.provenance.warnings]
    if len(sys.argv) > 3:
        image = nib.load(name)
        raw = np.asarray(image.dataobj, dtype=np.float64).reshape(volume.array_ijk.shape)
        with np.errstate(all="ignore"):
            raw = np.where(np.isfinite(raw.astype(np.float32)), raw, -1024.0)
        same = np.allclose(volume.array_ijk, raw, rtol=1e-5, atol=1e-3)
        unit = {1: 1000.0, 3: 0.001}.get(int(image.header["xyzt_units"]) & 7, 1.0)
        placed = np.allclose(volume.affine_ras, np.diag([unit, unit, unit, 1]) @ image.affine, rtol=1e-6, atol=1e-6)
        results.append(["read" if same and placed else "WRONG", codes])
    else:
        results.append(["read", codes])
print(json.dumps(results))
"""


def check_mutated_headers(folder: Path, count: int, seed: int) -> None:
    """Change bytes of headers: the volume that nibabel finds in the same bytes, or an error; no hang, no crash."""
    rng = random.Random(seed)
    paths = []
    for number in range(count):
        version, kind = rng.choice([1, 2]), rng.choice(["i2", "f4", "u1", "f8"])
        options = {"sform_code": rng.choice([0, 1, 2]), "qform_code": rng.choice([0, 1])}
        array = chest_hu((7, 6, 5)).clip(0, 255).astype(kind)
        path = make_nifti(
            folder / f"{number}.nii",
            array,
            version=version,
            endian=rng.choice("<>"),
            scl_slope=1.0,
            **options,
        )
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 1, 2, 4, 16])):
            place = rng.randrange(348 if version == 1 else 540)
            data[place] = rng.choice(
                [0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256), data[place] ^ (1 << rng.randrange(8))]
            )
        path.write_bytes(bytes(data))
        paths.append(path)
    report = run_limited(folder, paths, 200, compare=True)
    assert len(report) == count
    assert [path.name for path, (outcome, _) in zip(paths, report, strict=True) if outcome == "WRONG"] == []
    outcomes = {outcome for outcome, _ in report}
    assert outcomes == {"read", "refused"}
    assert "internal" not in {detail for outcome, detail in report if outcome == "refused"}


def test_mutated_headers(tmp_path: Path) -> None:
    check_mutated_headers(tmp_path, 150, seed=3)


@pytest.mark.slow
def test_mutated_headers_2000(tmp_path: Path) -> None:
    check_mutated_headers(tmp_path, 2000, seed=4)
