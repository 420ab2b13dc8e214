"""Every option once: name, type, default, choices, help, and whether it belongs to a run's identity.

The command line, the environment, the records of the API (`Settings`, `ReadOptions`, `RunOptions`, `RenderOptions`),
`--help` and the hash of a run come from this table. A value that is not known is refused wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any

from hirescam_cli import choices
from hirescam_cli.option import ARCHIVE, DATA, MODEL, READING, RUN, SAY, WHAT, Option, Value
from hirescam_cli.train_options import TRAIN_OPTIONS

__all__ = ["BY_NAME", "OPTIONS", "Option", "Value", "check", "identity_of", "options_of", "stated"]

OPTIONS: tuple[Option, ...] = (
    Option("config", Path, None, "Options from a TOML file; none is read unless named.", RUN, metavar="FILE.toml"),
    Option("output", Path, Path("hirescam-output"), "Folder of the case folders.", RUN, metavar="DIR", short="-o"),
    Option("method", str, ("hirescam",), "Method; repeatable.", WHAT, choices.METHOD, several=True, identity=True),
    Option(
        "model", str, "demo", "Embedded model or description file; demo knows only phantoms.", MODEL,
        metavar="NAME|FILE.toml",
    ),
    Option(
        "weights", Path, (), "Checkpoint: .safetensors or a PyTorch state_dict; again and again: an ensemble.", MODEL,
        several=True, metavar="FILE",
    ),
    Option(
        "labels", str, "positive", "Labels that get overlays and pictures.", WHAT, choices.LABELS, identity=True
    ),
    Option(
        "threshold", float, None, "Probability from which a label is positive. [default: the model's]", WHAT,
        metavar="P", identity=True, lowest=0.0, highest=1.0, what="a probability from 0 to 1",
    ),
    Option(
        "target-layer", str, None, "Layer to explain. [default: the model's]", MODEL, metavar="MODULE", identity=True
    ),
    Option(
        "placement", str, None, "Where cells lie. [default: the model's]", WHAT, choices.PLACEMENT, identity=True
    ),
    Option(
        "freeze", str, "default", "Whether normalisers that the model names are held constant.", WHAT, choices.FREEZE,
        identity=True,
    ),
    Option(
        "grid", str, None, "Grid of overlays and Parametric Maps. [default: scan for those, cam for these]", WHAT,
        choices.GRID, identity=True,
    ),
    Option(
        "format", str, ("nifti", "png"), "What to write; repeatable.", WHAT, choices.FORMAT, several=True, identity=True
    ),
    Option("signed", bool, False, "Show negative evidence in pictures too.", WHAT, identity=True),
    Option(
        "seg-fraction", float, 0.5, "Share of its maximum from which a map counts as segmented (dicom-seg).", WHAT,
        metavar="F", identity=True, above=0.0, highest=1.0, what="a share above 0 and up to 1",
    ),
    Option("cells", bool, False, "Show the cells as they are, not interpolated.", WHAT),
    Option(
        "compress", int, 1, "Level of the NIfTI files' gzip.", WHAT, metavar="0-3", identity=True, lowest=0, highest=3,
        what="a level from 0 to 3",
    ),
    Option(
        "outline", str, None, "Mask outlined on every picture, besides each label's own; repeatable.", WHAT,
        several=True, metavar="NAME",
    ),
    Option("device", str, "auto", "Where the network runs; only auto may fall back.", MODEL, choices.DEVICE),
    Option("precision", str, "auto", "Of the trunk; the maps are always fp32.", MODEL, choices.PRECISION),
    Option("series", str, "all", "Which DICOM series.", READING, choices.SERIES),
    Option(
        "prefer", str, None, "Which of two disagreeing NIfTI transforms holds.", READING, choices.PREFER, identity=True
    ),
    Option("assume-affine", bool, False, "Accept NIfTI files without orientation.", READING, identity=True),
    Option("allow-gaps", bool, False, "Interpolate missing DICOM slices.", READING, identity=True),
    Option(
        "max-voxels", int, 1_000_000_000, "Refuse larger volumes.", READING, metavar="N", lowest=1,
        what="1 or more", code="option-value",
    ),
    Option(
        "identifiers", str, "uids", "Whether series UIDs appear in results.", READING, choices.IDENTIFIERS,
        identity=True,
    ),
    Option(
        "existing", str, "skip", "What to do with finished cases; error ends with exit code 73.", RUN,
        choices.EXISTING,
    ),
    Option("verify", bool, False, "Re-hash a finished case before skipping it.", RUN),
    Option(
        "jobs", int, None, "Reader processes; 0 reads in this process.", RUN, metavar="N", lowest=0, what="0 or more",
        code="option-value",
    ),
    Option("num-parts", int, None, "Split the cases into N parts (SLURM arrays: automatic).", RUN, metavar="N"),
    Option("part-id", int, None, "The part to run, from 0.", RUN, metavar="K"),
    Option("scheduler", str, None, "Dask scheduler, or local: one of this run's own.", RUN, choices.SCHEDULER),
    Option(
        "max-failures", int, None, "Stop at that many failed scans.", RUN, metavar="N", lowest=1, what="1 or more",
        code="option-value",
    ),
    Option(
        "timeout", float, None, "For reading and preparing a scan, in a reader process: not with --jobs 0.", RUN,
        metavar="SECONDS", above=0.0, what="a positive number of seconds", code="option-value",
    ),
    Option(
        "url", str, None, "The archive's DICOMweb address.", ARCHIVE, metavar="https://HOST[:PORT]/PATH", area="pacs-",
    ),
    Option(
        "ca-file", Path, None, "Certificates to trust, PEM. [default: the system's]", ARCHIVE, metavar="FILE",
        area="pacs-",
    ),
    Option(
        "retries", int, 5, "How often a request is tried again.", ARCHIVE, metavar="N", lowest=0, highest=100,
        what="a number from 0 to 100", area="pacs-",
    ),
    Option(
        "answer-timeout", float, 60.0, "How long to wait for an answer.", ARCHIVE, metavar="SECONDS", above=0.0,
        what="a positive number of seconds", area="pacs-",
    ),
    Option(
        "max-studies", int, 50, "Refuse a query that more studies match.", ARCHIVE, metavar="N", lowest=1,
        what="1 or more", area="pacs-",
    ),
    Option("include-own", bool, False, "Pull hirescam's own results too.", ARCHIVE, area="pacs-"),
    Option("host", str, "auto", "Which pipeline this runs in.", RUN, choices.HOST, area="pipeline-"),
    Option(
        "failures-ok", bool, False, "End with 0 if some scans failed and others are complete.", RUN, area="pipeline-"
    ),
    Option("dry-run", bool, False, "Print the plan and stop.", RUN),
    Option(
        "number", int, 10, "How many phantoms.", DATA, metavar="N", short="-n", lowest=1, what="1 or more",
        code="option-value",
    ),
    Option(
        "seed", int, 0, "Where random numbers start.", DATA, metavar="S", lowest=0, what="0 or more",
        code="option-value",
    ),
    Option("masks", Path, None, "Masks: a folder or a file for each case, named after it.", DATA, metavar="DIR"),
    Option(
        "mask-labels", Path, None, "What the values of label maps mean: CSV, JSON or a colour table.", DATA,
        metavar="FILE",
    ),
    Option("regions", str, None, "Which masks make up which region of the ledger.", DATA, metavar="NAME|FILE.toml"),
    Option("truth", Path, None, "Table of labels: id, then a column of 0 and 1 a label.", DATA, metavar="CSV"),
    Option("group", str, None, "Whose cases belong together. [default: each its own]", DATA, metavar="CSV:COLUMN"),
    Option(
        "tolerance-mm", float, 20.0, "How far from the mask a peak counts as near.", DATA, metavar="MM", lowest=0.0,
        what="0 or more", code="option-value",
    ),
    Option(
        "bootstrap", int, 2000, "Draws of patients for intervals and tests.", DATA, metavar="N", lowest=100,
        highest=1_000_000, what="100 to 1000000", code="option-value",
    ),
    Option("compare", Path, None, "Another run of the same scans, for paired differences.", DATA, metavar="OUT2"),
    Option("papers", bool, False, "Also the papers' own measures, with and without their error.", DATA),
    Option("referee", str, None, "Ask the network itself about the maps, by occlusion.", DATA, choices.REFEREE),
    Option(
        "groups", int, 5, "Slice groups of each label that are occluded, those of the highest scores.", DATA,
        metavar="N", lowest=1, what="1 or more", code="option-value",
    ),
    Option(
        "fill", str, ("blur", "mean"), "What occluded windows become; repeatable.", DATA, choices.FILL, several=True
    ),
    Option("json", bool, False, "Print the run's summary as JSON on stdout, nothing else.", SAY),
    Option("log-file", Path, None, "Write messages to a file too; it may lie in the output.", SAY, metavar="FILE"),
    Option("log-format", str, "text", "Format of messages.", SAY, choices.LOG_FORMAT),
    Option("quiet", bool, False, "Only errors.", SAY, short="-q"),
    Option("verbose", int, 0, "Say more.", SAY, short="-v", count=True),
    *TRAIN_OPTIONS,
)  # fmt: skip

BY_NAME = {option.name: option for option in OPTIONS}


def stated(name: str, **changes: Any) -> Any:
    """A field of a record that is the option `name`: its default comes from the table, or from `default` here."""
    return field(default=changes.get("default", BY_NAME[name].default), metadata={"option": BY_NAME[name]})


def options_of(record: object) -> Iterator[tuple[str, Option]]:
    """The fields of a record (or its class) that are options: each field's name with its option."""
    members: tuple[Field[Any], ...] = fields(record)  # type: ignore[arg-type]
    for member in members:
        option = member.metadata.get("option")
        if isinstance(option, Option):
            yield member.name, option


def check(record: object) -> None:
    """Raise UsageError for the first option of a record that has a value which it cannot have."""
    for name, option in options_of(record):
        default = type(record).__dataclass_fields__[name].default  # type: ignore[attr-defined]
        value = getattr(record, name)
        if not (value is None and default is None) and default is not MISSING:
            option.check(value)


def identity_of(*records: object) -> dict[str, Value]:
    """The options of records that decide what a case folder holds, by name: no paths, no device."""
    return {
        option.name: getattr(record, name)
        for record in records
        for name, option in options_of(record)
        if option.identity
    }
