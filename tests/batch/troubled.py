"""Stages that misbehave for scans whose names say so."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from hirescam_cli import pipeline
from hirescam_cli.batch.stages import STAGES
from hirescam_cli.errors import ScanError, UnavailableError
from hirescam_cli.io.scan import Scan


def read(scan: Scan, spec: Any, settings: Any) -> Any:
    """Read a scan, or do what its name asks for."""
    if "segfault" in scan.case:
        ctypes.string_at(0)
    if "hang" in scan.case:
        time.sleep(600)
    if "slow" in scan.case:
        time.sleep(1.0)
    if "killed" in scan.case:
        os.kill(os.getpid(), 9)
    if "exit" in scan.case:
        os._exit(3)
    if "memory" in scan.case:
        raise MemoryError
    if "medium" in scan.case:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if "damaged" in scan.case:
        raise ScanError(f"{scan.name} is damaged.", hint="Copy it again.", code="damaged")
    if "bug" in scan.case:
        raise KeyError("a bug")
    if "once" in scan.case:
        marker = Path(scan.root).parent / f".{scan.case}.seen"
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 9)
    return pipeline.read_case(scan, spec, settings)


def explain(session: Any, prepared: Any) -> Any:
    """Explain a scan, or fail as its name asks for."""
    case = prepared.scan.case
    if "network-bug" in case:
        raise ZeroDivisionError
    if "refused" in case:
        raise ScanError(f"{case} is refused.", stage="explain", code="refused")
    if "gone" in case:
        raise UnavailableError("The device is gone.", code="device-lost")
    if "poison" in case:
        os.kill(os.getpid(), 9)
    if "pause" in case:
        time.sleep(1.5)
    if "long" in case:
        for _ in range(600):
            time.sleep(0.1)
    return pipeline.explain_prepared(session, prepared)


TROUBLED = replace(STAGES, read_case=read, explain_prepared=explain)

STEP = 0.3


def steady_read(scan: Scan, spec: Any, settings: Any) -> Any:
    """Read a scan in a known time."""
    time.sleep(STEP)
    return pipeline.read_case(scan, spec, settings)


def steady_explain(session: Any, prepared: Any) -> Any:
    """Explain a scan in a known time."""
    time.sleep(STEP)
    return pipeline.explain_prepared(session, prepared)


def steady_write(*args: Any) -> Any:
    """Write a case in a known time."""
    time.sleep(STEP)
    return pipeline.write_case(*args)


STEADY = replace(STAGES, read_case=steady_read, explain_prepared=steady_explain, write_case=steady_write)
