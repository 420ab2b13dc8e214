"""`hirescam pacs pull`: whole series or none, resumed, counted, our own results left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hirescam_cli.pacs.manifest import MANIFEST, read_manifest
from tests.io.dicom_factory import uid
from tests.pacs.fake_archive import FakeArchive
from tests.pacs.pulling import contents, folders, pull
from tests.pacs.world import STUDY, ct_series, report


def test_bytes_are_the_archives_and_a_second_run_is_already_done(
    archive: FakeArchive, slices: list[bytes], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = pull(capsys, out, "--json")
    assert result.code == 0, result.err
    (folder,) = folders(out)
    assert folder.parent.name == STUDY
    assert contents(folder) == sorted(slices)
    manifest = read_manifest(folder)
    assert manifest is not None
    assert manifest.damaged(folder, verify=True) == []
    assert (len(manifest.instances), manifest.modality, manifest.url) == (6, "CT", archive.url)
    (series,) = json.loads(result.out)["series"]
    assert (series["status"], series["counted"], series["instances"]) == ("pulled", 6, 6)
    before = archive.count("GET .*/instances/")
    assert before == 6
    again = pull(capsys, out, "--json", "--verify")
    assert again.code == 0
    assert json.loads(again.out)["series"][0]["status"] == "already done"
    assert archive.count("GET .*/instances/") == before


@pytest.mark.usefixtures("slices")
def test_own_results_are_left_out_unless_asked_for(
    archive: FakeArchive, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.add(report("ours"))
    archive.add(report("theirs", Manufacturer="ACME"))
    result = pull(capsys, out, "--json")
    assert result.code == 0
    found = {(one["modality"], one["series_uid"]): one["status"] for one in json.loads(result.out)["series"]}
    assert found[("SR", uid("sr series", "ours"))] == "left out"
    assert found[("SR", uid("sr series", "theirs"))] == "pulled"
    assert len(folders(out)) == 2
    assert pull(capsys, out, "--include-own").code == 0
    assert len(folders(out)) == 3
    del archive.instances[uid("sr", "theirs")]
    for name in [name for name in archive.instances if name != uid("sr", "ours")]:
        del archive.instances[name]
    assert pull(capsys, out).code == 66


@pytest.mark.usefixtures("slices")
def test_pages_end_even_where_the_offset_is_ignored(
    archive: FakeArchive, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.page = 4
    assert pull(capsys, out).code == 0
    assert len(contents(folders(out)[0])) == 6
    archive.page, archive.ignores_offset = 1000, True
    archive.requests.clear()
    assert pull(capsys, out).code == 0
    assert len(archive.requests) < 12


@pytest.mark.usefixtures("slices")
def test_queries(archive: FakeArchive, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = ct_series(
        tmp_path / "made", "other", AccessionNumber="A2", StudyInstanceUID=uid("other"), PatientID="SECRET7"
    )
    for data in other:
        archive.add(data)
    assert pull(capsys, out, query="AccessionNumber=A2").code == 0
    assert [folder.parent.name for folder in folders(out)] == [uid("other")]
    missing = pull(capsys, out, query="PatientID=SECRET8")
    assert missing.code == 66
    assert "SECRET8" not in missing.err + missing.out
    assert pull(capsys, out, "Modality=CT", query="PatientID=P0001").code == 0
    assert len(folders(out)) == 2
    assert pull(capsys, out, "--max-studies", "1", query="Modality=CT").code == 2
    archive.ignores_filters = True
    ignored = pull(capsys, out, query="AccessionNumber=A2")
    assert ignored.code == 2
    assert "does not search by AccessionNumber" in ignored.err
    by_series = pull(
        capsys, out, query=f"SeriesInstanceUID={uid('series', str(tmp_path / 'made' / 'other'))}"
    )
    assert by_series.code == 2


@pytest.mark.parametrize(
    "query", ["PatientID", "PatientID=", "Colour=red", "StudyInstanceUID=../../etc", "=x"]
)
def test_queries_that_are_refused(
    archive: FakeArchive, out: Path, query: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(capsys, out, query=query).code == 2
    assert archive.requests == []


@pytest.mark.usefixtures("archive", "slices")
def test_what_is_there_and_not_ours_is_not_touched(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull(capsys, out).code == 0
    (folder,) = folders(out)
    assert pull(capsys, out, "--existing", "error").code == 73
    (folder / MANIFEST).unlink()
    assert pull(capsys, out).code == 73
    assert len(contents(folder)) == 6


def test_overwrite_exchanges_a_series_whole(
    archive: FakeArchive, slices: list[bytes], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pull(capsys, out).code == 0
    archive.requests.clear()
    assert pull(capsys, out, "--existing", "overwrite").code == 0
    assert archive.count("GET .*/instances/") == 6
    assert contents(folders(out)[0]) == sorted(slices)
    assert [path.name for path in (out / STUDY).iterdir()] == [folders(out)[0].name]


@pytest.mark.usefixtures("archive", "slices")
def test_names_without_identifiers(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = pull(capsys, out, "--identifiers", "none", "--json")
    assert result.code == 0
    assert "1.2.826" not in result.out + result.err
    names = [path.name for path in out.rglob("*") if not path.name.startswith(".")]
    assert len(names) == 8
    assert not any("1.2.826" in name for name in names)
