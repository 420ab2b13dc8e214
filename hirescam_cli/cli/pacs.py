"""`hirescam pacs`: scans from an archive, results back into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hirescam_cli.cli.commands import App, Group
from hirescam_cli.cli.options import Given, setup_streams, with_options
from hirescam_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from hirescam_cli.pacs.archive import Archive

app = App(
    cls=Group,
    help="An archive (PACS, VNA, Orthanc) over DICOMweb: scans from it, results back into it. Credentials come from "
    "HIRESCAM_PACS_USER and HIRESCAM_PACS_PASSWORD, HIRESCAM_PACS_TOKEN, or the netrc file.",
    no_args_is_help=True,
)
_HELPS = {"json": "Print one JSON document instead of lines.", "quiet": "Only errors."}


@app.command("pull")
@with_options(
    "output", "identifiers", "existing", "verify", "url", "ca-file", "retries", "answer-timeout", "max-studies",
    "include-own", "json", "quiet",
    panels=False,
    defaults={"output": Path("hirescam-scans")},
    helps={
        **_HELPS,
        "output": "Folder of the study folders.",
        "identifiers": "Whether folders and files are named by UIDs.",
        "existing": "What to do with finished series.",
        "verify": "Re-hash a finished series before skipping it.",
    },
)  # fmt: skip
def pull_command(
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="What to pull: StudyInstanceUID=..., AccessionNumber=..., Modality=CT ...",
        ),
    ],
    given: Given,
) -> None:
    """Pull the series of matching studies, each whole into OUTPUT/STUDY/SERIES; a second run is already done."""
    archive = _archive(given)
    from hirescam_cli.cli.console import print_json
    from hirescam_cli.pacs.pull import PullOptions, pull
    from hirescam_cli.pacs.query import parse_query

    result = pull(archive, parse_query(query), given.make(PullOptions), _say(given["quiet"]))
    if given["json"]:
        print_json(result.document())
    elif not given["quiet"]:
        for one in result.series:
            what = f"{one.instances} of {one.counted} instances" if one.status == "failed" else one.message
            typer.echo(f"{one.status}: {one.folder or one.modality}, {what or f'{one.instances} instances'}")
    for one in result.series:
        if one.status == "failed":
            typer.echo(f"{one.modality or 'series'}: {one.message}", err=True)
    if result.exit_code != ExitCode.OK:
        raise typer.Exit(result.exit_code)


@app.command("push")
@with_options(
    "existing", "verify", "url", "ca-file", "retries", "answer-timeout", "json", "quiet",
    panels=False,
    helps={
        **_HELPS,
        "existing": "What to do with objects that the archive took before.",
        "verify": "Read every object that is sent back from the archive and compare.",
    },
)  # fmt: skip
def push_command(
    cases: Annotated[
        list[Path], typer.Argument(metavar="CASE...", help="Folders of finished cases, or of whole runs.")
    ],
    given: Given,
) -> None:
    """Push the DICOM results of finished cases; what the archive took before is not sent again."""
    archive = _archive(given)
    from hirescam_cli.cli.console import print_json
    from hirescam_cli.pacs.push import PushOptions, push

    result = push(archive, cases, given.make(PushOptions), _say(given["quiet"]))
    if given["json"]:
        print_json(result.document())
    elif not given["quiet"]:
        for one in result.objects:
            typer.echo(f"{one.status}: {one.case}/{one.path}" + (f" ({one.message})" if one.message else ""))
    for folder in result.passed_over:
        typer.echo(f"{folder}: no DICOM results", err=True)
    if result.exit_code != ExitCode.OK:
        for one in result.objects:
            if one.status in ("refused", "damaged"):
                typer.echo(f"{one.case}/{one.path}: {one.status}: {one.message}", err=True)
        raise typer.Exit(result.exit_code)


def _archive(given: Given) -> Archive:
    setup_streams(quiet=given["quiet"], verbose=0)
    from importlib.util import find_spec

    if find_spec("dicomweb_client") is None:
        raise UsageError(
            "hirescam pacs needs dicomweb-client, which is not installed.",
            hint="pip install 'hirescam-cli[pacs]'",
            code="pacs-unavailable",
        )
    from hirescam_cli.pacs.access import ArchiveOptions, access
    from hirescam_cli.pacs.archive import Archive

    found = access(given.make(ArchiveOptions))
    if found.in_the_clear:
        typer.echo("hirescam: warning: credentials go to the archive unencrypted: use https.", err=True)
    return Archive(found, _say(given["quiet"]))


def _say(quiet: bool) -> Callable[[str], None]:
    """How progress is told: on stderr, one line each."""
    return (lambda _text: None) if quiet else (lambda text: typer.echo(f"hirescam: {text}", err=True))
