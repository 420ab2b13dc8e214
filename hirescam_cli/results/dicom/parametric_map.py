"""Parametric Maps: every value of a map exactly, in float32, at its place (PS3.3 A.75)."""

from __future__ import annotations

import numpy as np
from highdicom import VOILUTTransformation
from highdicom import Volume as Planes
from highdicom.pm import ParametricMap, RealWorldValueMapping

from hirescam_cli.results.dicom import codes
from hirescam_cli.results.dicom.objects import CONTENT_LABEL, RESEARCH, Objects, objects_of, save, silence
from hirescam_cli.results.dicom.placing import on_slices, planes_of, planes_on, slices_of
from hirescam_cli.results.format import Made, Request

FORMAT = "dicom-pm"


def write(request: Request) -> list[Made]:
    """A map of each wanted method and label, on its own cells unless --grid says "scan" or "both"."""
    made = []
    grids = {None: ("cam",), "cam": ("cam",), "scan": ("scan",), "both": ("cam", "scan")}[request.style.grid]
    with silence():
        objects = objects_of(request, FORMAT)
        for method in request.view.methods:
            for label in request.labels:
                for grid in grids:
                    made.append(_write(objects, method, label, "scan" if grid == "scan" else "cam"))
    return made


def _write(objects: Objects, method: str, label: str, grid: str) -> Made:
    request = objects.request
    view = request.view
    cam, affine_ras = view.native_map_of(method, label), view.native_affines_ras[request.placement]
    place = objects.references.all[0].FrameOfReferenceUID
    if grid == "scan":
        slices = slices_of(view.volume.grid, 0, view.volume.grid.shape[2])
        planes = planes_on(on_slices(cam, affine_ras, slices), slices, place)
    else:
        planes = planes_of(cam, affine_ras, view.volume.affine_ras, place)
    path = f"{request.stem(method, label)}{'.scan' if grid == 'scan' else ''}.pm.dcm"
    ds = _object(objects, planes, method, label, (method, label, request.placement, grid))
    save(ds, request.folder / path)
    return Made(path, "dicom", method, label, request.placement, "scan" if grid == "scan" else "cam")


def _object(
    objects: Objects, planes: Planes, method: str, label: str, what: tuple[str, str, str, str]
) -> ParametricMap:
    view, references = objects.request.view, objects.references
    values = planes.array
    low, high = float(values.min()), float(values.max())
    ds = ParametricMap(
        source_images=references.first,
        further_source_images=references.further or None,
        pixel_array=planes,
        series_instance_uid=objects.series_uid(*what),
        series_number=objects.series_number(method, label),
        sop_instance_uid=objects.sop_uid(*what),
        instance_number=1,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label=codes.plain(method.upper(), 16),
                lut_explanation=codes.plain(f"{view.title(method)}, {view.unit(method)}, {RESEARCH}", 64),
                unit=codes.NO_UNITS,
                value_range=(low, high),
                slope=1.0,
                intercept=0.0,
                quantity_definition=codes.of_method(method),
            )
        ],
        voi_lut_transformations=[_window(low, high)],
        content_label=CONTENT_LABEL,
        content_description=codes.plain(f"{view.title(method)} {label}", 64),
        contributing_equipment=objects.contributing(),
        **objects.equipment,
    )
    ds.DerivationDescription = objects.derivation(method, label)
    objects.finish(ds, objects.description(method, label), *what)
    return ds


def _window(low: float, high: float) -> VOILUTTransformation:
    """From 0 to the map's largest value; where it has none above 0, all of its values."""
    bottom = 0.0 if high > 0 else low
    width = max(high - bottom, float(np.finfo(np.float32).tiny))
    return VOILUTTransformation(
        window_center=bottom + width / 2, window_width=width, voi_lut_function="LINEAR_EXACT"
    )
