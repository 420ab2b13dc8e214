"""A folder of phantoms: scans, the masks of their lesions, and a table of labels for training and evaluation.

    DIR/scans/<id>.nii.gz, DIR/masks/<id>/<label>.nii.gz (only of lesions that are there), DIR/labels.csv

A phantom is the same for the same seed, wherever and however often it is made; phantom n of a set has the seed of the
set plus n, so that a larger set begins with the smaller one. Each file appears whole or not at all, the scan after its
masks, the table at the end; a set that was interrupted goes on where it was.
"""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import permutations, product
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from hirescam_cli.durable import output_error, write_file
from hirescam_cli.errors import OutputCreateError, UsageError
from hirescam_cli.phantom.generate import Phantom, draw_findings, make_phantom
from hirescam_cli.phantom.lesions import FINDINGS
from hirescam_cli.phantom.samples import nifti_bytes

RECORD, TABLE = "phantoms.json", "labels.csv"
SPLITS = {"train": 0.7, "valid": 0.15, "test": 0.15}
ORIENTATIONS = tuple(
    "".join(pair[sign] for pair, sign in zip(axes, signs, strict=True))
    for axes in permutations(("LR", "PA", "IS"))
    for signs in product((0, 1), repeat=3)
)
_COMPRESS = 1
_VERSION = 1


@dataclass(frozen=True)
class PhantomSet:
    """What a folder holds: phantoms `seed` to `seed + count - 1`.

    `spacing_mm`: along the patient's axes, in the orientation "LPS"; None varies both from scan to scan.
    """

    count: int
    seed: int = 0
    spacing_mm: tuple[float, float, float] | None = None

    @property
    def seeds(self) -> range:
        """The seeds of its phantoms."""
        return range(self.seed, self.seed + self.count)

    def phantom(self, seed: int) -> Phantom:
        """One phantom of it."""
        if self.spacing_mm is None:
            return varied_phantom(seed)
        return make_phantom(seed, spacing_mm=self.spacing_mm)


@dataclass(frozen=True)
class Made:
    """What was done: how many phantoms the folder holds and how many of them were made now."""

    total: int
    new: int


def varied_phantom(seed: int) -> Phantom:
    """The phantom `seed` at a spacing and in one of the 48 orientations drawn from the seed."""
    rng = np.random.default_rng([seed, 50])
    in_plane = float(rng.uniform(0.75, 1.3) if rng.random() < 0.3 else rng.uniform(1.3, 2.7))
    between = float(rng.uniform(1.5, 2.5) if rng.random() < 0.2 else rng.uniform(2.5, 5.0))
    orientation = ORIENTATIONS[int(rng.integers(len(ORIENTATIONS)))]
    return make_phantom(seed, spacing_mm=(in_plane, in_plane, between), orientation=orientation)


def phantom_id(seed: int) -> str:
    """What the phantom of a seed is called."""
    return f"phantom-{seed:06d}"


def split_of(seed: int) -> str:
    """The part of a data set that a phantom belongs to, drawn from its seed with the shares of `SPLITS`."""
    draw = float(np.random.default_rng([seed, 60]).random())
    for name, share in SPLITS.items():
        draw -= share
        if draw < 0:
            return name
    return name


def write_dataset(
    folder: Path, wanted: PhantomSet, jobs: int = 1, on_done: Callable[[str], None] = lambda _: None
) -> Made:
    """Make the phantoms of a set that `folder` does not hold yet, then its table; `on_done` hears of each new one.

    Raises UsageError where the folder holds phantoms of another set, OutputCreateError or OutputIOError.
    """
    try:
        for part in ("scans", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder.name) from error
    whole = _with_earlier(folder, wanted)
    missing = [seed for seed in whole.seeds if not _scan(folder, seed).is_file()]
    write_file(folder / RECORD, _record(whole))
    if jobs > 1 and len(missing) > 1:
        with ProcessPoolExecutor(
            min(jobs, len(missing)), mp_context=get_context("spawn"), initializer=_leave_interrupts
        ) as pool:
            try:
                for name in pool.map(partial(_write_phantom, folder, whole), missing):
                    on_done(name)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    else:
        for seed in missing:
            on_done(_write_phantom(folder, whole, seed))
    write_file(folder / TABLE, table(whole.seeds).encode())
    return Made(whole.count, len(missing))


def table(seeds: Sequence[int]) -> str:
    """labels.csv: id, path (relative to the table), patient, split, and 0 or 1 for each label."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "path", "patient", "split", *FINDINGS])
    for seed in seeds:
        name, found = phantom_id(seed), draw_findings(seed)
        present = [int(label in found) for label in FINDINGS]
        rows.writerow([name, f"scans/{name}.nii.gz", name, split_of(seed), *present])
    return text.getvalue()


def _with_earlier(folder: Path, wanted: PhantomSet) -> PhantomSet:
    """The set with all phantoms that the folder holds or was to hold."""
    path = folder / RECORD
    if not path.is_file():
        if any((folder / "scans").iterdir()) or (folder / TABLE).exists():
            raise OutputCreateError(
                f"{folder.name} holds scans that are not phantoms of hirescam.",
                hint="Choose a new folder.",
                code="output-foreign",
            )
        return wanted
    try:
        found = json.loads(path.read_bytes())
        count = int(found.pop("count"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OutputCreateError(
            f"{folder.name}/{RECORD} cannot be read.", hint="Choose a new folder.", code="output-foreign"
        ) from error
    own = _identity(wanted)
    if found != own:
        changed = sorted(key for key in {*own, *found} if own.get(key) != found.get(key))
        raise UsageError(
            f"{folder.name} holds phantoms of another set: {', '.join(changed)} differ.",
            hint="Repeat the options, or choose a new folder.",
            code="options-changed",
        )
    return PhantomSet(max(count, wanted.count), wanted.seed, wanted.spacing_mm)


def _identity(wanted: PhantomSet) -> dict[str, object]:
    spacing = None if wanted.spacing_mm is None else list(wanted.spacing_mm)
    return {"version": _VERSION, "seed": wanted.seed, "spacing_mm": spacing}


def _record(wanted: PhantomSet) -> bytes:
    document = _identity(wanted) | {"count": wanted.count}
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _scan(folder: Path, seed: int) -> Path:
    return folder / "scans" / f"{phantom_id(seed)}.nii.gz"


def _write_phantom(folder: Path, wanted: PhantomSet, seed: int) -> str:
    """Write the masks of one phantom, then its scan; returns its name."""
    phantom, name = wanted.phantom(seed), phantom_id(seed)
    affine = phantom.volume.affine_ras
    masks = folder / "masks" / name
    try:
        for label, mask in phantom.masks.items():
            if mask.any():
                masks.mkdir(exist_ok=True)
                data = nifti_bytes(mask.astype(np.uint8), affine, _COMPRESS)
                write_file(masks / f"{label}.nii.gz", data)
    except OSError as error:
        raise output_error(error, f"masks/{name}") from error
    write_file(_scan(folder, seed), nifti_bytes(phantom.volume.array_ijk, affine, _COMPRESS))
    return name


def _leave_interrupts() -> None:
    """An interrupt ends the parent, which ends these processes when the phantom at hand is written."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
