"""Objects beside a CT whose headers are long: they are told by their class, and nothing else of them is judged."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from hirescam_cli.io import InputPath, ReadOptions, discover, read
from tests.io.dicom_factory import base_dataset, chest, make_enhanced, make_series, save, uid

STORAGE = "1.2.840.10008.5.1.4.1.1."
BEYOND_THE_HEAD = 1 << 16


def item(**tags: object) -> Dataset:
    ds = Dataset()
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def segmentation(ds: Dataset) -> None:
    frames = [
        item(FrameContentSequence=Sequence([item(DimensionIndexValues=[1, n + 1])])) for n in range(2000)
    ]
    ds.NumberOfFrames = len(frames)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.Rows = ds.Columns = 8
    ds.BitsAllocated = ds.BitsStored = 1
    ds.PixelData = bytes(2000 * 8)


def parametric_map(ds: Dataset) -> None:
    segmentation(ds)
    del ds.PixelData
    ds.BitsAllocated = ds.BitsStored = 32
    ds.FloatPixelData = np.zeros(2000 * 64, np.float32).tobytes()


def report(ds: Dataset) -> None:
    ds.ContentSequence = Sequence([item(TextValue="finding " * 20, ValueType="TEXT") for _ in range(2000)])


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("modality", "ending", "fill", "code"),
    [
        ("SEG", "66.4", segmentation, "segmentation"),
        ("OT", "30", parametric_map, "parametric-map"),
        ("CT", "30", parametric_map, "parametric-map"),
        ("SR", "88.33", report, "not-an-image"),
    ],
)
def test_it_is_left_out_and_the_ct_beside_it_is_sound(  # type: ignore[no-untyped-def]
    tmp_path: Path, modality: str, ending: str, fill, code: str, syntax: str | None
) -> None:
    make_series(tmp_path / "ct")
    ds = base_dataset(modality, STORAGE + ending)
    ds.SOPInstanceUID = uid("large")
    fill(ds)
    path = save(ds, tmp_path / "ct" / "large.dcm", *([syntax] if syntax else []))
    assert path.stat().st_size > BEYOND_THE_HEAD
    found = discover([InputPath(tmp_path)], ReadOptions())
    assert [(entry.name, entry.code) for entry in found.ignored] == [("ct/large.dcm", code)]
    (scan,) = found.scans
    assert read(scan, ReadOptions()).provenance.warnings == ()


def test_an_enhanced_ct_with_a_long_header_is_read_all_the_same(tmp_path: Path) -> None:
    hu = chest((8, 8, 500))
    path = make_enhanced(tmp_path / "e.dcm", hu)
    assert path.read_bytes().index(b"\xe0\x7f\x10\x00") > BEYOND_THE_HEAD
    (scan,) = discover([InputPath(path)], ReadOptions()).scans
    np.testing.assert_array_equal(read(scan, ReadOptions()).array_ijk, hu)


@pytest.mark.parametrize("frames", [2, 2**31 - 1])
def test_frames_without_places_are_not_believed(tmp_path: Path, frames: int) -> None:
    make_series(tmp_path / "ct", NumberOfFrames=lambda k: frames if k == 3 else None)
    begin = time.process_time()
    found = discover([InputPath(tmp_path)], ReadOptions())
    assert time.process_time() - begin < 2.0  # a frame each would take many times as long
    assert [entry.code for entry in found.ignored] == ["frames-unplaced"]
    assert f"an image of {frames} frames that does not say where each of them lies" in found.ignored[0].reason
