"""Nothing of a patient's identity in any name, file, message or log: marked values are searched for in every byte."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.batch.world import make_model
from tests.cli.command import hirescam
from tests.io.dicom_factory import chest, make_series

MARKS = {
    "PatientName": "MARKNAME^ALICE",
    "PatientID": "MARKID-4711",
    "PatientBirthDate": "19010203",
    "PatientComments": "/archive/MARKPATH/alice",
    "AccessionNumber": "MARKACC99",
    "StudyDate": "19020304",
    "SeriesDate": "19020305",
    "ContentDate": "19020306",
    "StudyTime": "112233.445566",
    "StudyID": "MARKSTUDY",
    "StudyDescription": "MARKDESC study",
    "SeriesDescription": "MARKDESC series",
    "InstitutionName": "MARKHOSPITAL",
    "ReferringPhysicianName": "MARKDOCTOR^BOB",
    "StationName": "MARKSTATION",
    "ProtocolName": "MARKPROTOCOL",
    "DeviceSerialNumber": "MARKSERIAL",
}
SECRETS = [*MARKS.values(), "MARK", "ALICE", "19010203", "1902030"]


def _texts(path: Path) -> Iterator[bytes]:
    """The bytes of a file as they are, and decompressed where they are compressed."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".gz":
        yield gzip.decompress(data)
    if path.suffix == ".png":
        with Image.open(path) as image:
            yield repr(image.info).encode()
    position = 0
    while (position := data.find(b"\x78\x9c", position)) >= 0:
        decoder = zlib.decompressobj()
        with contextlib.suppress(zlib.error):
            yield decoder.decompress(data[position:])
        position += 1


@pytest.mark.parametrize("identifiers", ["uids", "none"])
def test_marked_values_never_appear(
    identifiers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "MARKFOLDER-ALICE" / "ct"
    make_series(secret, chest((24, 20, 12)), (8.0, 8.0, 8.0), **MARKS)
    broken = tmp_path / "MARKFOLDER-ALICE" / "broken"
    files = make_series(broken, chest((24, 20, 12), seed=1), (8.0, 8.0, 8.0), **MARKS)
    files[3].write_bytes(files[3].read_bytes()[:-200])
    model = make_model(tmp_path / "model")
    out = tmp_path / "out"
    said = []
    for inputs in (secret, broken):
        result = hirescam(
            capsys, "explain", inputs, "-o", out, "--model", model, "--method", "hirescam,gradcam",
            "--format", "nifti,png,gif,html", "--identifiers", identifiers, "--jobs", 1, "-v",
            "--log-file", tmp_path / f"{inputs.name}.log", "--log-format", "json",
        )  # fmt: skip
        said += [result.out, result.err]
        said.append(hirescam(capsys, "inspect", inputs, "--model", model, "--identifiers", identifiers).out)
    assert (out / "ct" / "summary.json").is_file()
    assert (out / "broken" / "summary.json").is_file()
    hirescam(capsys, "report", out)
    written = [p for p in out.rglob("*") if p.is_file()] + list(tmp_path.glob("*.log"))
    assert len(written) > 12
    texts = [(path.name, text) for path in written for text in _texts(path)]
    texts += [("messages", text.encode()) for text in said]
    texts += [("names", str(path.relative_to(tmp_path)).encode()) for path in out.rglob("*")]
    for name, text in texts:
        for mark in SECRETS:
            assert mark.encode() not in text, (name, mark)
            assert mark.encode("utf-16-le") not in text, (name, mark)
    uid_written = any(b"1.2.826.0.1.3680043.10.999." in text for _, text in texts)
    assert uid_written is (identifiers == "uids")


SERIES = ("1.2.826.0.1.3680043.10.999.31", "1.2.826.0.1.3680043.10.999.32")


@pytest.mark.parametrize("identifiers", [None, "uids", "none"])
def test_no_uid_is_told_before_a_run_either(
    identifiers: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in" / "ct"
    for number, uid in enumerate(SERIES):
        make_series(
            folder, chest((24, 20, 12), seed=number), (8.0, 8.0, 8.0), series_uid=uid, prefix=f"s{number}"
        )
    make_series(folder, chest((24, 20, 2)), (8.0, 8.0, 8.0), series_uid=SERIES[0] + ".7", prefix="few")
    option = () if identifiers is None else ("--identifiers", identifiers)
    out = ("-o", tmp_path / "out")
    plan = hirescam(capsys, "explain", folder.parent, *out, "--dry-run", "--json", *option)
    assert plan.code == 0, plan.err
    chosen = hirescam(
        capsys, "explain", folder.parent, *out, "--dry-run", "--json", "--series", SERIES[1], *option
    )
    cases = json.loads(plan.out)["cases"]
    (case,) = json.loads(chosen.out)["cases"]
    if identifiers == "none":
        table = hirescam(capsys, "explain", folder.parent, *out, "--dry-run", *option)
        listed = hirescam(capsys, "inspect", folder.parent, *option)
        listed_json = hirescam(capsys, "inspect", folder.parent, "--json", *option)
        for said in (plan, chosen, table, listed, listed_json):
            assert "1.2.826" not in said.out + said.err
        assert [case["series_uid"] for case in cases] == [None, None]
        hashes = [hashlib.sha256(uid.encode()).hexdigest()[:8] for uid in SERIES]
        assert {case["case"] for case in cases} == {f"ct/series-{digest}" for digest in hashes}
        assert case["case"] == f"ct/series-{hashes[1]}"
    else:
        assert [case["series_uid"] for case in cases] == list(SERIES)
        assert case["series_uid"] == SERIES[1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", ["MARKNAME^ALICE", "1.2.3-MARKID", "1." + "4" * 63])
def test_text_in_place_of_a_uid_is_never_told(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_series(tmp_path / "in" / "ct", chest((24, 20, 12)), (8.0, 8.0, 8.0), series_uid=text)
    model, out = make_model(tmp_path / "model"), tmp_path / "out"
    run = ("explain", tmp_path / "in", "-o", out, "--model", model, "--format", "html", "--jobs", 0)
    plan = hirescam(capsys, *run, "--dry-run", "--json")
    assert json.loads(plan.out)["cases"][0]["series_uid"] is None
    result = hirescam(capsys, *run, "--json", "-v")
    assert result.code == 0, result.err
    summary = json.loads((out / "ct" / "summary.json").read_text())
    assert summary["input"]["series_uid"] is None
    texts = [part for path in out.rglob("*") if path.is_file() for part in _texts(path)]
    texts += [said.encode() for said in (plan.out, plan.err, result.out, result.err)]
    assert not [part for part in texts if text.encode() in part]


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"xx MARKNAME xx"))
    (tmp_path / "b.html").write_bytes(b"junk" + zlib.compress(b"MARKNAME in a stream"))
    for name in ("a.nii.gz", "b.html"):
        assert any(b"MARKNAME" in text for text in _texts(tmp_path / name))
