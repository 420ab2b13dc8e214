"""`hirescam pacs push`: the bytes of the case, remembered, resumed, refusals named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hirescam_cli.pacs.ledger import LEDGER
from tests.cli.command import Result, hirescam
from tests.io.dicom_factory import uid
from tests.pacs.fake_archive import FakeArchive, Fault
from tests.pacs.world import finished_case, report

OBJECTS = {f"{name}.sr.dcm": report(name) for name in ("a", "b", "c")}
A, B, C = (uid("sr", name) for name in "abc")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return finished_case(tmp_path / "out", "scan", OBJECTS)


def push(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    return hirescam(capsys, "pacs", "push", *arguments)


def statuses(result: Result) -> dict[str, str]:
    return {one["path"]: one["status"] for one in json.loads(result.out)["objects"]}


def test_bytes_arrive_and_a_second_push_sends_nothing(
    archive: FakeArchive, case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = push(capsys, case, "--json", "--verify")
    assert result.code == 0, result.err
    assert archive.instances == {A: OBJECTS["a.sr.dcm"], B: OBJECTS["b.sr.dcm"], C: OBJECTS["c.sr.dcm"]}
    assert set(statuses(result).values()) == {"sent"}
    lines = [json.loads(line) for line in (case.parent / LEDGER).read_text().splitlines()]
    assert [(line["case"], line["path"], line["sop_instance_uid"]) for line in lines] == [
        ("scan", "a.sr.dcm", A), ("scan", "b.sr.dcm", B), ("scan", "c.sr.dcm", C),
    ]  # fmt: skip
    archive.requests.clear()
    again = push(capsys, case.parent, "--json")
    assert again.code == 0
    assert set(statuses(again).values()) == {"already done"}
    assert archive.requests == []
    assert push(capsys, case, "--existing", "error").code == 73
    assert archive.requests == []
    assert push(capsys, case, "--existing", "overwrite").code == 0
    assert archive.count("POST") == 3


def test_another_archive_is_told_too(
    archive: FakeArchive, case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(capsys, case).code == 0
    assert push(capsys, case, "--url", archive.url.replace("127.0.0.1", "localhost")).code == 0
    assert archive.count("POST") == 6


@pytest.mark.parametrize("kind", ["status", "close", "cut", "unsized cut"])
def test_what_passes_is_tried_again(
    archive: FakeArchive, case: Path, waits: list[float], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.faults.append(Fault("POST", kind, headers={"Retry-After": "3"}))
    result = push(capsys, case)
    assert result.code == 0, result.err
    assert set(archive.instances) == {A, B, C}
    # An archive that took the object and lost its answer half-way has taken it.
    assert waits == ([3.0] if kind == "status" else waits)
    assert len(waits) == {"unsized cut": 0}.get(kind, 1)


def test_an_archive_that_goes_away_is_resumed(
    archive: FakeArchive, case: Path, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(capsys, case, "--existing", "overwrite", "--retries", "0").code == 0
    archive.instances.clear()
    (case.parent / LEDGER).unlink()
    archive.requests.clear()
    archive.faults += [Fault("POST", "late", times=1), Fault("POST", "close", times=1000)]
    result = push(capsys, case, "--retries", "2")
    assert result.code == 69
    assert "1 of 3 objects are in the archive" in result.err
    assert "Run the same command again" in result.err
    assert len(waits) == 2
    assert archive.count("POST") == 1 + 3
    archive.faults.clear()
    archive.requests.clear()
    again = push(capsys, case, "--json")
    assert again.code == 0
    assert statuses(again) == {"a.sr.dcm": "already done", "b.sr.dcm": "sent", "c.sr.dcm": "sent"}
    assert archive.count("POST") == 2


def test_refusals_are_named_one_by_one(
    archive: FakeArchive, case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.refuse = {A: 0x0122, C: 0xA700}
    result = push(capsys, case, "--json")
    assert result.code == 8
    assert statuses(result) == {"a.sr.dcm": "refused", "b.sr.dcm": "sent", "c.sr.dcm": "refused"}
    assert (
        "scan/a.sr.dcm: refused: objects of this SOP class are not taken (failure reason 0122)" in result.err
    )
    assert "scan/c.sr.dcm: refused: out of resources (failure reason A700)" in result.err
    archive.refuse[B] = 0x0124
    assert push(capsys, case, "--existing", "overwrite").code == 65
    archive.refuse.clear()
    again = push(capsys, case, "--json")
    assert again.code == 0
    assert statuses(again) == {"a.sr.dcm": "sent", "b.sr.dcm": "already done", "c.sr.dcm": "sent"}


def test_a_duplicate_is_taken_if_it_is_the_same_and_named_if_not(
    archive: FakeArchive, case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add(OBJECTS["a.sr.dcm"])
    archive.add(report("b", "another text"))
    archive.refuse = {A: 0x0111, B: 0x0111}
    result = push(capsys, case, "--json")
    assert result.code == 8
    assert statuses(result) == {"a.sr.dcm": "sent", "b.sr.dcm": "refused", "c.sr.dcm": "sent"}
    assert "with this UID is there already (failure reason 0111), and it is not this one" in result.err


def test_a_conflict_without_reasons_is_looked_into(
    archive: FakeArchive, case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.faults.append(Fault("POST", "status", status=409, body=b"<conflict/>"))
    result = push(capsys, case)
    assert result.code == 8
    assert "conflict, without a reason given" in result.err
    archive.add(OBJECTS["a.sr.dcm"])
    archive.faults.append(Fault("POST", "status", status=409))
    assert push(capsys, case).code == 0


def test_verify_finds_an_archive_that_keeps_the_old(
    archive: FakeArchive, case: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.add(report("a", "older"))
    add = FakeArchive.add
    monkeypatch.setattr(
        FakeArchive, "add", lambda self, data: A if data == OBJECTS["a.sr.dcm"] else add(self, data)
    )
    result = push(capsys, case, "--verify")
    assert result.code == 8
    assert "the archive holds something else under its UID" in result.err


def test_only_what_the_summary_vouches_for_is_sent(
    archive: FakeArchive, case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (case / "a.sr.dcm").write_bytes(OBJECTS["b.sr.dcm"])
    (case / "b.sr.dcm").unlink()
    result = push(capsys, case, "--json")
    assert result.code == 8
    assert statuses(result) == {"a.sr.dcm": "damaged", "b.sr.dcm": "damaged", "c.sr.dcm": "sent"}
    assert set(archive.instances) == {C}


def test_cases_without_results_and_no_cases(
    archive: FakeArchive, case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = finished_case(case.parent, "other", {})
    result = push(capsys, case.parent)
    assert result.code == 0
    assert f"{other}: no DICOM results" in result.err
    assert push(capsys, other).code == 66
    assert push(capsys, tmp_path / "nothing").code == 66
    (tmp_path / "empty").mkdir()
    assert push(capsys, tmp_path / "empty").code == 66
    assert archive.count("POST") == 3


@pytest.mark.parametrize("status", [301, 404, 405])
def test_a_wrong_address_is_not_the_objects_fault(
    archive: FakeArchive, case: Path, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.faults.append(
        Fault("POST", "status", times=99, status=status, headers={"Location": f"{archive.url}/studies"})
    )
    result = push(capsys, case)
    assert result.code == 69
    assert str(status) in result.err
    assert archive.requests == ["POST /dicom-web/studies"]


def test_a_line_that_was_cut_off_is_passed_over(
    archive: FakeArchive, case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(capsys, case).code == 0
    ledger = case.parent / LEDGER
    ledger.write_bytes(ledger.read_bytes()[:-20])
    archive.requests.clear()
    assert push(capsys, case).code == 0
    assert archive.count("POST") == 1
    archive.requests.clear()
    assert push(capsys, case).code == 0
    assert archive.requests == []


@pytest.mark.usefixtures("archive")
def test_one_push_at_a_time(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    with (case.parent / LEDGER).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = push(capsys, case)
    assert result.code == 73
    assert "Another push" in result.err
