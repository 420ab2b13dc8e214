"""`hirescam phantom`: synthetic chest CTs with known lesions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hirescam_cli.cli.options import Given, setup_streams, with_options
from hirescam_cli.errors import OutputCreateError, UsageError
from hirescam_cli.options import check, stated

_MOST_SEEDS = 2**31


@dataclass(frozen=True)
class PhantomOptions:
    """How many phantoms, and where their seeds start."""

    number: int = stated("number")
    seed: int = stated("seed")
    jobs: int | None = stated("jobs")

    def __post_init__(self) -> None:
        check(self)


@with_options(
    "number", "seed", "jobs", "json", "quiet",
    panels=False,
    helps={
        "number": "How many phantoms the folder shall hold.",
        "seed": "Seed of the first; each next one has the next seed.",
        "jobs": "Processes. [default: 1]",
        "json": "Print what was made as JSON, nothing else.",
    },
)  # fmt: skip
def phantom_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for scans, masks and labels.csv.")],
    given: Given,
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing-mm",
            metavar="X,Y,Z",
            envvar="HIRESCAM_SPACING_MM",
            show_envvar=True,
            help="Voxel spacing, in LPS. [default: spacing and orientation vary]".replace("[", r"\["),
        ),
    ] = None,
) -> None:
    """Make synthetic chest CTs with known lesions: scans, masks, and a table of labels. Deterministic, resumable."""
    setup_streams(quiet=given["quiet"], verbose=0)
    from hirescam_cli.cli.console import print_json, working
    from hirescam_cli.phantom.dataset import PhantomSet, write_dataset

    options = given.make(PhantomOptions)
    wanted = PhantomSet(options.number, options.seed, _spacing(spacing))
    if wanted.seeds.stop > _MOST_SEEDS:
        raise UsageError(f"--seed {options.seed} is too large.", hint=f"Seeds end at {_MOST_SEEDS - 1}.")
    if folder.exists() and not folder.is_dir():
        raise OutputCreateError(f"{folder} is not a folder.", hint="Choose another one.")
    with working() as say:
        made = write_dataset(folder, wanted, options.jobs or 1, say)
    if given["json"]:
        print_json({"folder": str(folder), "phantoms": made.total, "new": made.new})
    elif not given["quiet"]:
        done = "already done" if made.new == 0 else f"{made.new} made now"
        typer.echo(f"{folder}: {made.total} phantoms, {done}")


def _spacing(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        x = y = z = 0.0
    if not all(0.3 <= value <= 20.0 for value in (x, y, z)):
        raise UsageError(
            f"--spacing-mm is {text!r}, expected three numbers from 0.3 to 20.", hint="For example 1.5,1.5,3."
        )
    return x, y, z
