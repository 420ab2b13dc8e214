"""However narrow the terminal, what is said never breaks the name of a file or case into two lines."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from hirescam_cli.cli.console import print_table, stdout, table
from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam

NAME = "patient 0042/a-chest-ct-with-a-very-long-name-indeed-20260101"


def shown(width: int) -> str:
    """A table with a long name as a terminal of this width gets it."""
    rows = table("case", "n", "why", title="Scans", right=("n",), names=("case",))
    rows.add_row(Text(NAME), "7", Text("some_words_without_spaces and others"))
    rows.add_row(Text("b"), "12", Text(""))
    console = Console(force_terminal=True, color_system=None, width=width, soft_wrap=True)
    with console.capture() as taken:
        print_table(console, rows)
    return taken.get()


@pytest.mark.parametrize("width", [20, 120])
def test_brackets_are_text(capsys: pytest.CaptureFixture[str], width: int) -> None:
    rows = table("check", "what to do")
    rows.add_row("certificate", "Hold them: [explanation] freeze = [softmax]")
    console = stdout()
    console.width = width
    print_table(console, rows)
    assert "[explanation] freeze = [softmax]" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("width", [20, 30, 40, 61, 79, 120])
def test_a_table_breaks_no_word(width: int) -> None:
    text = shown(width)
    assert NAME in text
    assert "some_words_without_spaces" in text
    assert "Scans" in text


def test_a_table_that_does_not_fit_is_told_row_by_row() -> None:
    assert shown(40).splitlines() == [
        "Scans", NAME, "  n: 7", "  why: some_words_without_spaces and others", "b", "  n: 12",
    ]  # fmt: skip


def test_a_table_that_fits_has_a_line_a_row() -> None:
    lines = shown(120).splitlines()
    assert [line.split()[0] for line in lines] == ["Scans", "case", "patient", "b"]
    assert max(map(len, lines)) <= 120


def in_a_terminal(columns: int, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run hirescam on a terminal of so many columns: its exit code and all that appears there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "hirescam_cli", *arguments]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    taken = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        taken += piece
    os.close(ours)
    return process.wait(), taken.decode()


@pytest.mark.parametrize("columns", [20, 40])
def test_on_a_real_terminal(columns: int, tmp_path: Path) -> None:
    model = str(make_model(tmp_path / "model"))
    scan = make_scan(tmp_path / "scans" / f"{NAME}.nii.gz")
    broken = scan.with_name("another-one-with-a-long-name-that-is-broken.nii.gz")
    broken.write_bytes(scan.read_bytes()[:-20])
    explain = ("explain", "scans", "--model", model, "--jobs", "0")
    code, text = in_a_terminal(columns, tmp_path, *explain, "--dry-run")
    assert (code, NAME in text) == (0, True)
    code, text = in_a_terminal(columns, tmp_path, *explain)
    assert code == 8
    assert NAME in text
    assert "hirescam.nodule.nii.gz" in text or "hirescam.mass.nii.gz" in text
    assert broken.name in text
    code, text = in_a_terminal(columns, tmp_path, "inspect", "scans", "--model", model)
    assert (code, NAME in text, broken.name in text) == (8, True, True)
    code, text = in_a_terminal(columns, tmp_path, "explain-this", broken.name)
    assert (code, "explain-this" in text) == (2, True)
    code, text = in_a_terminal(columns, tmp_path, "report", "out", broken.name)
    assert (code, broken.name in text) == (2, True)


def test_a_pipe_gets_whole_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    deep = "/".join(["a-folder-with-a-long-name-number-" + str(n) for n in range(8)])
    make_scan(tmp_path / "in" / f"{deep}.nii.gz")
    result = hirescam(capsys, "explain", tmp_path / "in", "-o", tmp_path / "out", "--dry-run")
    (line,) = [line for line in result.out.splitlines() if deep in line]
    assert line.split() == [deep, "nifti", "1", "no"]
