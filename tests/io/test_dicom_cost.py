"""What reading costs: memory little above the volume itself, headers fast enough for archives."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import RLELossless

from hirescam_cli.io.dicom import find_series, read_series
from hirescam_cli.io.scan import ReadOptions
from tests.io.dicom_case import find, only
from tests.io.dicom_factory import chest, make_enhanced, make_series


def peak_of_reading(root: Path) -> tuple[int, int]:
    """Bytes allocated at the most while reading, and bytes of the volume."""
    scan = only(root)
    tracemalloc.start()
    try:
        volume = read_series(scan, ReadOptions())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert volume.array_ijk.dtype == np.int16
    return peak, volume.array_ijk.nbytes


def test_a_series_needs_little_more_than_its_volume(tmp_path: Path) -> None:
    make_series(tmp_path, np.tile(chest((256, 256, 12)), (1, 1, 8)))
    peak, size = peak_of_reading(tmp_path)
    assert peak <= 1.3 * size


def test_a_large_file_of_many_frames_is_not_held_in_memory(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path / "e.dcm", np.tile(chest((512, 512, 12)), (1, 1, 5)))
    assert path.stat().st_size > 16 << 20
    peak, size = peak_of_reading(tmp_path)
    assert peak <= 1.3 * size


def test_finding_decodes_no_pixels(tmp_path: Path) -> None:
    make_series(tmp_path, chest((512, 512, 12)))
    tracemalloc.start()
    try:
        scans, _ = find(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(scans) == 1
    assert peak < 1 << 20


@pytest.mark.slow
def test_headers_of_ten_thousand_files_in_thirty_seconds(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "first", chest((24, 20, 100)))
    files = list(paths)
    for number in range(99):
        folder = tmp_path / f"copy{number}"
        folder.mkdir()
        for path in paths:
            os.link(path, folder / path.name)
            files.append(folder / path.name)
    started = time.perf_counter()
    scans, ignored = find_series(tmp_path, files, ReadOptions())
    seconds = time.perf_counter() - started
    assert (len(files), len(scans), ignored) == (10_000, 100, [])
    assert seconds < 30


def test_a_plain_image_without_a_rescale_needs_no_other_process(tmp_path: Path) -> None:
    """Starting one takes longer than reading the series; masks, archives and compressed slices still get one."""
    asked: list[object] = []

    def asking(function: Callable[..., Any], argument: Any, _otherwise: Any) -> Any:
        asked.append(function)
        return function(argument)

    make_series(tmp_path / "ct", intercept=0)
    make_series(tmp_path / "mask", np.abs(chest()) % 5, intercept=0)
    make_series(tmp_path / "rle", intercept=0, transfer_syntax=RLELossless)
    for name, calls, scans in (("ct", 0, 1), ("mask", 1, 0), ("rle", 1, 1)):
        asked.clear()
        folder = tmp_path / name
        found, _ = find_series(folder, folder.iterdir(), ReadOptions(), isolated=asking)
        assert (len(asked), len(found)) == (calls, scans), name
