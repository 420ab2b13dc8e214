"""What crashes leave beside a case folder, and how it is cleared away."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hirescam_cli import durable
from hirescam_cli.case import publish
from hirescam_cli.case.publish import CaseFolder, sweep
from hirescam_cli.durable import write_file
from hirescam_cli.errors import OutputIOError
from tests.batch.publish_world import A_CASE, WHOLE, hidden, tree, write_case


def test_the_second_rename_of_a_swap_failing_puts_the_old_case_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case(tmp_path, "a/b", "one")
    real = os.rename

    def rename(old: Path, new: Path) -> None:
        if str(old).endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        real(old, new)

    monkeypatch.setattr(publish, "_exchange", lambda _new, _old: False)
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OutputIOError):
        write_case(tmp_path, "a/b", "two")
    assert tree(tmp_path) == WHOLE


def test_a_case_set_aside_by_a_crash_is_put_back(tmp_path: Path) -> None:
    write_case(tmp_path, "a/b", "one")
    (tmp_path / "a/b").rename(tmp_path / "a/.b.hirescam-99-0123abcd.old")
    sweep(tmp_path, ["a/b"])
    assert tree(tmp_path) == WHOLE


def test_sweeping_takes_only_what_dead_writers_of_these_cases_left(tmp_path: Path) -> None:
    write_case(tmp_path, "a/b", "one")
    dead = tmp_path / "a/.b.hirescam-99-0123abcd.tmp"
    set_aside = tmp_path / "a/.b.hirescam-99-0123abce.old"
    others = tmp_path / "a/.c.hirescam-99-0123abcd.tmp"
    foreign = tmp_path / "a/.b.tmp"
    for folder in (dead, set_aside, others, foreign):
        folder.mkdir()
    with CaseFolder(tmp_path, "a/b") as alive:
        (alive / "summary.json").write_text(json.dumps(A_CASE))
        assert sweep(tmp_path, ["a/b", "z/none"]) == 2
        assert alive.is_dir()
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"b", others.name, foreign.name}


@pytest.mark.parametrize("name", ["b" * 255, "é" * 127])
def test_the_longest_names_have_temporary_names_too(tmp_path: Path, name: str) -> None:
    write_case(tmp_path, name, "one")
    with CaseFolder(tmp_path, name) as folder:
        (folder / "summary.json").write_text(json.dumps(A_CASE))
        (tmp_path / folder.name.replace(".tmp", "")).mkdir()
    assert (tmp_path / name / "summary.json").is_file()
    left = tmp_path / durable.temporary_name(name, "tmp")
    left.mkdir()
    assert sweep(tmp_path, [name]) == 1
    assert not left.exists()


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "batch.json", b"old")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputIOError, match=r"batch\.json"):
        write_file(tmp_path / "batch.json", b"new")
    monkeypatch.undo()
    assert tree(tmp_path) == {"batch.json": "old"}
    write_file(tmp_path / "batch.json", b"new")
    assert tree(tmp_path) == {"batch.json": "new"}


WRITER = """
import sys
from pathlib import Path
from hirescam_cli.case.publish import CaseFolder
number = 0
while True:
    number += 1
    with CaseFolder(Path(sys.argv[1]), "a/b") as folder:
        for name in ("one", "two", "three"):
            (folder / name).write_text(str(number) * 1000)
        (folder / "summary.json").write_text(f'{{"schema_version": 2, "status": "ok", "case": "a/b", "n": "{number}"}}')
    print(number, flush=True)
"""


def test_killing_the_writer_at_any_moment_leaves_one_whole_case(tmp_path: Path) -> None:
    for round_number in range(8):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.0007 * round_number)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        sweep(tmp_path, ["a/b"])
        case = tmp_path / "a/b"
        number = json.loads((case / "summary.json").read_text())["n"]
        assert {name: (case / name).read_text() for name in ("one", "two", "three")} == dict.fromkeys(
            ("one", "two", "three"), number * 1000
        )
        assert hidden(tmp_path) == []
