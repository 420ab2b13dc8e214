"""A small world to run batches in: a tiny random network, tiny scans, and runs in child processes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.settings import Settings
from tests.models import radchest_toml

ROOT = Path(__file__).resolve().parents[2]

MODEL = """name = "tiny"
intended_use = "tests"
architecture = "axialnet"
[parameters]
trunk_width = 1
head_channels = [4, 4, 4, 4]
[weights]
file = "tiny.pt"
[labels]
names = ["nodule", "mass"]
"""


def make_model(folder: Path, *, seed: int = 0) -> Path:
    """A model description with weights beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AxialNet(2, 1, (4, 4, 4, 4))
        for parameter in network.parameters():
            parameter.data.mul_(2.0)
    torch.save({"params": network.state_dict()}, folder / "tiny.pt")
    path = folder / "tiny.toml"
    path.write_text(MODEL + radchest_toml((8.0, 1.0, 1.0), (3, 420, 420), interpolation="linear"))
    return path


def make_scan(path: Path, seed: int = 0, shape: tuple[int, int, int] = (12, 11, 6)) -> Path:
    """A NIfTI scan of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(-1000, 400, shape).astype(np.int16)
    image = nib.Nifti1Image(voxels, np.diag([-30.0, -30.0, 8.0, 1.0]))
    image.set_sform(image.affine, 1)
    image.set_qform(image.affine, 1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def make_scans(folder: Path, count: int) -> Path:
    """`count` scans named scan000.nii.gz and so on."""
    for number in range(count):
        make_scan(folder / f"scan{number:03d}.nii.gz", number)
    return folder


def tiny_settings(model: Path, **more: Any) -> Settings:
    """Settings that write the maps but no pictures."""
    return Settings(**{"model": str(model), "formats": ("nifti",), "device": "cpu", **more})


DRIVER = """
import sys
from pathlib import Path
from hirescam_cli.api import explain
from hirescam_cli.batch import RunOptions
from hirescam_cli.batch.progress import reporter
from hirescam_cli.errors import HirescamError
from hirescam_cli.settings import Settings
import json
inputs, out, model, options, more = sys.argv[1:6]
more = json.loads(more)
if more.get("faults"):
    from tests.batch import faults
    faults.install(more["faults"])
settings = Settings(model=model, formats=("nifti",), device="cpu", **more.get("settings", {}))
if more.get("trouble"):
    from hirescam_cli.api import explaining as api
    from hirescam_cli.batch import run, signals
    from tests.batch.troubled import TROUBLED
    signals.GRACE_SECONDS = more.get("grace", signals.GRACE_SECONDS)
    api.run = lambda *args, **keys: run.run(*args, **keys, stages=TROUBLED)
try:
    with reporter(log_format="json", verbose=1) as report:
        result = explain(inputs, out, settings=settings, on_progress=report.event,
            options=RunOptions(handle_signals=True, **json.loads(options)), **more.get("parts", {}))
    code = result.exit_code
except HirescamError as error:
    print(json.dumps({"event": "refused", "code": error.code, "message": str(error)}), file=sys.stderr)
    code = error.exit_code
sys.exit(code)
"""


def start(
    inputs: Path, out: Path, model: Path, *, options: dict[str, Any] | None = None, **more: Any
) -> subprocess.Popen[str]:
    """A run in a child process, whose stderr holds one JSON event a line."""
    arguments = [str(inputs), str(out), str(model), json.dumps(options or {}), json.dumps(more)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments],
        stderr=subprocess.PIPE,
        env=environ,
        text=True,
        encoding="utf-8",
    )


def events_of(text: str) -> list[dict[str, Any]]:
    """The events among the lines of a child's stderr; any other line fails the test that reads it."""
    return [json.loads(line) for line in text.splitlines()]


def complete(inputs: Path, out: Path, model: Path, **more: Any) -> tuple[int, list[dict[str, Any]]]:
    """A run in a child process until its end: exit code and events."""
    child = start(inputs, out, model, **more)
    _, text = child.communicate(timeout=120)
    return child.returncode, events_of(text)


def digest_tree(out: Path) -> dict[str, str]:
    """SHA-256 of every file below `out`, apart from times and memory, which differ from run to run.

    The lock and the index files of runs are left out, but not the cases that they list.
    """
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir():
            found[name + "/"] = ""
        elif name in ("batch.json", "log.jsonl"):
            found[name] = ",".join(
                case["case"] for case in json.loads((out / "batch.json").read_text())["cases"]
            )
        elif not name.startswith(".hirescam"):
            data = path.read_bytes()
            found[name] = hashlib.sha256(_timeless(data) if path.name == "summary.json" else data).hexdigest()
    return found


def _timeless(data: bytes) -> bytes:
    summary = json.loads(data)
    summary["started"] = None
    summary["run"]["seconds"] = summary["run"]["peak_memory_mib"] = None
    return json.dumps(summary).encode()


def assert_whole(out: Path) -> None:
    """What has a case's final name is a whole case: every output that its summary lists, and nothing else."""
    for path in out.rglob("summary.json"):
        if any(part.endswith((".tmp", ".old")) for part in path.relative_to(out).parts):
            continue
        summary = json.loads(path.read_text())
        listed = {output["path"]: output["sha256"] for output in summary["outputs"]}
        there = {
            file.relative_to(path.parent).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in path.parent.rglob("*")
            if file.is_file() and file != path
        }
        assert there == listed, path


def leftovers(out: Path) -> list[str]:
    """Temporary files and folders below `out`."""
    return [path.relative_to(out).as_posix() for path in out.rglob(".*hirescam-*")]
