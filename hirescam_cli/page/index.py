"""The index of a run: OUT/index.html, every case with status, findings, thumbnail and links."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from hirescam_cli import __version__
from hirescam_cli.case.listing import Listed
from hirescam_cli.case.record import AnyCase, Label
from hirescam_cli.page.bundle import bundle
from hirescam_cli.page.document import document, json_text, style

FINDINGS = 5
"""Findings listed per case: the most probable positive labels, or the most probable label alone."""


def index_text(out: Path, cases: Iterable[Listed]) -> str:
    """The index as HTML; `out` is looked into only for each case's page and picture.

    Each case is reduced to its row as it comes, so that thousands can be streamed.
    """
    rows = [_row(out, listed) for listed in cases]
    data = {"version": __version__, "model": _only(row["model"] for row in rows), "rows": rows}
    return document(
        "index.html",
        title="hirescam - index",
        code=bundle("index.js"),
        css=style("base.css", "index.css"),
        images="'self' file: data:",
        data={"index-json": json_text(data)},
    )


def _row(out: Path, listed: Listed) -> dict[str, object]:
    """What the index shows of one case. Links are relative, percent-encoded and never lead out of the run."""
    folder, case = PurePosixPath(listed.folder), listed.case
    ranked = sorted(case.labels, key=lambda label: -label.probability)
    error = case.error
    return {
        "case": case.case or str(folder),
        "status": "failed" if error else "ok",
        "model": None if case.model is None else case.model.name,
        "started": case.started,
        "seconds": None if case.run is None else case.run.seconds.total,
        "warnings": [str(warning) for warning in case.warnings],
        "positive": sum(label.positive for label in case.labels),
        "findings": _findings(ranked),
        "complete": _complete(case),
        "error": {"code": error.code, "message": error.message, "hint": error.hint} if error else None,
        "page": _existing(out, folder, _first(case, "page")),
        "picture": _existing(out, folder, first_picture(case)),
        "folder": _link(folder, "."),
    }


def _findings(ranked: list[Label]) -> list[list[object]]:
    """[name, probability, positive] of the positive labels by probability, or of the most probable one."""
    shown = [label for label in ranked if label.positive][:FINDINGS] or ranked[:1]
    return [[label.name, label.probability, label.positive] for label in shown]


def _complete(case: AnyCase) -> bool | None:
    """Whether every map of the case's first method accounts for its logit; None where there is none."""
    method = next(iter(case.methods), None) if case.methods else None
    return None if method is None else all(label.maps[method].complete for label in case.labels)


def first_picture(case: AnyCase) -> str | None:
    """The first picture of the most probable label that has one, relative to the case's folder."""
    pictures = {
        (output.label, output.method): output.path
        for output in reversed(case.outputs)
        if output.role == "picture" and output.placement == case.placement
    }
    for label in sorted(case.labels, key=lambda label: -label.probability):
        for method in label.maps:
            if (label.name, method) in pictures:
                return pictures[label.name, method]
    return None


def _first(case: AnyCase, role: str) -> str | None:
    """The first file with a role."""
    return next((output.path for output in case.outputs if output.role == role), None)


def _existing(out: Path, folder: PurePosixPath, name: str | None) -> str | None:
    """The link to `folder`/`name` if there is such a file."""
    link = _link(folder, name)
    return link if link is not None and name is not None and (out / folder / name).is_file() else None


def _link(folder: PurePosixPath, name: str | None) -> str | None:
    """`folder`/`name` as a relative reference, None where there is no name or it would leave the run."""
    if name is None:
        return None
    target = folder / name
    if target.is_absolute() or ".." in target.parts:
        return None
    return "./" + quote(target.as_posix())


def _only(names: Iterable[object]) -> str | None:
    """The one name that all rows share, if they do."""
    found = {str(name) for name in names if name is not None}
    return found.pop() if len(found) == 1 else None
