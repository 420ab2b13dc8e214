"""Faults for a child process: at the n-th operation on the output's files it is killed or gets an error.

Operations are counted where Python makes them: opening for writing, writing, syncing, renaming, making,
removing.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from hirescam_cli.case import publish

_AUDITED = {"os.rename": "rename", "os.mkdir": "mkdir", "os.rmdir": "remove", "os.remove": "remove"}


class Injector:
    """Counts operations below `out` and strikes at number `at` (from 1): errno `number`, or SIGKILL for None.

    `again`: later operations that write fail too, as on a full disk. `journal`: a file that gets the kind of
    each.
    """

    def __init__(self, out: str, at: int, number: int | None, journal: str | None, again: bool) -> None:
        self.out, self.at, self.number, self.again = os.path.realpath(out), at, number, again
        self.journal = None if journal is None else os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.count = 0
        self.lock = threading.Lock()

    def concerns(self, path: object) -> bool:
        """Whether a path given to an operation lies in the output."""
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.realpath(os.fsdecode(path)).startswith(self.out)

    def strike(self, kind: str) -> None:
        """Count one operation, and fail if it is the one."""
        with self.lock:
            self.count += 1
            if self.journal is not None:
                os.write(self.journal, f"{kind}\n".encode())
            hit = self.count == self.at or (self.again and self.count > self.at and kind != "remove")
        if hit and self.number is None:
            os.kill(os.getpid(), signal.SIGKILL)
        elif hit:
            raise OSError(self.number, os.strerror(self.number or 0))


class _Raw(io.FileIO):
    """A file whose every write may fail."""

    injector: Injector

    def write(self, data: Any) -> int:
        self.injector.strike("write")
        return super().write(data)


def install(spec: dict[str, Any]) -> None:
    """Arm this process. `spec`: out, at, errno (absent: kill), journal, again."""
    injector = Injector(
        spec["out"], spec.get("at", 0), spec.get("errno"), spec.get("journal"), spec.get("again", False)
    )
    real_open, real_fsync, real_exchange = io.open, os.fsync, publish._exchange

    def opened(file: Any, mode: str = "r", *args: Any, **keys: Any) -> Any:
        if not set(mode) & set("wax+") or not injector.concerns(file):
            return real_open(file, mode, *args, **keys)
        injector.strike("open")
        raw = _Raw(file, mode.replace("b", "").replace("t", ""))
        raw.injector = injector
        binary = io.BufferedWriter(raw)
        return binary if "b" in mode else io.TextIOWrapper(binary, keys.get("encoding") or "utf-8")

    def fsync(descriptor: int) -> None:
        injector.strike("fsync")
        real_fsync(descriptor)

    def exchange(new: Path, old: Path) -> bool:
        injector.strike("exchange")
        return real_exchange(new, old)

    def audit(event: str, args: tuple[Any, ...]) -> None:
        inside_a_tree = event in ("os.remove", "os.rmdir") and args[1] not in (-1, None)
        if event in _AUDITED and (inside_a_tree or injector.concerns(args[0])):
            injector.strike(_AUDITED[event])

    builtins.open = io.open = opened
    os.fsync, publish._exchange = fsync, exchange
    sys.addaudithook(audit)
