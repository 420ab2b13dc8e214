"""With a real archive: what is stored is what was sent, and a circle of pull, explain and push comes to rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from hirescam_cli.registries import RESULT_FORMATS
from hirescam_cli.resources import sample_path
from tests.batch.world import make_model
from tests.pacs.highdicom_results import results_of
from tests.pacs.orthanc import DICOM_PORT, Orthanc, running
from tests.pacs.world import finished_case, report, with_results

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SERIES = sorted(sample_path("series").glob("*.dcm"))
CT = dcmread(SERIES[0], stop_before_pixels=True)
QUERY = f"StudyInstanceUID={CT.StudyInstanceUID}"
OWN_FORMATS = [
    name for name in ("dicom-pm", "dicom-sr", "dicom-sc", "dicom-seg") if name in RESULT_FORMATS.names()
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for all of these tests."""
    pytest.importorskip("dicomweb_client")
    with running(tmp_path_factory.mktemp("orthanc"), "archive") as found:
        yield found


@pytest.fixture
def orthanc(server: Orthanc) -> Orthanc:
    """It, emptied."""
    server.clear()
    return server


def succeed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The document of a command that must have succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def send_series(orthanc: Orthanc) -> None:
    """The CT series arrives as scanners send it."""
    done = orthanc.run("storescu", "127.0.0.1", DICOM_PORT, *SERIES)
    assert done.returncode == 0, done.stderr


def test_bytes_sent_by_stow_come_back_identical(orthanc: Orthanc, tmp_path: Path) -> None:
    assert orthanc.interfaces() == ["lo"]
    objects = results_of(SERIES, "stow")
    case = finished_case(tmp_path / "out", "scan", objects)
    pushed = succeed(orthanc.hirescam("pacs", "push", case, "--json", "--verify"))
    assert [one["status"] for one in pushed["objects"]] == ["sent"] * 4
    pulled = succeed(
        orthanc.hirescam("pacs", "pull", QUERY, "-o", tmp_path / "back", "--include-own", "--json")
    )
    assert {one["modality"] for one in pulled["series"]} == {"SEG", "OT", "SR"}
    back = [path.read_bytes() for path in (tmp_path / "back").rglob("*.dcm")]
    assert sorted(back) == sorted(objects.values())
    again = succeed(orthanc.hirescam("pacs", "push", case, "--json"))
    assert {one["status"] for one in again["objects"]} == {"already done"}
    # Sending it all the same leaves one copy.
    over = succeed(orthanc.hirescam("pacs", "push", case, "--json", "--existing", "overwrite"))
    assert {one["status"] for one in over["objects"]} == {"sent"}
    statistics = orthanc.get("/statistics")
    assert isinstance(statistics, dict)
    assert statistics["CountInstances"] == 4


def test_datasets_sent_by_c_store_come_back_equal(orthanc: Orthanc, tmp_path: Path) -> None:
    objects = results_of(SERIES, "c-store")
    for name, data in objects.items():
        (tmp_path / name).write_bytes(data)
        done = orthanc.run("storescu", "-R", "127.0.0.1", DICOM_PORT, tmp_path / name)
        assert done.returncode == 0, f"{name}: {done.stderr}"
    succeed(orthanc.hirescam("pacs", "pull", QUERY, "-o", tmp_path / "back", "--include-own", "--json"))
    back = {ds.SOPInstanceUID: ds for ds in map(dcmread, (tmp_path / "back").rglob("*.dcm"))}
    sent = [dcmread(BytesIO(data)) for data in objects.values()]
    assert len(back) == len(sent) == 4
    for ds in sent:
        assert back[ds.SOPInstanceUID] == ds
    # The archive's copy is another file; a push of ours finds it equal and takes it as stored.
    case = finished_case(tmp_path / "out", "scan", objects)
    pushed = succeed(orthanc.hirescam("pacs", "push", case, "--json", "--verify"))
    assert {one["status"] for one in pushed["objects"]} == {"sent"}


def test_an_archive_that_keeps_the_older_content_is_found_out(orthanc: Orthanc, tmp_path: Path) -> None:
    objects = results_of(SERIES, "same")
    older = dcmread(BytesIO(objects["report.sr.dcm"]))
    older.SeriesDescription = "an older one"
    older.save_as(tmp_path / "older.dcm")
    assert orthanc.run("storescu", "-R", "127.0.0.1", DICOM_PORT, tmp_path / "older.dcm").returncode == 0
    case = finished_case(tmp_path / "out", "scan", objects)
    done = orthanc.hirescam("pacs", "push", case, "--json", "--verify")
    assert done.returncode == 8, done.stderr
    refused = [one["path"] for one in json.loads(done.stdout)["objects"] if one["status"] == "refused"]
    assert refused == ["report.sr.dcm"]


