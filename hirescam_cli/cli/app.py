"""The command tree of `hirescam`."""

from __future__ import annotations

import typer

from hirescam_cli import __version__
from hirescam_cli.cli import models, pacs
from hirescam_cli.cli.bench import bench_command
from hirescam_cli.cli.commands import App, Group
from hirescam_cli.cli.demo import demo_command
from hirescam_cli.cli.evaluate import evaluate_command
from hirescam_cli.cli.explain import explain_command
from hirescam_cli.cli.inspect import inspect_command
from hirescam_cli.cli.phantom import phantom_command
from hirescam_cli.cli.pipeline import pipeline_command
from hirescam_cli.cli.render import render_command, report_command
from hirescam_cli.cli.train import train_command

app = App(
    name="hirescam",
    cls=Group,
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


app.command("explain")(explain_command)
app.command("inspect")(inspect_command)
app.command("render")(render_command)
app.command("report")(report_command)
app.command("train")(train_command)
app.command("evaluate")(evaluate_command)
app.command("phantom")(phantom_command)
app.add_typer(models.app, name="model")
app.add_typer(pacs.app, name="pacs")
app.command("pipeline")(pipeline_command)
app.command("demo")(demo_command)
app.command("bench")(bench_command)
