"""What goes wrong during a pull: nothing half is shown, nothing is lost, and the next run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pacs.fake_archive import FakeArchive, Fault
from tests.pacs.pulling import QUERY, contents, folders, pull
from tests.pacs.world import ct_series


@pytest.mark.parametrize("kind", ["close", "cut", "unsized cut", "junk", "status"])
@pytest.mark.parametrize("where", ["/instances/", "/instances\\?", "/series\\?", "/studies\\?"])
def test_what_passes_is_tried_again(
    archive: FakeArchive, slices: list[bytes], waits: list[float], out: Path, kind: str, where: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    archive.faults.append(Fault(f"GET .*{where}", kind, times=2))
    result = pull(capsys, out)
    assert result.code == 0, result.err
    assert contents(folders(out)[0]) == sorted(slices)
    assert len(waits) == 2
    assert 0.75 <= waits[0] <= 1.0 < 1.5 <= waits[1] <= 2.0


@pytest.mark.usefixtures("slices")
def test_retry_after_is_honoured_and_limited(
    archive: FakeArchive,
    waits: list[float],
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive.faults.append(Fault("/instances/", "status", headers={"Retry-After": "7"}))
    assert pull(capsys, out).code == 0
    assert waits == [7.0]
    archive.faults.append(Fault("/studies", "status", headers={"Retry-After": "86400"}))
    result = pull(capsys, out)
    assert result.code == 69
    assert "asks to wait 86400 s" in result.err
    assert waits == [7.0]


def test_an_archive_that_stays_away_ends_the_run_and_the_next_goes_on(
    archive: FakeArchive,
    slices: list[bytes],
    waits: list[float],
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Three instances come, then nothing but refused connections.
    last = sorted(archive.instances)[3]
    archive.faults.append(Fault(f"/instances/{last}", "close", times=1000))
    result = pull(capsys, out, "--retries", "3")
    assert result.code == 69
    assert "4 attempts" in result.err
    assert len(waits) == 3
    assert folders(out) == []
    assert archive.count("GET .*/instances/") == 3 + 4
    archive.faults.clear()
    archive.requests.clear()
    assert pull(capsys, out).code == 0
    assert archive.count("GET .*/instances/") == 3
    assert contents(folders(out)[0]) == sorted(slices)


@pytest.mark.usefixtures("slices")
def test_a_series_that_lacks_an_instance_is_named_and_not_shown(
    archive: FakeArchive, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for data in ct_series(tmp_path / "made", "second"):
        archive.add(data)
    lost = sorted(archive.instances)[0]
    archive.faults.append(Fault(f"/instances/{lost}", "status", times=1000, status=404))
    result = pull(capsys, out)
    assert result.code == 8
    assert "5 of 6 instances received" in result.err
    assert lost in result.err
    assert "404" in result.err
    assert len(folders(out)) == 1
    archive.faults.clear()
    archive.requests.clear()
    assert pull(capsys, out).code == 0
    assert archive.count("GET .*/instances/") == 1
    assert len(folders(out)) == 2


@pytest.mark.usefixtures("slices")
def test_a_study_none_of_which_can_be_had_is_bad_data(
    archive: FakeArchive, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.wrong_count = 2
    result = pull(capsys, out)
    assert result.code == 65
    assert "the archive counts 8 instances and lists 6" in result.err
    assert folders(out) == []


def test_what_arrives_during_the_pull_belongs_to_it(
    archive: FakeArchive, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = ct_series(tmp_path / "made")
    for data in slices[:3]:
        archive.add(data)
    archive.arriving, archive.step = slices[3:], 2
    result = pull(capsys, out)
    assert result.code == 0, result.err
    assert contents(folders(out)[0]) == sorted(slices)


def test_a_study_that_goes_on_growing_is_named_and_not_shown(
    archive: FakeArchive, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = ct_series(tmp_path / "made", slices=60)
    archive.add(slices[0])
    archive.arriving, archive.step = slices[1:], 1
    result = pull(capsys, out)
    assert result.code == 65
    assert "still growing" in result.err
    assert folders(out) == []
    archive.step = 60
    assert pull(capsys, out).code == 0
    assert contents(folders(out)[0]) == sorted(slices)


def test_late_slices_complete_a_finished_series(
    archive: FakeArchive, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = ct_series(tmp_path / "made")
    for data in slices[:4]:
        archive.add(data)
    assert pull(capsys, out).code == 0
    for data in slices[4:]:
        archive.add(data)
    archive.requests.clear()
    assert pull(capsys, out).code == 0
    assert archive.count("GET .*/instances/") == 2
    assert contents(folders(out)[0]) == sorted(slices)


def test_a_damaged_file_is_fetched_again(
    archive: FakeArchive, slices: list[bytes], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(capsys, out).code == 0
    (folder,) = folders(out)
    victim = min(folder.glob("*.dcm"))
    changed = bytearray(victim.read_bytes())
    changed[-1] ^= 1
    victim.write_bytes(changed)
    archive.requests.clear()
    assert pull(capsys, out, "--verify").code == 0
    assert archive.count("GET .*/instances/") == 1
    assert contents(folder) == sorted(slices)
    victim.write_bytes(b"")
    assert pull(capsys, out).code == 0
    assert contents(folder) == sorted(slices)


@pytest.mark.usefixtures("slices")
def test_a_uid_that_is_a_path_is_never_one(
    archive: FakeArchive, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = json.dumps([{"0020000E": {"vr": "UI", "Value": ["../../../evil"]}}]).encode()
    archive.faults.append(Fault("/series\\?", "status", status=200, body=evil))
    result = pull(capsys, out)
    assert result.code == 69
    assert "no valid UID" in result.err


@pytest.mark.usefixtures("slices")
def test_another_object_than_asked_for_is_not_taken(
    archive: FakeArchive, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = sorted(archive.instances)
    archive.instances[first] = archive.instances[second]
    listed = archive.headers

    def headers() -> list:  # type: ignore[type-arg]
        found = listed()
        for header, name in zip(found, archive.instances, strict=True):
            header.SOPInstanceUID = name
        return found

    archive.headers = headers  # type: ignore[method-assign]
    result = pull(capsys, out)
    assert result.code == 65
    assert "the archive sent something else" in result.err


def test_a_pull_that_is_killed_goes_on(
    archive: FakeArchive, slices: list[bytes], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fourth = sorted(archive.instances)[3]
    archive.faults.append(Fault(f"/instances/{fourth}", "late", seconds=20))
    command = [sys.executable, "-m", "hirescam_cli", "pacs", "pull", QUERY, "-o", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not archive.count(fourth):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert folders(out) == []
    archive.requests.clear()
    assert pull(capsys, out).code == 0
    assert archive.count("GET .*/instances/") == 3
    assert contents(folders(out)[0]) == sorted(slices)


def test_a_pull_that_is_killed_between_two_renames_goes_on(
    archive: FakeArchive, slices: list[bytes], out: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert pull(capsys, out).code == 0
    (folder,) = folders(out)
    rename = os.rename

    def die(source: Path, target: Path) -> None:
        if str(source).endswith("-partial"):
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        assert pull(capsys, out, "--existing", "overwrite").code == 130
    assert folders(out) == []
    archive.requests.clear()
    assert pull(capsys, out).code == 0
    assert archive.count("GET .*/instances/") == 0
    assert contents(folder) == sorted(slices)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
