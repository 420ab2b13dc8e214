"""The command tree of `hirescam`."""

from __future__ import annotations

import typer

from hirescam_cli import __version__
from hirescam_cli.cli.commands import App, Entry, Program

COMMANDS = (
    Entry(
        "explain", "hirescam_cli.cli.explain:explain_command",
        "Explain scans: which parts of each CT raised each label's logit, as NIfTI overlays, pictures and JSON.",
    ),
    Entry(
        "inspect", "hirescam_cli.cli.inspect:inspect_command",
        "Show what would be read: each scan, its geometry, values and coverage, and what is left out and why.",
    ),
    Entry(
        "render", "hirescam_cli.cli.render:render_command",
        "Make other overlays, pictures and pages from finished cases and their scans, without the network.",
    ),
    Entry(
        "report", "hirescam_cli.cli.render:report_command",
        "Write one self-contained HTML page per case that has none yet (needs --scan), and the index of all cases.",
    ),
    Entry(
        "train", "hirescam_cli.cli.train:train_command",
        "Train a network from scans and a table of labels; the result explains at once. Going on is the default.",
    ),
    Entry(
        "evaluate", "hirescam_cli.cli.evaluate:evaluate_command",
        "Measure whether maps point at what they explain: finished cases against masks, without the network.",
    ),
    Entry(
        "phantom", "hirescam_cli.cli.phantom:phantom_command",
        "Make synthetic chest CTs with known lesions: scans, masks, and a table of labels. Deterministic, resumable.",
    ),
    Entry(
        "pipeline", "hirescam_cli.cli.pipeline:pipeline_command",
        "Explain scans inside mercure, MONAI, XNAT, Kaapana or Nextflow: its folders, its settings, its exit codes.",
    ),
    Entry(
        "demo", "hirescam_cli.cli.demo:demo_command",
        "Explain the embedded phantom with the embedded model, and compare with where its lesions really are.",
    ),
    Entry(
        "bench", "hirescam_cli.cli.bench:bench_command",
        "Measure this machine: the goals of hirescam for speed and memory, and the figures reached.",
    ),
    Entry(
        "model", "hirescam_cli.cli.models:app",
        "Models: what is known, what they answer, whether weights fit.",
    ),
    Entry(
        "pacs", "hirescam_cli.cli.pacs:app",
        "An archive (PACS, VNA, Orthanc) over DICOMweb: scans from it, results back into it. Credentials come from "
        "HIRESCAM_PACS_USER and HIRESCAM_PACS_PASSWORD, HIRESCAM_PACS_TOKEN, or the netrc file.",
    ),
)  # fmt: skip


class Hirescam(Program):
    """`hirescam`."""

    entries = COMMANDS


app = App(
    name="hirescam",
    cls=Hirescam,
    help="Show which parts of a chest CT made a network call a finding: HiResCAM and Grad-CAM heatmaps that lie "
    "correctly on the scan, with figures that say how far they can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"hirescam {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", metavar="", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Options before the command."""
