"""The report says what summary.json says, in codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset

from hirescam_cli.case.record import LabelCode
from hirescam_cli.results.dicom.codes import certificate_of
from tests.io.dicom_factory import make_series
from tests.results.dicom_world import IDENTITY, Written, read_only, view_of, write_all
from tests.views import changed, changed_label

METHODS = ("hirescam", "gradcam")
ORIENTATION = (0.96, 0.28, 0, -0.28 * 0.8, 0.96 * 0.8, 0.6)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("report")
    make_series(folder / "ct", orientation=ORIENTATION, **IDENTITY)
    view = view_of(read_only(folder / "ct"), methods=METHODS)
    coded = LabelCode(scheme="SCT", value="27925004", meaning="Nodule")
    return write_all(changed_label(view, "nodule", code=coded), folder / "out", ["dicom-sr"])


def items(ds: Dataset) -> Iterator[Dataset]:
    """Every content item below a data set, by pydicom alone."""
    for item in ds.get("ContentSequence") or []:
        yield item
        yield from items(item)


def groups(ds: Dataset) -> list[Dataset]:
    """The container of each label."""
    return [item for item in items(ds) if concept(item) == ("125007", "DCM")]


def concept(item: Dataset) -> tuple[str, str] | None:
    if not item.get("ConceptNameCodeSequence"):
        return None
    code = item.ConceptNameCodeSequence[0]
    return str(code.CodeValue), str(code.CodingSchemeDesignator)


def numbers(group: Dataset, value: str, scheme: str = "99HIRESCAM") -> list[float]:
    return [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in group.ContentSequence
        if concept(item) == (value, scheme)
    ]


def test_every_figure_is_that_of_the_record(written: Written) -> None:
    found = groups(written.read("report.sr.dcm"))
    assert len(found) == 2
    for group, label in zip(found, written.view.case.labels, strict=True):
        maps = [label.maps[method] for method in METHODS]
        for value, expected in (
            ("LOGIT", [label.logit]),
            ("THRESHOLD", [label.threshold]),
            ("MAPPART", [m.sum for m in maps]),
            ("BIASPART", [m.bias for m in maps]),
            ("RESIDUAL", [m.residual for m in maps]),
            ("PEAK", [m.peak.value for m in maps]),
        ):
            np.testing.assert_allclose(numbers(group, value), expected, rtol=1e-9)
        np.testing.assert_allclose(numbers(group, "122157", "DCM"), [label.probability], rtol=1e-9)


def test_peaks_are_points_in_the_scans_frame_of_reference(written: Written) -> None:
    for group, label in zip(groups(written.read("report.sr.dcm")), written.view.case.labels, strict=True):
        points = [item for item in items(group) if item.ValueType == "SCOORD3D"]
        assert len(points) == 2
        for point, method in zip(points, METHODS, strict=True):
            x, y, z = label.maps[method].peak.world_mm
            np.testing.assert_allclose(point.GraphicData, [-x, -y, z], atol=1e-3)
            assert point.GraphicType == "POINT"
            assert [point.ReferencedFrameOfReferenceUID] == list(
                written.view.volume.dicom.frames_of_reference
            )  # type: ignore[union-attr]


def answers(group: Dataset, value: str) -> list[str]:
    found = [item for item in group.ContentSequence if concept(item) == (value, "99HIRESCAM")]
    return [str(item.ConceptCodeSequence[0].CodeValue) for item in found]


def test_certificates_and_decisions_are_told(written: Written) -> None:
    for group, label in zip(groups(written.read("report.sr.dcm")), written.view.case.labels, strict=True):
        for method in METHODS:
            complete = "COMPLETE" if label.maps[method].complete else "NOTCOMPLETE"
            assert answers(group, f"CERT{method.upper()}") == [complete]
        assert answers(group, "DECISION") == ["POSITIVE" if label.positive else "NEGATIVE"]
    told = [
        answers(group, f"CERT{method.upper()}")
        for group in groups(written.read("report.sr.dcm"))
        for method in METHODS
    ]
    assert {"COMPLETE", "NOTCOMPLETE"} == {word for words in told for word in words}


@pytest.mark.parametrize("method", ["hirescam", "ablation-cam", "a-very-long-method-of-another-package"])
def test_the_certificate_names_its_method(method: str) -> None:
    concept_of = certificate_of(method, "Title of it")
    assert len(concept_of.value) <= 16
    assert concept_of.value.startswith("CERT")
    assert concept_of.meaning.startswith("Title of it: ")


def test_a_labels_code_is_the_models_or_a_private_one(written: Written) -> None:
    findings = [
        item.ConceptCodeSequence[0]
        for item in items(written.read("report.sr.dcm"))
        if concept(item) == ("121071", "DCM")
    ]
    assert (findings[0].CodingSchemeDesignator, findings[0].CodeValue) == ("SCT", "27925004")
    assert findings[1].CodingSchemeDesignator == "99HIRESCAM"
    assert findings[1].CodeMeaning == "pleural effusion"
    schemes = written.read("report.sr.dcm").CodingSchemeIdentificationSequence
    assert any(item.CodingSchemeDesignator == "99HIRESCAM" for item in schemes)


def test_the_algorithm_is_named_with_version_and_weights(written: Written) -> None:
    case = written.view.case
    texts = [
        (concept(item), item.TextValue)
        for item in items(written.read("report.sr.dcm"))
        if item.ValueType == "TEXT"
    ]
    assert (("111001", "DCM"), f"hirescam: {case.model.name}") in texts
    assert (("111003", "DCM"), case.run.version) in texts
    assert (("111002", "DCM"), f"weights SHA-256: {case.model.weights_sha256}") in texts
    assert (("111002", "DCM"), "warning: demonstration model, no clinical meaning") in texts
    assert any(text == f"hirescam: {case.model.name}, Grad-CAM" for _, text in texts)


def test_it_refers_to_every_instance_of_the_source(written: Written) -> None:
    report = highdicom.sr.srread(written.folder / "report.sr.dcm")
    told = {str(uid) for _, _, uid, _ in report.get_evidence()}
    assert written.view.volume.dicom is not None
    assert told == {instance.sop_uid for instance in written.view.volume.dicom.instances}
    assert isinstance(report.content, highdicom.sr.MeasurementReport)


def test_a_model_that_is_no_demonstration_does_not_say_so(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", **IDENTITY)
    view = view_of(read_only(tmp_path / "ct"))
    model = {
        **{f: getattr(view.case.model, f) for f in view.case.model.__struct_fields__},
        "demonstration": False,
    }
    sober = changed(view, model=type(view.case.model)(**model))
    ds = write_all(sober, tmp_path / "out", ["dicom-sr"]).read("report.sr.dcm")
    assert "DEMONSTRATION" not in ds.SeriesDescription
    assert not [item for item in items(ds) if "demonstration" in str(item.get("TextValue", ""))]
