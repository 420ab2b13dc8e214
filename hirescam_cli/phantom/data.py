"""Training and held-out examples: phantoms at varied spacings and orientations, prepared as the network will get them.

Every scan goes through `hirescam_cli.prepare.prepare`, so that what training sees is what a user's scan becomes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import permutations, product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.phantom.generate import Phantom, make_phantom
from hirescam_cli.phantom.lesions import FINDINGS
from hirescam_cli.prepare import ModelInput, prepare, radchest

SLICES, SIDE = 102, 420
WINDOW_HU, SPACING_MM = (-1000.0, 400.0), (3.0, 0.7, 0.7)
PREPARATION = radchest(SPACING_MM, (SLICES, SIDE, SIDE), WINDOW_HU)
SUBTRACT = 0.449
BIN_PX = 10
BINS = SIDE // BIN_PX
ORIENTATIONS = tuple(
    "".join(pair[sign] for pair, sign in zip(axes, signs, strict=True))
    for axes in permutations(("LR", "PA", "IS"))
    for signs in product((0, 1), repeat=3)
)


def varied_phantom(seed: int) -> Phantom:
    """The phantom `seed` at a spacing and in one of the 48 orientations drawn from the seed."""
    rng = np.random.default_rng([seed, 50])
    in_plane = float(rng.uniform(0.75, 1.3) if rng.random() < 0.3 else rng.uniform(1.3, 2.7))
    between = float(rng.uniform(1.5, 2.5) if rng.random() < 0.2 else rng.uniform(2.5, 5.0))
    orientation = ORIENTATIONS[int(rng.integers(len(ORIENTATIONS)))]
    return make_phantom(seed, spacing_mm=(in_plane, in_plane, between), orientation=orientation)


@dataclass(frozen=True, eq=False)
class Example:
    """A prepared phantom.

    `window_zyx` uint8 [slices, side, side]: the HU window in 255 steps. `bins` [n] and `ml` [n]: flat indices into
    [labels, slices, BINS, BINS] and the volume of the abnormality there. `present` [labels].
    """

    window_zyx: NDArray[np.uint8]
    bins: NDArray[np.int64]
    ml: NDArray[np.float32]
    present: NDArray[np.bool_]


def windowed(hu: NDArray[np.int16]) -> NDArray[np.uint8]:
    """HU in the model's window, in 255 steps."""
    low, high = WINDOW_HU
    scaled = (hu.astype(np.float32) - low) * (255.0 / (high - low))
    result: NDArray[np.uint8] = np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)
    return result


def lesion_bins(phantom: Phantom, prepared: ModelInput) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where the abnormalities lie on the network's input: see `Example`. What lies outside is left out."""
    to_input = np.linalg.inv(prepared.affine_ras) @ phantom.volume.affine_ras
    voxel_ml = abs(float(np.linalg.det(phantom.volume.affine_ras[:3, :3]))) / 1000.0
    size = (len(FINDINGS), SLICES, BINS, BINS)
    total = np.zeros(int(np.prod(size)), dtype=np.float32)
    for label, mask in phantom.masks.items():
        index = affines.apply(to_input, np.argwhere(mask))
        z = np.rint(index[:, 0]).astype(np.int64)
        y, x = (np.floor((index[:, a] + 0.5) / BIN_PX).astype(np.int64) for a in (1, 2))
        inside = (z >= 0) & (z < size[1]) & (y >= 0) & (y < BINS) & (x >= 0) & (x < BINS)
        flat = np.ravel_multi_index(
            (np.full(int(inside.sum()), FINDINGS.index(label)), z[inside], y[inside], x[inside]), size
        )
        total += np.bincount(flat, minlength=total.size).astype(np.float32) * np.float32(voxel_ml)
    spread = _spread_over_slices(total.reshape(size), phantom)
    bins = np.flatnonzero(spread)
    return bins, spread.ravel()[bins]


