"""`hirescam explain`: options in, one run, a table or JSON out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.cli.options import Given, Inputs, setup_streams, with_options
from hirescam_cli.options import stated


@dataclass(frozen=True)
class Destination:
    """Where a run writes, which of its cases it takes, and whether it only says so.

    `config`: the project file that options came from.
    """

    output: Path = stated("output")
    num_parts: int | None = stated("num-parts")
    part_id: int | None = stated("part-id")
    dry_run: bool = stated("dry-run")
    config: Path | None = stated("config")


@with_options(
    "config",
    "output", "method", "model", "weights", "labels", "threshold", "target-layer", "placement", "freeze", "grid",
    "format", "signed", "seg-fraction", "compress", "device", "precision", "series", "prefer", "assume-affine",
    "allow-gaps", "max-voxels", "identifiers", "existing", "verify", "jobs", "num-parts", "part-id", "scheduler",
    "max-failures", "timeout", "dry-run", "json", "log-file", "log-format", "quiet", "verbose",
)  # fmt: skip
def explain_command(inputs: Inputs, given: Given) -> None:
    """Explain scans: which parts of each CT raised each label's logit, as NIfTI overlays, pictures and JSON."""
    setup_streams(quiet=given["quiet"], verbose=given["verbose"])
    from hirescam_cli.batch.options import RunOptions
    from hirescam_cli.cli.inputs import parse_inputs
    from hirescam_cli.cli.run import Messages, run_explain
    from hirescam_cli.io.scan import ReadOptions
    from hirescam_cli.label_choice import LabelChoice
    from hirescam_cli.model.spec import load_spec
    from hirescam_cli.settings import Settings

    spec = load_spec(given["model"])
    settings = given.make(Settings, read=given.make(ReadOptions))
    LabelChoice.parse(settings.labels, spec.labels)
    run_explain(
        parse_inputs(inputs),
        settings,
        spec,
        given.make(RunOptions, handle_signals=True),
        given.make(Destination),
        messages=given.make(Messages),
    )
