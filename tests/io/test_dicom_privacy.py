"""Nothing of a patient in what discovery and reading say: names, messages, warnings, logs, standard error."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom import find_series, read_series
from hirescam_cli.io.scan import ReadOptions
from tests.io.dicom_case import find
from tests.io.dicom_factory import make_enhanced, make_object, make_series

MARK = "ZZSECRETZZ"
MARKED: dict[str, Any] = {
    "PatientName": f"{MARK}^Jane",
    "PatientID": f"{MARK}1",
    "PatientComments": MARK,
    "InstitutionName": MARK,
    "StudyDescription": MARK,
    "SeriesDescription": MARK,
    "ProtocolName": MARK,
    "AccessionNumber": MARK,
    "StationName": MARK,
    "OperatorsName": MARK,
    "RescaleType": MARK,
    "ConvolutionKernel": MARK,
    "ImageComments": MARK,
    "AcquisitionTime": "ZZSECRETZZ",
}


@pytest.fixture(autouse=True)
def every_message_is_collected(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    return iter(())


def said(
    root: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, **options: Any
) -> str:
    """Everything that finding and reading the scans below a folder says, anywhere."""
    parts: list[str] = []
    capfd.readouterr()
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scans, ignored = find(root, **options)
        for scan in scans:
            parts += [scan.case, scan.name]
            try:
                volume = read_series(scan, ReadOptions())
                parts += [str(dataclasses.asdict(volume.provenance))]
            except ScanError as error:
                parts += [error.message, str(error.hint), error.code]
    parts += [str(item) for item in ignored]
    parts += [str(warning.message) for warning in caught]
    parts += [record.getMessage() for record in caplog.records]
    parts += list(capfd.readouterr())
    return "\n".join(parts)


def break_nothing(_ds: Dataset, _k: int) -> None:
    """The series as it is."""


def invalid_values(ds: Dataset, _k: int) -> None:
    """Values against their VR, which pydicom quotes in its warnings."""
    ds.PatientBirthDate = MARK
    ds.PatientAge = MARK
    ds.PatientSex = f"{MARK} not a code string at all, far too long"
    ds.StudyTime = MARK


def mixed(ds: Dataset, k: int) -> None:
    """Two slices at one position."""
    ds.ImagePositionPatient = [0, 0, 2.5 * (k // 2)]


def bad_numbers(ds: Dataset, _k: int) -> None:
    """Text where numbers belong."""
    ds.add_new(0x00281053, "LO", MARK)


def bad_position(ds: Dataset, _k: int) -> None:
    """Text where a position belongs."""
    ds.add_new(0x00200032, "LO", MARK)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("edit", [break_nothing, invalid_values, mixed, bad_numbers, bad_position])
@pytest.mark.parametrize("identifiers", ["uids", "none"])
def test_no_tag_is_ever_said(
    tmp_path: Path,
    edit: Any,
    identifiers: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_series(tmp_path / "in" / "a", edit=edit, series_uid="1.2.3", **MARKED)
    make_series(tmp_path / "in" / "a", edit=edit, series_uid="1.2.4", prefix="y", **MARKED)
    make_enhanced(tmp_path / "in" / "e.dcm", **{k: v for k, v in MARKED.items() if k != "ConvolutionKernel"})
    make_object(tmp_path / "in" / "sc.dcm", "OT", "1.2.840.10008.5.1.4.1.1.7", **MARKED)
    text = said(tmp_path / "in", capfd, caplog, identifiers=identifiers)
    assert MARK not in text
    assert str(tmp_path) not in text
    assert "sc.dcm" in text
    if identifiers == "none":
        assert "1.2.3" not in text
        assert "1.2.4" not in text


@pytest.mark.filterwarnings("ignore")
def test_a_transfer_syntax_that_is_none_is_not_quoted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for path in make_series(tmp_path / "in"):
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = MARK
        ds.save_as(path, implicit_vr=False, little_endian=True)
    text = said(tmp_path / "in", capfd, caplog)
    assert "dicom-transfer-syntax" in text
    assert MARK not in text


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_say_nothing_of_the_patient(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_series(tmp_path / "in", **MARKED)
    for number, path in enumerate(paths):
        data = bytearray(path.read_bytes())
        data[300 + 40 * number : 340 + 40 * number] = b"\xff" * 40
        path.write_bytes(data)
    text = said(tmp_path / "in", capfd, caplog)
    assert MARK not in text
    assert str(tmp_path) not in text
    assert text.strip()


def test_pydicom_is_as_it_was_afterwards(tmp_path: Path) -> None:
    logger = logging.getLogger("pydicom")
    before = (logger.disabled, pydicom.config.settings.reading_validation_mode, list(warnings.filters))
    make_series(tmp_path)
    (scan,) = find_series(tmp_path, tmp_path.iterdir(), ReadOptions())[0]
    read_series(scan, ReadOptions())
    assert (
        logger.disabled,
        pydicom.config.settings.reading_validation_mode,
        list(warnings.filters),
    ) == before
