"""A case folder appears whole or not at all, whatever the file system answers, whenever the process dies."""

from __future__ import annotations

import errno
import hashlib
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
from hirescam_cli.case.record import Output
from hirescam_cli.durable import write_file
from hirescam_cli.errors import OutputCreateError, OutputIOError
from hirescam_cli.results import write
from hirescam_cli.results.format import Made
from hirescam_cli.results.write import told


def write_case(out: Path, case: str, text: str) -> None:
    with CaseFolder(out, case) as folder:
        (folder / "map.nii.gz").write_text(text)
        (folder / "summary.json").write_text(json.dumps({"text": text}))


def tree(out: Path) -> dict[str, str]:
    return {p.relative_to(out).as_posix(): p.read_text() for p in sorted(out.rglob("*")) if p.is_file()}


def hidden(out: Path) -> list[str]:
    return [p.name for p in out.rglob(".*hirescam-*")]


WHOLE = {"a/b/map.nii.gz": "one", "a/b/summary.json": '{"text": "one"}'}


def test_a_case_appears_under_its_name_with_nothing_beside_it(tmp_path: Path) -> None:
    write_case(tmp_path, "a/b", "one")
    assert tree(tmp_path) == WHOLE
    assert hidden(tmp_path) == []


def test_nothing_is_seen_under_the_final_name_before_the_end(tmp_path: Path) -> None:
    with CaseFolder(tmp_path, "a/b") as folder:
        (folder / "summary.json").write_text("{}")
        assert not (tmp_path / "a/b").exists()
        assert folder.parent == tmp_path / "a"
        assert folder.name.startswith(".b.hirescam-")
    assert (tmp_path / "a/b").is_dir()


