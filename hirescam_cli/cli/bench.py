"""`hirescam bench`: the performance table."""

from __future__ import annotations

from typing import Annotated

import typer

from hirescam_cli.cli.options import Given, comma_list, with_options
from hirescam_cli.errors import UsageError

INSTALL = "pip install 'hirescam-cli[bench]'"


@with_options(
    "device",
    "json",
    panels=False,
    helps={"device": "Where the network runs.", "json": "Print JSON on stdout and nothing else."},
)
def bench_command(
    given: Given,
    quick: Annotated[
        bool, typer.Option("--quick", metavar="", help="A small network and scan, to see that it runs.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, metavar="N", help="CPU threads. [default: all]")
    ] = None,
    only: Annotated[
        str, typer.Option("--only", metavar="SECTION,...", help="Some sections, such as network,overlay.")
    ] = "",
    as_markdown: Annotated[
        bool, typer.Option("--markdown", metavar="", help="Print the table in Markdown.")
    ] = False,
) -> None:
    """Measure this machine: the goals of hirescam for speed and memory, and the figures reached.

    Takes about a quarter of an hour with the full-size network (random weights), seconds with --quick.
    """
    from importlib.util import find_spec

    if find_spec("SimpleITK") is None:
        raise UsageError(
            "bench compares with SimpleITK, which is not installed.", hint=INSTALL, code="bench-extra"
        )
    from hirescam_cli.bench import table
    from hirescam_cli.bench.run import run_bench
    from hirescam_cli.cli import console

    messages = console.stderr()
    machine, rows = run_bench(
        quick=quick,
        device=given["device"],
        threads=threads,
        only=comma_list([only]),
        say=lambda text: messages.print(f"measuring {text} ..."),
    )
    if given["json"]:
        console.print_json(table.document(machine, rows))
    elif as_markdown:
        typer.echo(table.markdown(machine, rows), nl=False)
    else:
        out = console.stdout()
        out.print(", ".join(f"{key} {value}" for key, value in machine.items()))
        shown = console.table(*table.HEADINGS, right=("Goal", "Measured"))
        for row in rows:
            shown.add_row(*table.cells(row))
        console.print_table(out, shown)
