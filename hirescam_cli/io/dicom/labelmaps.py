"""Label maps stored as CT: masks that a converter wrote with the CT class, without a rescale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom.headers import Header
from hirescam_cli.io.dicom.hounsfield import stored_values
from hirescam_cli.io.dicom.pixels import check_format, is_native, opened_instance, stored_frames
from hirescam_cli.io.dicom.silence import quiet
from hirescam_cli.io.dicom.sources import SourceReader

# More different values than any set of organs has; a CT slice has more.
_MOST_LABELS = 256
_FEW_BYTES = 4 << 20


def may_be_a_label_map(headers: Sequence[Header]) -> bool:
    """Whether a volume has no rescale, as its headers say: few scans have none."""
    rescales = {frame.rescale[:2] for header in headers for frame in header.frames}
    return all(slope in (None, 1.0) and intercept in (None, 0.0) for slope, intercept in rescales)


def is_plainly_no_label_map(headers: Sequence[Header]) -> bool:
    """Whether the first slice alone says so; looked at only where that costs no more than a header does.

    That is a file of its own with few, uncompressed pixels: nothing is inflated and no codec runs.
    """
    header = headers[0]
    pixels = header.pixels
    plain = is_native(header.transfer_syntax) and header.beginning is not None and header.source.entry is None
    if not plain or pixels is None or pixels.length is None or pixels.length > _FEW_BYTES:
        return False
    try:
        stored = next(_stored_slices(headers[:1]), None)
    except ScanError:
        return False
    return stored is not None and _is_image(stored)


def _is_image(stored: NDArray[np.integer]) -> bool:
    """Whether a slice holds values that no slice of a label map has."""
    return bool(stored.min() < 0 or np.unique(stored).size > _MOST_LABELS)


def is_label_map(headers: Sequence[Header]) -> bool:
    """Whether a volume that `may_be_a_label_map` has no value below 0 and at most 256 different values.

    Decodes only as far as the first slice that says otherwise: mostly the first. A volume that cannot be decoded is
    not a label map: its reader will say what is wrong with it.
    """
    values: set[int] = set()
    try:
        for stored in _stored_slices(headers):
            if _is_image(stored):
                return False
            values.update(np.unique(stored).tolist())
            if len(values) > _MOST_LABELS:
                return False
    except ScanError:
        return False
    return len(values) > 1


def _stored_slices(headers: Sequence[Header]) -> Iterator[NDArray[np.integer]]:
    with quiet(), SourceReader() as reader:
        for header in headers:
            pixel_format = check_format(header)
            with reader.seekable(header.source) as stream:
                wanted = {frame.index for frame in header.frames}
                instance = opened_instance(stream, header)
                for index, raw in enumerate(stored_frames(instance)):
                    if index in wanted:
                        yield stored_values(raw, pixel_format)
