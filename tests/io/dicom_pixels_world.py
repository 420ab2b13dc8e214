"""What the tests of dicom pixels share."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.io.dicom_factory import set_pixels

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
]


LARGE = (48, 40, 12)


def padded(dtype: Any, value: int, bits: int | None = None, **tags: Any) -> Any:
    """An edit that puts stored `value` into a corner of every slice and declares it by `tags`."""

    def edit(ds: Dataset, _k: int) -> None:
        stored = np.frombuffer(ds.PixelData, np.int16 if ds.PixelRepresentation else np.uint16)
        stored = stored.reshape(ds.Rows, ds.Columns).astype(dtype)
        stored[-4:, -6:] = np.array(value).astype(dtype)
        set_pixels(ds, stored, bits)
        for keyword, (vr, number) in tags.items():
            ds.add_new(keyword, vr, number)

    return edit
