"""What a volume keeps of the series that it was read from: which instance lies where, and the first one's header."""

from __future__ import annotations

from typing import cast

import numpy as np

from hirescam_cli.io.dicom.geometry import Stack
from hirescam_cli.io.dicom.grouping import Plane
from hirescam_cli.io.dicom.headers import Header
from hirescam_cli.io.dicom.sources import SourceReader
from hirescam_cli.volume import DicomInstance, DicomPlane, DicomSource


def source_of(stack: Stack) -> DicomSource:
    """The `DicomSource` of a stack that was read. Raises ScanError "unreadable-file"."""
    first = stack.order[0][0].header
    planes: dict[int, list[DicomPlane]] = {}
    headers: dict[int, Header] = {}
    for rank, place in enumerate(stack.order):
        plane = place[0]
        headers[id(plane.header)] = plane.header
        planes.setdefault(id(plane.header), []).append(_plane(stack, rank, plane))
    return DicomSource(
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        frames_of_reference=tuple(dict.fromkeys(h.frame_of_reference for h in headers.values())),
        instances=tuple(
            DicomInstance(
                header.sop_class, header.sop_uid, header.multi_frame, header.frame_count, tuple(planes[key])
            )
            for key, header in headers.items()
        ),
        header=_beginning(first),
    )


def _plane(stack: Stack, rank: int, plane: Plane) -> DicomPlane:
    position = cast(tuple[float, float, float], plane.frame.position)
    if stack.resample_plane:
        return DicomPlane(plane.frame.index, position, None)
    if not stack.resample_normal:
        return DicomPlane(plane.frame.index, position, rank)
    # On a resampled grid some slices are still those that were read.
    same = np.flatnonzero(stack.targets_mm == stack.distances_mm[rank])
    return DicomPlane(plane.frame.index, position, int(same[0]) if same.size else None)


def _beginning(header: Header) -> bytes:
    with SourceReader() as reader:
        whole = header.pixels is None or header.beginning is None
        return reader.read(header.source, None if whole or header.pixels is None else header.pixels.offset)
