"""A case folder appears whole or not at all, whatever the file system answers."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from hirescam_cli import durable
from hirescam_cli.case import publish
from hirescam_cli.case.publish import CaseFolder
from hirescam_cli.case.record import Output
from hirescam_cli.errors import OutputCreateError, OutputIOError
from hirescam_cli.results import write
from hirescam_cli.results.format import Made
from hirescam_cli.results.write import told
from tests.batch.publish_world import A_CASE, WHOLE, hidden, tree, write_case


def test_a_case_appears_under_its_name_with_nothing_beside_it(tmp_path: Path) -> None:
    write_case(tmp_path, "a/b", "one")
    assert tree(tmp_path) == WHOLE
    assert hidden(tmp_path) == []


def test_nothing_is_seen_under_the_final_name_before_the_end(tmp_path: Path) -> None:
    with CaseFolder(tmp_path, "a/b") as folder:
        (folder / "summary.json").write_text(json.dumps(A_CASE))
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
    with pytest.raises(OutputCreateError, match="named a that is not a case"):
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
            (fail if place == "body" else (folder / "summary.json").write_text)(json.dumps(A_CASE))
    assert caught.value.exit_code == code
    assert os.strerror(number) in caught.value.message
    assert str(tmp_path) not in str(caught.value)
    assert tree(tmp_path) == (WHOLE if before else {})
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(
    "summary", ['{"schema_version": 1, "status": "finished", "model": "demo"}', '{"tool": "other"}', "[1]"]
)
def test_a_folder_with_the_summary_of_something_else_is_never_replaced(tmp_path: Path, summary: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "summary.json").write_text(summary)
    (tmp_path / "a" / "weights.safetensors").write_text("w")
    with pytest.raises(OutputCreateError) as caught:
        write_case(tmp_path, "a", "one")
    assert caught.value.code == "output-foreign"
    assert (tmp_path / "a" / "weights.safetensors").read_text() == "w"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("case", ["a/b/c", "a/b/c/d"])
def test_a_case_is_never_published_inside_another(tmp_path: Path, case: str) -> None:
    write_case(tmp_path, "a/b", "one")
    with pytest.raises(OutputCreateError, match=f"{case} would lie inside the case a/b"):
        write_case(tmp_path, case, "two")
    assert tree(tmp_path) == WHOLE
