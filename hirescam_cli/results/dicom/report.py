"""The report: TID 1500 with each wanted label's answer, evidence and certificate (PS3.16)."""

from __future__ import annotations

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    CoordinatesForMeasurement3D,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues3D,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes as dictionary

from hirescam_cli.case.record import Label
from hirescam_cli.results.dicom import codes
from hirescam_cli.results.dicom.objects import MANUFACTURER, RESEARCH, Objects, objects_of, save, silence
from hirescam_cli.results.format import Made, Request

FORMAT = "dicom-sr"
REPORT = "report.sr.dcm"


def write(request: Request) -> list[Made]:
    """One report of all wanted labels, under the case's own placement."""
    with silence():
        objects = objects_of(request, FORMAT)
        what = (*request.view.methods, "labels", *request.labels)
        ds = Comprehensive3DSR(
            evidence=objects.references.all,
            content=_content(objects),
            series_instance_uid=objects.series_uid(*what),
            series_number=objects.series_number(),
            sop_instance_uid=objects.sop_uid(*what),
            instance_number=1,
            is_complete=True,
            contributing_equipment=objects.contributing(),
            coding_schemes=[codes.private_scheme()],
            **objects.equipment,
        )
        ds.ContentQualification = "RESEARCH"
        title = f"AI report: {len(request.labels)} {'label' if len(request.labels) == 1 else 'labels'}"
        objects.finish(ds, objects.description(what=title), *what)
        save(ds, request.folder / REPORT)
    return [Made(REPORT, "dicom")]


def _content(objects: Objects) -> MeasurementReport:
    device = DeviceObserverIdentifyingAttributes(
        uid=objects.uids.of("device", objects.case.model.weights_sha256),
        name=codes.plain(f"hirescam {objects.version}", 64),
        manufacturer_name=MANUFACTURER,
        model_name=codes.plain(objects.case.model.name, 64),
        serial_number=objects.case.model.weights_sha256,
    )
    observer = ObserverContext(observer_type=dictionary.DCM.Device, observer_identifying_attributes=device)
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=CodedConcept("77477000", "SCT", "Computed tomography"),
        imaging_measurements=[_group(objects, name) for name in objects.request.labels],
        title=dictionary.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept("en", "RFC5646", "English")
        ),
    )


def _group(objects: Objects, name: str) -> MeasurementsAndQualitativeEvaluations:
    """A label: the network's answer, and for each method what its map accounts for."""
    label = objects.case.label(name)
    measurements = [
        _number(codes.LOGIT, label.logit),
        _number(codes.PROBABILITY, label.probability),
        _number(codes.THRESHOLD, label.threshold),
    ]
    evaluations = [
        QualitativeEvaluation(codes.DECISION, codes.POSITIVE if label.positive else codes.NEGATIVE)
    ]
    for method in objects.request.view.methods:
        found = label.maps[method]
        kind = codes.of_method(method)
        parts = ((codes.MAP_PART, found.sum), (codes.BIAS_PART, found.bias), (codes.RESIDUAL, found.residual))
        identification = _algorithm(objects, method)
        measurements += [_number(concept, value, kind, identification) for concept, value in parts]
        measurements.append(
            _number(codes.PEAK, found.peak.value, kind, identification, _peak(objects, label, method))
        )
        certificate = codes.COMPLETE if found.complete else codes.NOT_COMPLETE
        question = codes.certificate_of(method, objects.request.view.title(method))
        evaluations.append(QualitativeEvaluation(question, certificate))
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=objects.uids.of(FORMAT, "tracking", name), identifier=codes.plain(name, 64)
        ),
        finding_type=codes.of_label(label),
        algorithm_id=_algorithm(objects, None),
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )


def _number(
    name: CodedConcept,
    value: float,
    method: CodedConcept | None = None,
    algorithm: AlgorithmIdentification | None = None,
    point: CoordinatesForMeasurement3D | None = None,
) -> Measurement:
    return Measurement(
        name=name,
        value=float(value),
        unit=codes.NO_UNITS,
        method=method,
        algorithm_id=algorithm,
        referenced_coordinates=None if point is None else [point],
    )


def _peak(objects: Objects, label: Label, method: str) -> CoordinatesForMeasurement3D:
    x, y, z = label.maps[method].peak.world_mm
    return CoordinatesForMeasurement3D(
        GraphicTypeValues3D.POINT,
        np.array([[-x, -y, z]], dtype=np.float64),
        objects.references.all[0].FrameOfReferenceUID,
    )


def _algorithm(objects: Objects, method: str | None) -> AlgorithmIdentification:
    """The network; for a method's measurements also its name."""
    title = "" if method is None else f", {objects.request.view.title(method)}"
    told = {**objects.parameters(), "placement": objects.case.placement, "use": RESEARCH}
    if objects.case.model.demonstration:
        told["warning"] = "demonstration model, no clinical meaning"
    return AlgorithmIdentification(
        name=codes.plain(f"hirescam: {objects.case.model.name}{title}", 64),
        version=objects.version,
        parameters=[f"{name}: {value}" for name, value in told.items()],
        family=codes.ARTIFICIAL_INTELLIGENCE,
        manufacturer=MANUFACTURER,
    )
