"""Helpers for declaring and reading options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hirescam_cli.options import CHOICES, metavar, variable


def option(name: str, *short: str, panel: str, help: str, **kwargs: Any) -> Any:
    """A `typer.Option` named `--name` that can also be set as the environment variable HIRESCAM_<NAME>.

    Where the option has choices, these are its metavar.
    """
    if name in CHOICES:
        kwargs["metavar"] = metavar(name)
    # Help texts are no markup: an opening bracket would swallow what stands in it.
    text = help.replace("[", r"\[")
    return typer.Option(
        f"--{name}",
        *short,
        envvar=variable(name),
        rich_help_panel=panel,
        show_envvar=True,
        help=text,
        **kwargs,
    )


def flag(name: str, *short: str, panel: str, help: str) -> Any:
    """An `option` that is on or off: help shows no value after its name."""
    return option(name, *short, panel=panel, help=help, metavar="")


READING = "Reading"
Series = Annotated[str, option("series", panel=READING, help="Which DICOM series.")]
Prefer = Annotated[
    str | None,
    option(
        "prefer",
        panel=READING,
        help="Which of two disagreeing NIfTI transforms holds.",
    ),
]
AssumeAffine = Annotated[
    bool, flag("assume-affine", panel=READING, help="Accept NIfTI files without orientation.")
]
AllowGaps = Annotated[bool, flag("allow-gaps", panel=READING, help="Interpolate missing DICOM slices.")]
MaxVoxels = Annotated[int, option("max-voxels", metavar="N", panel=READING, help="Refuse larger volumes.")]
Identifiers = Annotated[
    str,
    option("identifiers", panel=READING, help="Whether series UIDs appear in results."),
]


def comma_list(values: Sequence[str]) -> list[str]:
    """The parts of values that may each be a list joined by commas."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def setup_streams(*, quiet: bool, verbose: int) -> None:
    """Keep warnings of libraries off the terminal unless asked for: hirescam says itself what matters."""
    import logging
    import warnings

    if not verbose:
        warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.ERROR if quiet or not verbose else logging.WARNING)
    for noisy in ("pydicom", "nibabel", "distributed", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
