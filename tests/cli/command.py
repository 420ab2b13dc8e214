"""Runs `hirescam` in this process, as the installed command would."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from hirescam_cli.__main__ import main


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def hirescam(capsys: pytest.CaptureFixture[str], *arguments: object, stdin: str | None = None) -> Result:
    """Run `hirescam ARGUMENTS` and return its exit code, standard output and standard error."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hirescam", *map(str, arguments)])
        if stdin is not None:
            patch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code
    captured = capsys.readouterr()
    return Result(int(code or 0), captured.out, captured.err)
