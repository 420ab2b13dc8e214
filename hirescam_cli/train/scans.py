"""The scans of a table, read and prepared as `explain` does it, perhaps kept prepared in a folder, and read ahead."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load, save

from hirescam_cli.durable import output_error, write_file
from hirescam_cli.errors import HirescamError, NoInputError, ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.io import InputPath, ReadOptions, Scan, discover, read
from hirescam_cli.io.formats import format_of_kind
from hirescam_cli.prepare import Preparation, prepare
from hirescam_cli.train.table import Row

Item = TypeVar("Item")
Value = TypeVar("Value")
_CACHE_VERSION = 2


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """`array_ijk`: the network's input before its deferred steps; `affine_ras`: its voxel to RAS mm."""

    array_ijk: Voxels
    affine_ras: Affine


@dataclass(frozen=True)
class Scans:
    """Reads scans. `cache`: folder of prepared ones, whole HU in 16 bits; a damaged or foreign file is made anew."""

    preparation: Preparation
    options: ReadOptions
    cache: Path | None = None

    def make_cache(self) -> None:
        """Make the cache's folder. Raises OutputCreateError."""
        try:
            if self.cache is not None:
                self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(error, f"the cache {self.cache}") from error

    def find(self, row: Row) -> Scan:
        """The one scan at the path of a row. Raises ScanError where there is none or more than one."""
        try:
            found = discover([InputPath(row.path)], self.options).scans
        except NoInputError as error:
            raise _refusal(row, f"{row.path.name} does not exist", "no-such-path") from error
        if len(found) != 1:
            what = "holds no scan" if not found else f"holds {len(found)} scans"
            raise _refusal(row, f"{row.path.name} {what}", "scan-choice")
        return found[0]

    def check(self, row: Row) -> None:
        """Look whether there is one scan, of a format that is read. Raises ScanError."""
        scan = self.find(row)
        if format_of_kind(scan.kind) is None:
            # Reading says what is wrong with it.
            read(scan, self.options)

    def load(self, row: Row) -> PreparedScan:
        """Read and prepare the scan of a row. Raises ScanError, or OutputIOError where the cache cannot be written."""
        try:
            kept = self._place(row)
            if kept is not None and (found := _kept(kept)) is not None:
                return found
            prepared = prepare(read(self.find(row), self.options), self.preparation)
        except OSError as error:
            raise _refusal(row, error.strerror or type(error).__name__, "unreadable-file") from error
        scan = PreparedScan(prepared.array_ijk, prepared.affine_ras)
        if kept is not None:
            tensors: dict[str, NDArray[np.generic]] = {
                "array": smallest(scan.array_ijk),
                "affine": scan.affine_ras,
            }
            write_file(kept, save({k: np.ascontiguousarray(v) for k, v in tensors.items()}))
        return scan

    def load_slices(self, row: Row, choose: Callable[[Affine], slice]) -> Voxels:
        """Some slices of a scan along the first axis, of a kept scan without reading the rest.

        `choose`: which, from the scan's voxel to RAS mm. Raises as `load`, and what `choose` raises.
        """
        try:
            kept = self._place(row)
            found = None if kept is None else _kept_slices(kept, choose)
        except OSError as error:
            raise _refusal(row, error.strerror or type(error).__name__, "unreadable-file") from error
        if found is not None:
            return found
        scan = self.load(row)
        return scan.array_ijk[choose(scan.affine_ras)]

    def _place(self, row: Row) -> Path | None:
        return None if self.cache is None else self.cache / f"{self._key(row)}.safetensors"

    def _key(self, row: Row) -> str:
        """Of the files with size and time, how they are read and how prepared."""
        files = (
            sorted(path for path in row.path.rglob("*") if path.is_file())
            if row.path.is_dir()
            else [row.path]
        )
        stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        told = [_CACHE_VERSION, stats, asdict(self.options), self.preparation.described()]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def smallest(array: Voxels) -> NDArray[np.float32] | NDArray[np.int16]:
    """The same values in 16 bits where all of them are whole numbers that fit."""
    # Also where a value is no number.
    if not np.abs(array).max(initial=0.0) <= np.iinfo(np.int16).max:
        return array
    small = array.astype(np.int16)
    return small if np.array_equal(small, array) else array


def _kept(path: Path) -> PreparedScan | None:
    try:
        tensors = load(path.read_bytes())
        return PreparedScan(tensors["array"].astype(np.float32, copy=False), tensors["affine"])
    except (OSError, KeyError, ValueError, safetensors.SafetensorError):
        return None


def _kept_slices(path: Path, choose: Callable[[Affine], slice]) -> Voxels | None:
    try:
        with safe_open(path, framework="np") as file:
            found: Voxels = file.get_slice("array")[choose(file.get_tensor("affine"))]
            return found.astype(np.float32, copy=False)
    except (OSError, KeyError, ValueError, safetensors.SafetensorError):
        return None


def _refusal(row: Row, why: str, code: str) -> ScanError:
    return ScanError(
        f"The scan {row.id} (line {row.line} of the table) cannot be used: {why}.",
        hint="Correct its path, choose one with --series, or take it out of the table.",
        code=code,
    )


def ahead(
    items: Sequence[Item], work: Callable[[Item], Value], count: int
) -> Iterator[tuple[Item, Value | HirescamError]]:
    """`work` of each item in order, up to `count` of them begun ahead in threads; its deliberate errors as values."""

    def careful(item: Item) -> Value | HirescamError:
        try:
            return work(item)
        except HirescamError as error:
            return error

    todo, running = iter(items), deque[tuple[Item, Future[Value | HirescamError]]]()
    pool = ThreadPoolExecutor(count, thread_name_prefix="hirescam-scan")
    try:
        for item in todo:
            running.append((item, pool.submit(careful, item)))
            if len(running) > count:
                first, future = running.popleft()
                yield first, future.result()
        while running:
            first, future = running.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
