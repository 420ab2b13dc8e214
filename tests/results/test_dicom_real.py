"""DICOM results on real series: maps of noise come back exactly, and validators find no error of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from hirescam_cli.errors import ScanError
from tests.results.dicom_world import LABELS, read_only, view_of, write_all
from tests.results.test_dicom_maps import by_position, expected_mask, mask_by_position
from tests.results.test_dicom_objects import errors

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_a_whole_body_series(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "acrin_flt_torso_dcm"
    view = view_of(read_only(folder))
    written = write_all(view, tmp_path / "out")
    inherited = errors(sorted(folder.iterdir())[0])
    for kind in written.made.values():
        assert errors(tmp_path / "out" / kind[0].path) <= inherited, kind[0].path
    for made in written.made["dicom-pm"]:
        by_position(written.read(made.path), view, str(made.label), "stretch")
    ds = written.read("hirescam.label_0.seg.dcm")
    found = mask_by_position(ds, view)
    expected = expected_mask(view, LABELS[0], 0.5)
    assert (found != expected).sum() <= 1e-5 * expected.sum()
    assert view.volume.dicom is not None
    places = {i.sop_uid: i.planes[0].position_lps for i in view.volume.dicom.instances}
    for group in ds.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        position = tuple(float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient)
        assert position == pytest.approx(places[source.ReferencedSOPInstanceUID], abs=1e-6)


@pytest.mark.parametrize("name", ["lego_phantom_10slices_dcm", "dcmqi_ct3slice"])
def test_further_series(real_data: Path, tmp_path: Path, name: str) -> None:
    if not (real_data / name).is_dir():
        pytest.skip(f"{name} is not here")
    view = view_of(read_only(real_data / name, allow_gaps=True))
    written = write_all(view, tmp_path / "out", ["dicom-pm", "dicom-seg", "dicom-sr"])
    for made in written.made["dicom-pm"]:
        by_position(written.read(made.path), view, str(made.label), "stretch")


def test_a_series_without_a_frame_of_reference(real_data: Path, tmp_path: Path) -> None:
    view = view_of(read_only(real_data / "slicer_cthead64_dcm"))
    for format in ("dicom-pm", "dicom-seg", "dicom-sr"):
        with pytest.raises(ScanError) as caught:
            write_all(view, tmp_path / "refused", [format])
        assert caught.value.code == "dicom-no-frame-of-reference"
    assert write_all(view, tmp_path / "out", ["dicom-sc"]).made["dicom-sc"]
