"""A small world to train in: coarse phantoms, a narrow AxialNet of two slice groups, a table."""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hirescam_cli.io import ReadOptions
from hirescam_cli.phantom import FINDINGS
from hirescam_cli.phantom.dataset import PhantomSet, write_dataset
from hirescam_cli.train.layout import Layout
from hirescam_cli.train.options import MaskOptions, RunOptions, TrainOptions
from hirescam_cli.train.plan import Request
from hirescam_cli.train.table import Source

MODEL = """name = "tiny"
intended_use = "Tests. Not for diagnosis."
architecture = "axialnet"
[parameters]
trunk_width = {width}
head_channels = [8]
[labels]
names = {labels}
[input]
axes = "IPL"
channels = "slab:3"
[[preparation]]
step = "resample"
spacing_mm = [{thick}, 1.7, 1.7]
interpolation = "linear"
[[preparation]]
step = "window"
hu = [-1000, 1000]
to = [-1000, 1000]
levels = 2001
[[preparation]]
step = "pad_crop"
shape = [{slices}, 232, 232]
value = "minimum"
[[preparation]]
step = "window"
hu = [-1000, 400]
[[preparation]]
step = "normalise"
subtract = 0.449
"""
LABELS = ("mass", "pleural_effusion", "cardiomegaly")


def model_text(groups: int = 2, width: int = 4, labels: tuple[str, ...] = LABELS) -> str:
    """The description of a narrow AxialNet."""
    names = "[" + ", ".join(f'"{label}"' for label in labels) + "]"
    return MODEL.format(labels=names, slices=3 * groups, thick=270 / (3 * groups), width=width)


@dataclass
class World:
    """A folder with phantoms (scans, masks), table.csv and tiny.toml."""

    folder: Path
    model: str = "tiny.toml"
    table: str = "table.csv"
    options: dict[str, Any] = field(default_factory=dict)

    def request(self, run: Path, **changes: Any) -> Request:
        """A request of two epochs; `changes` of any option record, by field."""
        given = {
            "output": run,
            "model": str(self.folder / self.model),
            "epochs": 2,
            "device": "cpu",
            **self.options,
        }
        given |= changes
        records = (TrainOptions, MaskOptions, Layout, ReadOptions, RunOptions)
        parts = [
            record(**{name: value for name, value in given.items() if name in record.__dataclass_fields__})
            for record in records
        ]
        return Request((Source(self.folder / given.get("table", self.table)),), *parts)  # type: ignore[arg-type]

    def command(self, run: Path, *more: str) -> list[str]:
        """The same as a command line."""
        return [
            "train", str(self.folder / self.table), "--model", str(self.folder / self.model), "-o", str(run),
            "--epochs", "2", "--device", "cpu", *more,
        ]  # fmt: skip

    def rows(self) -> list[dict[str, str]]:
        """The table."""
        with (self.folder / self.table).open(newline="") as file:
            return list(csv.DictReader(file))

    def other_bytes(self, path: str, name: str) -> str:
        """A scan's voxels in a file of other bytes, since one file may not be in two splits; returns its name."""
        scan = gzip.decompress((self.folder / path).read_bytes())
        (self.folder / name).write_bytes(gzip.compress(scan, 1))
        return name

    def write_rows(self, rows: list[dict[str, str]], name: str) -> str:
        """Another table in the folder; returns its name."""
        with (self.folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return name


def make_world(folder: Path, count: int = 8, valid: int = 3) -> World:
    """`count` phantoms of coarse voxels, the last `valid` of them for validation."""
    write_dataset(folder, PhantomSet(count, 900, (4.0, 4.0, 12.0)))
    world = World(folder, table="labels.csv")
    rows = world.rows()
    for n, row in enumerate(rows):
        row["split"] = "valid" if n >= count - valid else "train"
    world.table = world.write_rows(rows, "table.csv")
    (folder / "tiny.toml").write_text(model_text())
    assert set(LABELS) <= set(FINDINGS)
    return world


def many_rows(world: World, valid: int) -> str:
    """A table in which each scan stands several times under other ids, so that validation is large enough."""
    rows, found = world.rows(), []
    rng = np.random.default_rng(3)
    for n in range(valid + 4):
        row = dict(rows[n % len(rows)])
        if n >= valid:
            row["path"] = world.other_bytes(row["path"], f"scans/copy-{n}.nii.gz")
        row |= {"id": f"again-{n}", "patient": f"p{n}", "split": "valid" if n < valid else "train"}
        row |= {label: str(int(rng.random() < 0.5)) for label in LABELS}
        found.append(row)
    return world.write_rows(found, "many.csv")


def hirescam(*arguments: str, processes: int = 1, **environment: str) -> subprocess.Popen[str]:
    """The command in processes of its own, on one thread each."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.Popen(
        [*start, "-m", "hirescam_cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment},
    )  # fmt: skip
