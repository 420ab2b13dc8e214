"""`hirescam explain`: options in, one run, a table or JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hirescam_cli.cli.options import (
    AllowGaps,
    AssumeAffine,
    Identifiers,
    MaxVoxels,
    Prefer,
    Series,
    comma_list,
    flag,
    option,
    setup_streams,
)

_MODEL, _WHAT, _RUN, _SAY = "Model", "What to compute and write", "The run", "Messages"


def explain_command(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Scan files or folders; - for a list on standard input."),
    ],
    output: Annotated[
        Path, option("output", "-o", metavar="DIR", panel=_RUN, help="Folder of the case folders.")
    ] = Path("hirescam-output"),
    method: Annotated[
        list[str] | None,
        option("method", panel=_WHAT, help="Method; repeatable. [default: hirescam]"),
    ] = None,
    model: Annotated[
        str,
        option(
            "model",
            metavar="NAME|FILE.toml",
            panel=_MODEL,
            help="Embedded model or description file; demo knows only phantoms.",
        ),
    ] = "demo",
    weights: Annotated[
        Path | None,
        option(
            "weights", metavar="FILE", panel=_MODEL, help="Checkpoint: .safetensors or a PyTorch state_dict."
        ),
    ] = None,
    labels: Annotated[
        str,
        option(
            "labels",
            panel=_WHAT,
            help="Labels that get overlays and pictures.",
        ),
    ] = "positive",
    threshold: Annotated[
        float | None,
        option(
            "threshold",
            metavar="P",
            panel=_WHAT,
            help="Probability from which a label is positive. [default: the model's]",
        ),
    ] = None,
    target_layer: Annotated[
        str | None,
        option(
            "target-layer", metavar="MODULE", panel=_MODEL, help="Layer to explain. [default: the model's]"
        ),
    ] = None,
    placement: Annotated[
        str | None,
        option(
            "placement",
            panel=_WHAT,
            help="Where cells lie. [default: the model's]",
        ),
    ] = None,
    grid: Annotated[str, option("grid", panel=_WHAT, help="Grid of the overlays.")] = "scan",
    formats: Annotated[str, option("format", panel=_WHAT, help="What to write.")] = "nifti,png",
    signed: Annotated[
        bool, flag("signed", panel=_WHAT, help="Show negative evidence in pictures too.")
    ] = False,
    compress: Annotated[
        int, option("compress", metavar="0-3", panel=_WHAT, help="Level of the NIfTI files' gzip.")
    ] = 1,
    device: Annotated[
        str,
        option(
            "device",
            panel=_MODEL,
            help="Where the network runs; only auto may fall back.",
        ),
    ] = "auto",
    precision: Annotated[
        str,
        option(
            "precision",
            panel=_MODEL,
            help="Of the trunk; the maps are always fp32.",
        ),
    ] = "auto",
    series: Series = "all",
    prefer: Prefer = None,
    assume_affine: AssumeAffine = False,
    allow_gaps: AllowGaps = False,
    max_voxels: MaxVoxels = 1_000_000_000,
    identifiers: Identifiers = "uids",
    existing: Annotated[
        str,
        option("existing", panel=_RUN, help="What to do with finished cases."),
    ] = "skip",
    verify: Annotated[
        bool, flag("verify", panel=_RUN, help="Re-hash a finished case before skipping it.")
    ] = False,
    jobs: Annotated[
        int | None, option("jobs", metavar="N", panel=_RUN, help="Reader processes; 0 reads in this process.")
    ] = None,
    num_parts: Annotated[
        int | None,
        option(
            "num-parts",
            metavar="N",
            panel=_RUN,
            help="Split the cases into N parts (SLURM arrays: automatic).",
        ),
    ] = None,
    part_id: Annotated[
        int | None, option("part-id", metavar="K", panel=_RUN, help="The part to run, from 0.")
    ] = None,
    scheduler: Annotated[
        str | None,
        option("scheduler", metavar="ADDRESS", panel=_RUN, help="Dask scheduler (tcp://...) or local."),
    ] = None,
    max_failures: Annotated[
        int | None, option("max-failures", metavar="N", panel=_RUN, help="Stop at that many failed scans.")
    ] = None,
    timeout: Annotated[
        float | None,
        option("timeout", metavar="SECONDS", panel=_RUN, help="For reading and preparing a scan."),
    ] = None,
    dry_run: Annotated[bool, flag("dry-run", panel=_RUN, help="Print the plan and stop.")] = False,
    as_json: Annotated[
        bool, flag("json", panel=_SAY, help="Print the run's summary as JSON on stdout, nothing else.")
    ] = False,
    log_file: Annotated[
        Path | None, option("log-file", metavar="FILE", panel=_SAY, help="Write messages to a file too.")
    ] = None,
    log_format: Annotated[str, option("log-format", panel=_SAY, help="Format of messages.")] = "text",
    quiet: Annotated[bool, flag("quiet", "-q", panel=_SAY, help="Only errors.")] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            metavar="",
            rich_help_panel=_SAY,
            envvar="HIRESCAM_VERBOSE",
            help="Say more.",
        ),
    ] = 0,
) -> None:
    """Explain scans: which parts of each CT raised each label's logit, as NIfTI overlays, pictures and JSON."""
    setup_streams(quiet=quiet, verbose=verbose)
    from hirescam_cli.batch.options import RunOptions
    from hirescam_cli.cli.inputs import parse_inputs
    from hirescam_cli.cli.run import Messages, run_explain
    from hirescam_cli.io.scan import ReadOptions
    from hirescam_cli.model.spec import load_spec
    from hirescam_cli.settings import Settings

    read: Any = {
        "series": series,
        "prefer": prefer,
        "assume_affine": assume_affine,
        "allow_gaps": allow_gaps,
        "max_voxels": max_voxels,
    }
    spec = load_spec(model)
    chosen: Any = {
        "methods": tuple(dict.fromkeys(comma_list(method or ["hirescam"]))),
        "formats": tuple(dict.fromkeys(comma_list([formats]))),
        "grid": grid,
        "identifiers": identifiers,
    }
    settings = Settings(
        model=model, weights=weights, labels=labels, threshold=threshold, target_layer=target_layer,
        placement=placement, device=device, precision=precision, compress=compress, signed=signed,
        read=ReadOptions(**read), **chosen,
    ).checked(spec)  # fmt: skip
    options: Any = {
        "existing": existing,
        "verify": verify,
        "jobs": jobs,
        "timeout": timeout,
        "max_failures": max_failures,
        "scheduler": scheduler,
    }
    run_explain(
        parse_inputs(inputs), output, settings, spec, RunOptions(handle_signals=True, **options),
        parts=(num_parts, part_id), dry_run=dry_run, messages=Messages(as_json, log_file, log_format, quiet, verbose),
    )  # fmt: skip
