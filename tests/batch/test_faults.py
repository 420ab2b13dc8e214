"""Killed or failing at any operation: nothing partial under a final name, and a resumed run ends equal."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.batch.forks import Forks
from tests.batch.world import DRIVER, ROOT, assert_whole, digest_tree, leftovers, make_scan, make_scans

KILLED = -9


class World:
    """Two scans, the tree of an undisturbed run, and how many operations each way of running takes."""

    def __init__(self, folder: Path, model: Path, forks: Forks) -> None:
        self.folder, self.model, self.forks = folder, model, forks
        self.inputs = make_scans(folder / "in", 2)
        self.whole = folder / "whole"
        self.operations = {way: self.journal(way) for way in ("skip", "overwrite")}
        self.digests = digest_tree(self.whole)

    def journal(self, way: str) -> list[str]:
        path = self.folder / f"journal-{way}"
        assert self.run(self.whole, way, faults={"journal": str(path)}) == 0
        return path.read_text().split()

    def run(self, out: Path, way: str = "skip", **more: Any) -> int:
        return self.forks.run(self.inputs, out, self.model, options={"existing": way}, **more)

    def strike(self, way: str, at: int, number: int | None, *, again: bool = False) -> tuple[int, Path]:
        """A run struck at an operation, in an output as that way of running finds it; not resumed."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        if way == "overwrite":
            shutil.copytree(self.whole, out)
        faults = {"at": at, "again": again} | ({} if number is None else {"errno": number})
        code = self.run(out, way, faults=faults)
        assert_whole(out)
        if way == "overwrite":
            names = {path.name for path in out.iterdir()}
            aside = {name.split(".")[1] for name in names if name.endswith(".old")}
            assert {"scan000", "scan001"} <= names | aside
        return code, out

    def judge(self, code: int, out: Path, point: tuple[int, str]) -> None:
        """A run struck by an error says so, or needed neither the folder that was there already nor the removal."""
        if code == 0 and point[1] in ("mkdir", "remove"):
            assert {
                name: d for name, d in digest_tree(out).items() if name in self.digests
            } == self.digests, point
        else:
            assert code == 74, point

    def resume(self, out: Path) -> None:
        assert self.run(out) == 0
        assert digest_tree(out) == self.digests
        assert leftovers(out) == []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, model: Path, forks: Forks) -> World:
    return World(tmp_path_factory.mktemp("faults"), model, forks)


def test_the_journal_sees_every_kind_of_operation(world: World) -> None:
    assert set(world.operations["skip"]) == {"mkdir", "open", "write", "fsync", "rename", "remove"}
    assert set(world.operations["overwrite"]) >= {"exchange"}
    assert len(world.operations["skip"]) > 40


def points(world: World, way: str, step: int, start: int = 1) -> range:
    return range(start, len(world.operations[way]) + 1, step)


@pytest.mark.parametrize(("way", "start"), [("skip", 1), ("overwrite", 3)])
def test_killed_at_an_operation(world: World, way: str, start: int) -> None:
    for at in points(world, way, 4, start):
        code, out = world.strike(way, at, None)
        assert code == KILLED, at
        world.resume(out)


@pytest.mark.parametrize(("number", "again", "start"), [(errno.ENOSPC, True, 2), (errno.EIO, False, 4)])
def test_an_error_at_an_operation(world: World, number: int, again: bool, start: int) -> None:
    for at in points(world, "skip", 5, start):
        code, out = world.strike("skip", at, number, again=again)
        world.judge(code, out, (at, world.operations["skip"][at - 1]))
        world.resume(out)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["skip", "overwrite"])
def test_killed_at_every_operation(world: World, way: str) -> None:
    for at in points(world, way, 1):
        code, out = world.strike(way, at, None)
        assert code == KILLED, at
        world.resume(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "again", "way"),
    [
        (errno.ENOSPC, True, "skip"),
        (errno.ENOSPC, False, "overwrite"),
        (errno.EIO, False, "skip"),
        (errno.EDQUOT, True, "skip"),
    ],
)
def test_an_error_at_every_operation(world: World, number: int, again: bool, way: str) -> None:
    for at in points(world, way, 1):
        code, out = world.strike(way, at, number, again=again)
        world.judge(code, out, (at, world.operations[way][at - 1]))
        world.resume(out)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_an_output_that_cannot_be_created(world: World, number: int) -> None:
    out = world.folder / "no" / "where"
    assert world.run(out, faults={"at": 1, "errno": number}) == 73
    assert not out.exists()
    (world.folder / "file").write_text("a file, no folder")
    assert world.run(world.folder / "file" / "out") == 73


