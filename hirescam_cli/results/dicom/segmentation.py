"""Segmentations: where a map is at least a share of its maximum, on the scan's slices (PS3.3 A.51).

One object a label, binary: readers that mix up segments of one object are many, and each label's map is of its own
height.
"""

from __future__ import annotations

import numpy as np
from highdicom import Volume as Planes
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription

from hirescam_cli.results.dicom import codes
from hirescam_cli.results.dicom.objects import CONTENT_LABEL, RESEARCH, Objects, objects_of, save, silence
from hirescam_cli.results.dicom.placing import on_slices, planes_on, slices_near, slices_of
from hirescam_cli.results.format import Made, Request

FORMAT = "dicom-seg"


def write(request: Request) -> list[Made]:
    """A segmentation of each wanted method and label; none of a map without positive evidence."""
    made = []
    with silence():
        objects = objects_of(request, FORMAT)
        for method in request.view.methods:
            for label in request.labels:
                found = _mask(objects, method, label)
                if found is not None:
                    made.append(_write(objects, *found, method, label))
    return made


def _mask(objects: Objects, method: str, label: str) -> tuple[Planes, tuple[int, int]] | None:
    """Where the map, interpolated on the scan's slices, is at least the wanted share of its largest cell.

    From its first slice to its last, whose numbers come with it; None where it has no positive evidence, or none of it
    in the scan.
    """
    request, view = objects.request, objects.request.view
    cam = view.native_map_of(method, label)
    affine_ras, scan = view.native_affines_ras[request.placement], view.volume.grid
    limit = np.float32(request.style.seg_fraction * float(cam.max()))
    if limit <= 0:
        return None
    first, last = slices_near(cam >= limit, affine_ras, scan)
    if first == last:
        return None
    slices = slices_of(scan, first, last - first)
    mask = on_slices(cam, affine_ras, slices) >= limit
    filled = np.flatnonzero(mask.any(axis=(1, 2)))
    if not filled.size:
        return None
    low, high = int(filled[0]), int(filled[-1]) + 1
    slices = slices_of(scan, first + low, high - low)
    place = objects.references.all[0].FrameOfReferenceUID
    return planes_on(mask[low:high].view(np.uint8), slices, place), (first + low, first + high)


def _write(objects: Objects, planes: Planes, within: tuple[int, int], method: str, label: str) -> Made:
    request, references = objects.request, objects.references
    view, fraction = request.view, request.style.seg_fraction
    what = (method, label, request.placement, fraction)
    ds = Segmentation(
        source_images=references.near(*within),
        further_source_images=references.further or None,
        pixel_array=planes,
        # Readers that count frames and do not look at their places would close the gap of an empty one.
        omit_empty_frames=False,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(objects, method, label)],
        series_instance_uid=objects.series_uid(*what),
        series_number=objects.series_number(method, label),
        sop_instance_uid=objects.sop_uid(*what),
        instance_number=1,
        content_label=CONTENT_LABEL,
        content_description=codes.plain(f"{view.title(method)} {label}, {fraction:g} of maximum", 64),
        contributing_equipment=objects.contributing(),
        **objects.equipment,
    )
    references.tell_all(ds)
    threshold = fraction * float(view.native_map_of(method, label).max())
    derivation = f"Where the map is at least {fraction:g} of its maximum ({threshold:.6g}). "
    ds.DerivationDescription = codes.plain(derivation + objects.derivation(method, label), 1024)
    ds.ContentQualification = "RESEARCH"
    objects.finish(ds, objects.description(method, label), *what)
    path = f"{request.stem(method, label)}.seg.dcm"
    save(ds, request.folder / path)
    return Made(path, "dicom", method, label, request.placement, "scan")


def _segment(objects: Objects, method: str, label: str) -> SegmentDescription:
    request = objects.request
    text = f"{request.view.title(method)} {label}, >= {request.style.seg_fraction:g} of maximum, {RESEARCH}"
    return SegmentDescription(
        segment_number=1,
        segment_label=codes.plain(text, 64),
        segmented_property_category=codes.ABNORMAL_STRUCTURE,
        segmented_property_type=codes.of_method(method),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=objects.algorithm(),
        tracking_uid=objects.uids.of(FORMAT, "tracking", method, label),
        tracking_id=codes.plain(f"{method} {label}", 64),
    )
