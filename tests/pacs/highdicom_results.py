"""Result objects of the kinds that hirescam writes, made with highdicom for a CT series."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

MANUFACTURER = "hirescam"


def results_of(series: Sequence[Path], seed: str) -> dict[str, bytes]:
    """A binary segmentation, a float parametric map, a structured report and a secondary capture, by file name."""
    pytest.importorskip("highdicom")
    import highdicom as hd

    sources = sorted((dcmread(path) for path in series), key=lambda ds: float(ds.ImagePositionPatient[2]))
    common: dict[str, Any] = {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": "test",
        "software_versions": "1",
        "device_serial_number": "1",
    }
    uids = (generate_uid(entropy_srcs=[seed, str(number)]) for number in range(100))

    def place(number: int) -> dict[str, Any]:
        return {
            "series_instance_uid": next(uids),
            "series_number": 900 + number,
            "sop_instance_uid": next(uids),
            "instance_number": 1,
        }

    shape = (len(sources), int(sources[0].Rows), int(sources[0].Columns))
    values = np.random.default_rng(7).standard_normal(shape).astype(np.float32)
    objects = {
        "hirescam.nodule.seg.dcm": hd.seg.Segmentation(
            sources, (values > 1).astype(np.uint8), hd.seg.SegmentationTypeValues.BINARY, [_segment(hd)],
            **place(1), **common,
        ),
        "hirescam.nodule.pm.dcm": hd.pm.ParametricMap(
            sources, values, **place(2), **common, contains_recognizable_visual_features=False,
            real_world_value_mappings=[_mapping(hd, values)], window_center=0.0, window_width=2.0,
        ),
        "hirescam.nodule.sc.dcm": hd.sc.SCImage.from_ref_dataset(
            sources[0], np.full((32, 32, 3), 90, np.uint8), "RGB", 8, "PATIENT", **place(3), manufacturer=MANUFACTURER,
            patient_orientation=("L", "P"),
        ),
        "report.sr.dcm": _report(hd, sources[0], place(4)),
    }  # fmt: skip
    return {name: encoded(ds) for name, ds in objects.items()}


def encoded(ds: Dataset) -> bytes:
    """A dataset as a file's bytes."""
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _segment(hd: Any) -> Any:
    return hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="nodule",
        segmented_property_category=Code("49755003", "SCT", "Morphologically Altered Structure"),
        segmented_property_type=Code("27925004", "SCT", "Nodule"),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            "test", codes.DCM.ArtificialIntelligence, "1"
        ),
    )


def _mapping(hd: Any, values: np.ndarray) -> Any:
    return hd.pm.RealWorldValueMapping(
        lut_label="1",
        lut_explanation="logits per cell",
        unit=codes.UCUM.NoUnits,
        value_range=(float(values.min()), float(values.max())),
        intercept=0,
        slope=1,
    )


def _report(hd: Any, source: Dataset, place: dict[str, Any]) -> Any:
    observer = hd.sr.ObserverContext(
        codes.DCM.Device, hd.sr.DeviceObserverIdentifyingAttributes(generate_uid(entropy_srcs=["device"]))
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=Code("25045-6", "LN", "CT unspecified body region"),
        imaging_measurements=[
            hd.sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(
                    generate_uid(entropy_srcs=["finding"]), "nodule"
                ),
                measurements=[hd.sr.Measurement(codes.DCM.Probability, 0.75, codes.UCUM.NoUnits)],
            )
        ],
    )
    return hd.sr.Comprehensive3DSR(evidence=[source], content=content, manufacturer=MANUFACTURER, **place)