@pytest.mark.slow
def test_pull_explain_push_pull_explain_comes_to_rest(orthanc: Orthanc, tmp_path: Path) -> None:
    send_series(orthanc)
    model = make_model(tmp_path / "model")
    scans, out = tmp_path / "scans", tmp_path / "out"
    formats = ",".join(["nifti", *OWN_FORMATS])
    explain = ("explain", scans, "-o", out, "--model", model, "--format", formats, "--jobs", 0, "--json")

    first = succeed(orthanc.hirescam("pacs", "pull", QUERY, "-o", scans, "--json"))
    assert [(one["modality"], one["instances"]) for one in first["series"]] == [("CT", len(SERIES))]
    assert succeed(orthanc.hirescam(*explain))["counts"] == {"ok": 1, "failed": 0}
    (case,) = [path.parent for path in out.rglob("summary.json")]
    if not OWN_FORMATS:
        with_results(case, results_of(SERIES, "circle"))
    pushed = succeed(orthanc.hirescam("pacs", "push", out, "--json", "--verify"))
    assert len(pushed["objects"]) >= 4
    assert {one["status"] for one in pushed["objects"]} == {"sent"}

    before = {path: path.stat().st_mtime_ns for path in scans.rglob("*.dcm")}
    second = succeed(orthanc.hirescam("pacs", "pull", QUERY, "-o", scans, "--json"))
    own = [one for one in second["series"] if one["modality"] != "CT"]
    assert len(own) >= 4
    assert {one["status"] for one in own} == {"left out"}
    assert [one["status"] for one in second["series"] if one["modality"] == "CT"] == ["already done"]
    assert {path: path.stat().st_mtime_ns for path in scans.rglob("*.dcm")} == before
    finished = (case / "summary.json").stat()
    again = orthanc.hirescam(*explain)
    assert succeed(again)["counts"] == {"ok": 1, "failed": 0}
    assert "0 done, 1 already there, 0 failed" in again.stderr
    assert "Left out" not in again.stderr
    kept = (case / "summary.json").stat()
    assert (kept.st_ino, kept.st_mtime_ns) == (finished.st_ino, finished.st_mtime_ns)
    resent = succeed(orthanc.hirescam("pacs", "push", out, "--json"))
    assert {one["status"] for one in resent["objects"]} == {"already done"}

    # Pulled all the same, they disturb the reading of the scan beside them as little.
    succeed(orthanc.hirescam("pacs", "pull", QUERY, "-o", scans, "--include-own", "--json"))
    seen = json.loads(orthanc.hirescam("inspect", scans, "--model", model, "--json").stdout)
    assert [(scan["status"], scan["warnings"]) for scan in seen["scans"]] == [("ok", [])]


def test_the_archive_gone_in_mid_push_is_resumed(orthanc: Orthanc, tmp_path: Path) -> None:
    objects = {f"{number:03d}.sr.dcm": report(f"gone {number}") for number in range(400)}
    case = finished_case(tmp_path / "out", "scan", objects)
    command = orthanc.inside(
        sys.executable, "-m", "hirescam_cli", "pacs", "push", case, "--retries", 1, "--json"
    )
    with subprocess.Popen(
        command, env=orthanc.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for _ in range(20):
            assert ": sent" in process.stderr.readline()
        orthanc.stop(at_once=True)
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 69
    match = re.search(r"([0-9]+) of 400 objects are in the archive", said)
    assert match is not None
    noted = int(match[1])
    assert 20 <= noted < 400
    orthanc.start()
    statistics = orthanc.get("/statistics")
    assert isinstance(statistics, dict)
    # One more may have been stored whose answer was lost.
    assert noted <= statistics["CountInstances"] <= noted + 1
    resumed = succeed(orthanc.hirescam("pacs", "push", case, "--json"))
    assert [one["status"] for one in resumed["objects"]] == ["already done"] * noted + ["sent"] * (
        400 - noted
    )
    statistics = orthanc.get("/statistics")
    assert isinstance(statistics, dict)
    assert statistics["CountInstances"] == 400


def test_searching_by_modality_finds_what_was_stored(orthanc: Orthanc, tmp_path: Path) -> None:
    send_series(orthanc)
    case = finished_case(tmp_path / "out", "scan", results_of(SERIES, "find"))
    succeed(orthanc.hirescam("pacs", "push", case, "--json"))
    for modality, count in (("SEG", 1), ("SR", 1), ("CT", len(SERIES))):
        found = succeed(
            orthanc.hirescam(
                "pacs",
                "pull",
                QUERY,
                f"Modality={modality}",
                "-o",
                tmp_path / modality,
                "--include-own",
                "--json",
            )
        )
        assert [(one["modality"], one["instances"]) for one in found["series"]] == [(modality, count)]
    nobody = orthanc.hirescam("pacs", "pull", "PatientID=NOBODY", "-o", tmp_path / "none")
    assert nobody.returncode == 66