def _spread_over_slices(ml: NDArray[np.float32], phantom: Phantom) -> NDArray[np.float32]:
    """Share the volume of thick slices with the input's slices that they cover."""
    thickness = max(phantom.volume.spacing_mm[a] for a in range(3)) / SPACING_MM[0]
    if thickness <= 1.0:
        return ml
    side = (thickness - 1.0) / (2.0 * thickness)
    spread = ml * np.float32(1.0 - 2.0 * side)
    spread[:, 1:] += np.float32(side) * ml[:, :-1]
    spread[:, :-1] += np.float32(side) * ml[:, 1:]
    return spread


def make_example(seed: int) -> Example:
    """The prepared phantom of a seed."""
    phantom = varied_phantom(seed)
    prepared = prepare(phantom.volume, PREPARATION)
    bins, ml = lesion_bins(phantom, prepared)
    present = np.array([label in phantom.findings for label in FINDINGS])
    return Example(windowed(prepared.array_ijk), bins, ml, present)


class Cache:
    """Examples of consecutive seeds on disk: one memory-mapped array of windows, the rest in memory."""

    def __init__(self, folder: Path, count: int) -> None:
        shape = (count, SLICES, SIDE, SIDE)
        self.windows: NDArray[np.uint8] = np.memmap(
            folder / "windows.u8", dtype=np.uint8, mode="r", shape=shape
        )
        with np.load(folder / "targets.npz") as data:
            self.present: NDArray[np.bool_] = data["present"][:count]
            ends = np.cumsum(data["counts"])
            self._bins = np.split(data["bins"], ends[:-1])[:count]
            self._ml = np.split(data["ml"], ends[:-1])[:count]

    def __len__(self) -> int:
        return len(self._bins)

    def group_ml(self, index: int, first: int, slices: int) -> NDArray[np.float32]:
        """Volume in ml [labels, BINS, BINS] of each label's abnormality in some consecutive slices."""
        dense = np.zeros((len(FINDINGS), BINS * BINS), dtype=np.float32)
        bins, ml = self._bins[index], self._ml[index]
        plane = BINS * BINS
        for label in range(len(FINDINGS)):
            low = (label * SLICES + first) * plane
            start, stop = np.searchsorted(bins, (low, low + slices * plane))
            np.add.at(dense[label], (bins[start:stop] - low) % plane, ml[start:stop])
        return dense.reshape(len(FINDINGS), BINS, BINS)

    def slice_ml(self, index: int) -> NDArray[np.float32]:
        """Volume in ml [labels, slices] of each label's abnormality in each slice."""
        size = len(FINDINGS) * SLICES
        total = np.bincount(self._bins[index] // (BINS * BINS), self._ml[index], minlength=size)
        return total.astype(np.float32).reshape(len(FINDINGS), SLICES)


def build_cache(folder: Path, first_seed: int, count: int, workers: int) -> Cache:
    """Make the examples `first_seed` .. `first_seed + count - 1`, unless the folder holds them."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "cache.json"
    wanted = {"first_seed": first_seed, "count": count}
    if stamp.is_file() and json.loads(stamp.read_text()) == wanted:
        return Cache(folder, count)
    stamp.unlink(missing_ok=True)
    shape = (count, SLICES, SIDE, SIDE)
    windows = np.memmap(folder / "windows.u8", dtype=np.uint8, mode="w+", shape=shape)
    bins, ml, present = [], [], []
    for n, example in enumerate(_examples(range(first_seed, first_seed + count), workers)):
        windows[n] = example.window_zyx
        bins.append(example.bins)
        ml.append(example.ml)
        present.append(example.present)
    windows.flush()
    np.savez(
        folder / "targets.npz",
        bins=np.concatenate(bins),
        ml=np.concatenate(ml),
        counts=np.array([len(b) for b in bins]),
        present=np.array(present),
    )
    stamp.write_text(json.dumps(wanted))
    return Cache(folder, count)


def _examples(seeds: range, workers: int) -> Iterator[Example]:
    if workers < 2:
        yield from map(make_example, seeds)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(make_example, seeds, chunksize=2)


def to_cells(ml: Voxels, cells: int) -> Voxels:
    """Sum bins [..., BINS, BINS] to the `cells` x `cells` of the stretch placement."""
    block = BINS // cells
    result: Voxels = ml.reshape(*ml.shape[:-2], cells, block, cells, block).sum(axis=(-3, -1))
    return result