def kill_at_random_times(
    world: World, inputs: Path, out: Path, kills: int, seed: int, options: dict[str, Any]
) -> int:
    """Kill runs at random moments of their lives until enough were killed; returns how many ended first."""
    moments, killed, ended = random.Random(seed), 0, 0
    while killed < kills:
        delay = moments.uniform(0.0, 1.2)
        code = world.forks.run(inputs, out, world.model, options=options, kill_after=delay)
        assert code in (KILLED, 0)
        killed, ended = killed + (code == KILLED), ended + (code == 0)
        assert_whole(out)
        if code == 0:
            shutil.rmtree(out)
    return ended


@pytest.mark.parametrize(("kills", "scans"), [(8, 6), pytest.param(200, 12, marks=pytest.mark.slow)])
def test_killed_at_random_times(world: World, tmp_path: Path, kills: int, scans: int) -> None:
    inputs, out = make_scans(tmp_path / "in", scans), tmp_path / "out"
    options = {"jobs": 1}
    kill_at_random_times(world, inputs, out, kills, seed=kills, options=options)
    assert world.forks.run(inputs, out, world.model, options=options) == 0
    assert world.forks.run(inputs, tmp_path / "undisturbed", world.model, options=options) == 0
    assert digest_tree(out) == digest_tree(tmp_path / "undisturbed")
    assert leftovers(out) == []


FULL_DISK = """
mount -t tmpfs -o size=96k tmpfs "$1" || exit 99
"$2" -c "$DRIVER" "$3" "$1" "$4" '{"jobs": 0}' '{}'
status=$?
cp -a "$1/." "$5"
exit $status
"""


def test_a_disk_that_is_really_full(world: World, tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no mount namespaces here")
    mounted, copy = tmp_path / "disk", tmp_path / "copy"
    mounted.mkdir()
    copy.mkdir()
    inputs = make_scans(tmp_path / "in", 30)
    arguments = [str(path) for path in (mounted, sys.executable, inputs, world.model, copy)]
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL_DISK, "sh", *arguments]
    environ = {**os.environ, "DRIVER": DRIVER, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    child = subprocess.run(command, env=environ, check=False, stderr=subprocess.PIPE, text=True)
    if child.returncode == 99 or "unshare" in child.stderr:
        pytest.skip("no file system can be mounted here")
    done = [path.name for path in copy.iterdir() if path.is_dir() and not path.name.startswith(".")]
    assert child.returncode == 74, child.stderr
    assert 1 <= len(done) < 30
    assert_whole(copy)
    assert world.forks.run(inputs, copy, world.model) == 0
    assert len(digest_tree(copy)) > 60
    assert leftovers(copy) == []


@pytest.mark.parametrize("place", [0, 24, 49])
def test_one_broken_scan_leaves_the_others_as_they_would_be(world: World, tmp_path: Path, place: int) -> None:
    inputs = make_scans(tmp_path / "in", 50)
    assert world.forks.run(inputs, tmp_path / "sound", world.model) == 0
    broken = inputs / f"scan{place:03d}.nii.gz"
    broken.write_bytes(broken.read_bytes()[:700])
    assert world.forks.run(inputs, tmp_path / "out", world.model) == 8
    case = tmp_path / "out" / f"scan{place:03d}"
    assert [path.name for path in case.iterdir()] == ["summary.json"]
    sound, out = digest_tree(tmp_path / "sound"), digest_tree(tmp_path / "out")
    changed = {name for name in sound | out if sound.get(name) != out.get(name)}
    assert all(name.startswith((f"{case.name}/", "predictions.csv")) for name in changed)
    make_scan(broken, place)
    assert world.forks.run(inputs, tmp_path / "out", world.model) == 0
    assert digest_tree(tmp_path / "out") == sound


def test_resuming_does_nothing_twice(world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(world.whole, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("scan*/*")}
    time.sleep(0.02)
    assert world.run(out) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("scan*/*")} == before
