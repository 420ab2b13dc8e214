"""The index of a run: OUT/index.html, every case with status, findings, thumbnail and links."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from hirescam_cli import __version__
from hirescam_cli.output.durable import write_file
from hirescam_cli.output.page.document import document, json_text, script, style

FINDINGS = 5
"""Findings listed per case: the most probable positive labels, or the most probable label alone."""


def write_index(out: Path, cases: Iterable[Mapping[str, Any]]) -> None:
    """Write `out`/index.html about `cases`: summaries with their "folder" relative to `out` (`iter_cases`).

    Each case is reduced to its row as it comes, so that thousands can be streamed. Raises OutputCreateError
    or OutputIOError when the file cannot be written.
    """
    write_file(out / "index.html", index_text(out, cases).encode("utf-8"))


def index_text(out: Path, cases: Iterable[Mapping[str, Any]]) -> str:
    """The index as HTML; `out` is looked into only for each case's page and picture."""
    rows = [_row(out, case) for case in cases]
    data = {"version": __version__, "model": _only(row["model"] for row in rows), "rows": rows}
    return document(
        "index.html",
        title="hirescam - index",
        code=script("dom.js", "theme.js", "index.js"),
        css=style("base.css", "index.css"),
        images="'self' file: data:",
        data={"index-json": json_text(data)},
    )


def _row(out: Path, case: Mapping[str, Any]) -> dict[str, Any]:
    """What the index shows of one case. Links are relative, percent-encoded and never lead out of the run."""
    folder = PurePosixPath(str(case["folder"]))
    labels = list(case.get("labels") or [])
    error = case.get("error") or {}
    seconds = ((case.get("run") or {}).get("seconds") or {}).get("total")
    return {
        "case": str(case.get("case") or folder),
        "status": str(case.get("status")),
        "model": (case.get("model") or {}).get("name"),
        "started": case.get("started"),
        "seconds": seconds,
        "warnings": [str(warning) for warning in case.get("warnings") or []],
        "positive": sum(bool(entry.get("positive")) for entry in labels),
        "findings": _findings(labels),
        "complete": _complete(labels),
        "error": {key: error.get(key) for key in ("code", "message", "hint")} if error else None,
        "page": _link(folder, _page_name(out / folder)),
        "picture": _existing(out, folder, _picture(labels)),
        "folder": _link(folder, "."),
    }


def _findings(labels: list[Mapping[str, Any]]) -> list[list[Any]]:
    """[name, probability, positive] of the positive labels by probability, or of the most probable one."""
    ranked = sorted(labels, key=lambda entry: -_number(entry.get("probability")))
    positive = [entry for entry in ranked if entry.get("positive")]
    shown = positive[:FINDINGS] or ranked[:1]
    return [[str(entry["name"]), entry.get("probability"), bool(entry.get("positive"))] for entry in shown]


def _complete(labels: list[Mapping[str, Any]]) -> bool | None:
    """Whether every HiResCAM map accounts for its logit; None where there is none."""
    states = [
        entry["maps"]["hirescam"].get("complete")
        for entry in labels
        if "hirescam" in (entry.get("maps") or {})
    ]
    return all(states) if states else None


def _picture(labels: list[Mapping[str, Any]]) -> str | None:
    """File name of the first picture of the most probable label that has one."""
    for entry in sorted(labels, key=lambda entry: -_number(entry.get("probability"))):
        for found in (entry.get("maps") or {}).values():
            if found and found.get("picture"):
                return str(found["picture"])
    return None


def _page_name(folder: Path) -> str | None:
    return next((path.name for path in sorted(folder.glob("*.html"))), None)


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


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else -1.0


def _only(names: Iterable[Any]) -> str | None:
    """The one name that all rows share, if they do."""
    found = {str(name) for name in names if name is not None}
    return found.pop() if len(found) == 1 else None