def test_an_error_of_the_writer_leaves_the_old_case_and_no_rest(tmp_path: Path) -> None:
    write_case(tmp_path, "a/b", "one")
    with pytest.raises(TypeError), CaseFolder(tmp_path, "a/b") as folder:
        (folder / "summary.json").write_text(0)  # type: ignore[arg-type]
    assert tree(tmp_path) == WHOLE
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_an_existing_case_is_replaced(
    tmp_path: Path, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(publish, "_exchange", lambda _new, _old: False)
    write_case(tmp_path, "a/b", "old")
    (tmp_path / "a/b/stale.png").write_text("of the old case")
    write_case(tmp_path, "a/b", "one")
    assert tree(tmp_path) == WHOLE
    assert hidden(tmp_path) == []


def test_the_exchange_of_two_names_is_one_step_here(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    (tmp_path / "y/inside").touch()
    if not publish._exchange(tmp_path / "x", tmp_path / "y"):
        pytest.skip("this file system cannot exchange two names")
    assert (tmp_path / "x/inside").exists()
    assert not (tmp_path / "y/inside").exists()


def test_a_case_without_a_summary_is_never_published(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="without a summary"), CaseFolder(tmp_path, "a") as folder:
        (folder / "map.nii.gz").touch()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_case_is_never_replaced(tmp_path: Path, kind: str) -> None:
    mine = tmp_path / "a"
    if kind == "folder":
        mine.mkdir()
        (mine / "thesis.tex").write_text("years")
    else:
        mine.write_text("years")
    with pytest.raises(OutputCreateError, match="named a that is no case"):
        write_case(tmp_path, "a", "one")
    assert list(tree(tmp_path).values()) == ["years"]


def test_outputs_are_read_back_and_hashed(tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(b"\0" * 3_000_000)
    (tmp_path / "a.txt").write_bytes(b"abc")
    found = told(
        tmp_path, "png", [Made("a.txt", "picture", "hirescam", "mass", "stretch"), Made("b.bin", "page")]
    )
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found[0] == Output(
        path="a.txt", role="picture", format="png", method="hirescam", label="mass", placement="stretch", grid=None,
        sha256=digest, bytes=3,
    )  # fmt: skip
    assert (found[1].sha256, found[1].bytes) == (hashlib.sha256(b"\0" * 3_000_000).hexdigest(), 3_000_000)


def test_everything_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real_sync, real_rename = durable.sync_file, os.rename

    def sync(path: Path) -> None:
        calls.append("sync " + ("folder" if path.name.startswith(".") else path.name))
        real_sync(path)

    def rename(old: Path, new: Path) -> None:
        calls.append("rename")
        real_rename(old, new)

    for module in (durable, publish):
        monkeypatch.setattr(module, "sync_file", sync)
    monkeypatch.setattr(os, "rename", rename)
    write_case(tmp_path / "out", "a", "one")
    assert sorted(calls[:2]) == ["sync map.nii.gz", "sync summary.json"]
    assert calls[2:] == ["sync folder", "rename", "sync out"]


def test_a_file_waited_for_is_on_the_disk_and_hashed_but_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "a.nii.gz", tmp_path / "b.png"
    path.write_bytes(b"overlay")
    other.write_bytes(b"picture")
    synced: list[str] = []
    real = durable.sync_file
    monkeypatch.setattr(durable, "sync_file", lambda path: (synced.append(path.name), real(path)))
    written = durable.wait_for_disk(path)
    assert synced == ["a.nii.gz"]
    assert written == durable.Written(hashlib.sha256(b"overlay").hexdigest(), 7)
    read: list[str] = []
    back = write.read_back
    monkeypatch.setattr(write, "read_back", lambda path: (read.append(path.name), back(path))[1])
    made = [Made("a.nii.gz", "overlay", written=written), Made("b.png", "picture")]
    assert [output.path for output in told(tmp_path, "nifti", made)] == ["a.nii.gz", "b.png"]
    assert read == ["b.png"]


CREATE, DURING = (OutputCreateError, 73), (OutputIOError, 74)
ERRORS = [
    *[(number, *CREATE) for number in (errno.EACCES, errno.EROFS, errno.ENOENT, errno.ENOTDIR)],
    *[(number, *DURING) for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)],
]


@pytest.mark.parametrize(("number", "kind", "code"), ERRORS)
@pytest.mark.parametrize("place", ["mkdir", "fsync", "rename", "body"])
@pytest.mark.parametrize("before", [True, False])
def test_each_failing_call_is_an_error_with_its_exit_code_and_leaves_what_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type,
    code: int,
    place: str,
    before: bool,
) -> None:
    if before:
        write_case(tmp_path, "a/b", "one")

    def fail(*_args: object, **_keys: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if place == "rename":
            patch.setattr(publish, "_exchange", lambda _new, _old: False)
        if place != "body":
            patch.setattr(os, place, fail)
        with pytest.raises(kind) as caught, CaseFolder(tmp_path, "a/b") as folder:
            (fail if place == "body" else (folder / "summary.json").write_text)("{}")
    assert caught.value.exit_code == code
    assert os.strerror(number) in caught.value.message
    assert str(tmp_path) not in str(caught.value)
    assert tree(tmp_path) == (WHOLE if before else {})
    assert hidden(tmp_path) == []


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
        (alive / "summary.json").write_text("{}")
        assert sweep(tmp_path, ["a/b", "z/none"]) == 2
        assert alive.is_dir()
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"b", others.name, foreign.name}


@pytest.mark.parametrize("name", ["b" * 255, "é" * 127])
def test_the_longest_names_have_temporary_names_too(tmp_path: Path, name: str) -> None:
    write_case(tmp_path, name, "one")
    with CaseFolder(tmp_path, name) as folder:
        (folder / "summary.json").write_text("{}")
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
        (folder / "summary.json").write_text(str(number))
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
        number = (case / "summary.json").read_text()
        assert {name: (case / name).read_text() for name in ("one", "two", "three")} == dict.fromkeys(
            ("one", "two", "three"), number * 1000
        )
        assert hidden(tmp_path) == []
