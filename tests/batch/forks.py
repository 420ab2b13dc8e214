"""A process that has loaded torch once and forks a child for each run, so that hundreds are quick."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from tests.batch.world import ROOT

_WARM = {
    "hirescam_cli",
    "nibabel",
    "numpy",
    "torch",
    "safetensors",
    "msgspec",
    "isal",
    "pydicom",
    "scipy",
    "gdcm",
}


class Forks:
    """The test's end: `run` gives the exit status of one run in a child (negative: a signal ended it)."""

    def __init__(self) -> None:
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.batch.forks"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True,
        )  # fmt: skip

    def run(self, inputs: Path, out: Path, model: Path, **more: Any) -> int:
        """`more`: options (of RunOptions), settings, faults (see `faults.install`), kill_after (seconds)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"inputs": str(inputs), "out": str(out), "model": str(model), **more}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
        self.process.stdout.close()


def _child(order: dict[str, Any]) -> int:
    from hirescam_cli.api import explain
    from hirescam_cli.batch import RunOptions
    from hirescam_cli.errors import HirescamError
    from hirescam_cli.settings import Settings
    from tests.batch import faults

    if "faults" in order:
        faults.install({"out": order["out"], **order["faults"]})
    settings = Settings(model=order["model"], formats=("nifti",), device="cpu", **order.get("settings", {}))
    options = RunOptions(**{"jobs": 0, "handle_signals": True, **order.get("options", {})})
    try:
        return explain(order["inputs"], order["out"], settings=settings, options=options).exit_code
    except HirescamError as error:
        return error.exit_code


def _fork(order: dict[str, Any]) -> int:
    reading, writing = os.pipe()
    before = set(sys.modules)
    child = os.fork()
    if child == 0:
        try:
            status = _child(order)
            loaded = [name for name in sys.modules if name.partition(".")[0] in _WARM and name not in before]
            os.write(writing, json.dumps(loaded).encode() + b"\n")
            os._exit(status)
        except BaseException:
            traceback.print_exc()
            os._exit(99)
    os.close(writing)
    if "kill_after" in order:
        threading.Timer(order["kill_after"], _kill, (child,)).start()
    with os.fdopen(reading) as said:
        _load(said.read())
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _load(modules: str) -> None:
    """Import what a child had to import, so that the next one finds it; one that was killed has not said all."""
    if modules.endswith("\n"):
        for name in json.loads(modules):
            importlib.import_module(name)


def _kill(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        time.sleep(0)


def main() -> None:
    """Serve orders, one JSON line each, until the input ends."""
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        print(_fork(json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
