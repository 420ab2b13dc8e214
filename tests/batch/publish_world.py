"""What the tests of publish share."""

from __future__ import annotations

import json
from pathlib import Path

from hirescam_cli.case.publish import CaseFolder

A_CASE = {"schema_version": 2, "status": "ok", "case": "a/b"}


def write_case(out: Path, case: str, text: str) -> None:
    with CaseFolder(out, case) as folder:
        (folder / "map.nii.gz").write_text(text)
        (folder / "summary.json").write_text(json.dumps({**A_CASE, "text": text}))


def tree(out: Path) -> dict[str, str]:
    return {p.relative_to(out).as_posix(): p.read_text() for p in sorted(out.rglob("*")) if p.is_file()}


def hidden(out: Path) -> list[str]:
    return [p.name for p in out.rglob(".*hirescam-*")]


WHOLE = {"a/b/map.nii.gz": "one", "a/b/summary.json": json.dumps({**A_CASE, "text": "one"})}
