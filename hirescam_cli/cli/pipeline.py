"""`hirescam pipeline`: `explain` as a host's container is asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hirescam_cli.cli.options import Given, setup_streams, with_options
from hirescam_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from hirescam_cli.hosts.job import Job

# What a host may set in a file beside the scans: nothing about where results go.
_SETTINGS = (
    "method", "model", "weights", "labels", "threshold", "target-layer", "placement", "freeze", "grid", "format",
    "signed", "seg-fraction", "compress", "device", "precision", "series", "prefer", "assume-affine", "allow-gaps",
    "max-voxels", "identifiers", "timeout", "failures-ok",
)  # fmt: skip

# How a run ends that has tried all of its scans.
_ENDED = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.BAD_DATA)


@with_options(
    *_SETTINGS, "output", "existing", "jobs", "max-failures", "host", "json", "log-file", "log-format", "quiet",
    "verbose",
    defaults={"output": None, "format": None},
    helps={
        "output": "Folder of results. [default: the host's]",
        "format": "What to write. [default: what the host can use]",
    },
)  # fmt: skip
def pipeline_command(
    given: Given,
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="[INPUT...]", help="Scans, where the host names no folder.")
    ] = None,
) -> None:
    """Explain scans inside mercure, MONAI, XNAT, Kaapana or Nextflow: its folders, its settings, its exit codes."""
    setup_streams(quiet=given["quiet"], verbose=given["verbose"])
    from hirescam_cli.hosts.job import HostOptions, job_for
    from hirescam_cli.hosts.surroundings import scratch
    from hirescam_cli.hosts.task import read_settings

    job = job_for(given.make(HostOptions).host, inputs or [], given["output"])
    values = dict(given.values)
    if job.models is not None and values["model"] == "demo":
        values["model"] = _model_in(job.models) or values["model"]
    if job.task is not None:
        values |= read_settings(job.task, _SETTINGS)
    if values["format"] is None:
        from hirescam_cli.registries import RESULT_FORMATS

        known = RESULT_FORMATS.names()
        values["format"] = tuple(name for name in job.formats if name in known) or ("nifti", "png")
    with scratch(job.run):
        code = _explain(job, Given(values))
    if code == ExitCode.SOME_FAILED and values["failures-ok"]:
        code = ExitCode.OK
    if code != ExitCode.OK:
        raise typer.Exit(code)


def _explain(job: Job, given: Given) -> int:
    """The run, and its results where the host wants them; the exit code of `explain`."""
    from hirescam_cli import __version__
    from hirescam_cli.batch.options import RunOptions
    from hirescam_cli.cli.console import print_json
    from hirescam_cli.cli.run import Messages, run_cases
    from hirescam_cli.hosts.deliver import deliver, write_mercure_result
    from hirescam_cli.io.scan import ReadOptions
    from hirescam_cli.label_choice import LabelChoice
    from hirescam_cli.model.spec import load_spec
    from hirescam_cli.settings import Settings

    spec = load_spec(given["model"])
    settings = given.make(Settings, read=given.make(ReadOptions))
    LabelChoice.parse(settings.labels, spec.labels)
    messages = given.make(Messages)
    options = given.make(RunOptions, handle_signals=True)
    _, result = run_cases(
        job.inputs, job.run, settings, spec, options, messages=messages, companions=job.companions
    )
    if job.result is not None:
        write_mercure_result(job.result, job.run, __version__, result.exit_code)
    # A run that was cut short goes on where it is when the host starts it again.
    delivered = deliver(job) if result.exit_code in _ENDED else []
    if messages.as_json and result.document is not None:
        print_json(result.document)
    elif not messages.quiet:
        where = f"{len(delivered)} files delivered" if delivered else str(job.run)
        typer.echo(
            f"{job.host}: {result.done + result.skipped} of {len(result.cases) + result.failed} scans; {where}"
        )
    return result.exit_code


def _model_in(folder: Path) -> str | None:
    """The one model file in a folder of models; None without any."""
    found = sorted({*folder.glob("*.toml"), *folder.glob("*/*.toml")}) if folder.is_dir() else []
    if len(found) > 1:
        raise UsageError(
            f"{folder} holds {len(found)} model files.", hint="Choose one with --model or HIRESCAM_MODEL."
        )
    return str(found[0]) if found else None
