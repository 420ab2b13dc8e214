"""Made-up studies and finished cases."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from hirescam_cli.case.document import dump
from hirescam_cli.case.listing import read_case
from hirescam_cli.case.publish import SUMMARY
from hirescam_cli.case.record import Case, Output
from tests.io.dicom_factory import base_dataset, chest, make_series, override, uid
from tests.views import make_case

STUDY = uid("study")
SR = "1.2.840.10008.5.1.4.1.1.88.34"


def ct_series(folder: Path, name: str = "ct", slices: int = 6, **tags: Any) -> list[bytes]:
    """The slices of a CT series of the study."""
    tags = {"AccessionNumber": "A1", **tags}
    paths = make_series(folder / name, chest((24, 20, slices)), **tags)
    return [path.read_bytes() for path in paths]


def report(name: str, text: str = "", **tags: Any) -> bytes:
    """A small object such as hirescam writes, in the study."""
    ds = base_dataset("SR", SR)
    ds.SOPInstanceUID = uid("sr", name)
    ds.SeriesInstanceUID = uid("sr series", name)
    ds.Manufacturer = "hirescam"
    ds.SeriesDescription = text
    override(ds, {"AccessionNumber": "A1", **tags})
    return encoded(ds)


def encoded(ds: Dataset) -> bytes:
    """A dataset as a file's bytes."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def finished_case(out: Path, name: str, objects: dict[str, bytes]) -> Path:
    """The folder of a finished case that holds DICOM results."""
    folder = out / name
    folder.mkdir(parents=True)
    case = msgspec.structs.replace(make_case(slices=12, side=24).view.case, case=name)
    (folder / SUMMARY).write_bytes(dump(case))
    return with_results(folder, objects)


def with_results(folder: Path, objects: dict[str, bytes]) -> Path:
    """Add DICOM results to a case folder and to its summary."""
    case = read_case(folder, folder.name)
    assert isinstance(case, Case)
    outputs = list(case.outputs)
    for path, data in objects.items():
        (folder / path).write_bytes(data)
        outputs.append(
            Output(
                path=path,
                role="dicom",
                format="dicom-sr",
                method=None,
                label=None,
                placement=None,
                grid=None,
                sha256=hashlib.sha256(data).hexdigest(),
                bytes=len(data),
            )
        )
    (folder / SUMMARY).write_bytes(dump(msgspec.structs.replace(case, outputs=tuple(outputs))))
    return folder
