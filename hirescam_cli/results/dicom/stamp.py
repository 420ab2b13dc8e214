"""Writing hundreds of images that differ in a few elements: what they share is encoded once.

pydicom takes longer to encode the fifty elements of an image than its pixels take to be drawn.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info

_PREAMBLE = bytes(128) + b"DICM"
# Pixel Data (7FE0,0010) in Explicit VR Little Endian, up to its length.
_PIXEL_DATA = b"\xe0\x7f\x10\x00OB\x00\x00"


class Stamp:
    """`shared`: an image in Explicit VR Little Endian and UTF-8 with all that the images of its series share.

    Its pixels, and what images have of their own, stand in it only as examples.
    """

    def __init__(self, shared: Dataset) -> None:
        self._meta = shared.file_meta
        self._shared = _encoded(shared, leave_out="PixelData")

    def write(self, path: Path, own: Dataset, rgb: NDArray[np.uint8]) -> None:
        """Write the image with the elements `own` and the pixels `rgb` [rows, columns, 3], of 8 bits."""
        parts = self._shared | _encoded(own)
        meta = deepcopy(self._meta)
        meta.MediaStorageSOPInstanceUID = own.SOPInstanceUID
        head = DicomBytesIO()
        head.is_implicit_VR, head.is_little_endian = False, True
        write_file_meta_info(head, meta, enforce_standard=True)
        pixels = np.ascontiguousarray(rgb).tobytes()
        pixels += bytes(len(pixels) % 2)
        with path.open("wb") as file:
            file.write(_PREAMBLE + head.getvalue())
            file.writelines(parts[tag] for tag in sorted(parts))
            file.write(_PIXEL_DATA + len(pixels).to_bytes(4, "little"))
            file.write(pixels)


def _encoded(ds: Dataset, leave_out: str = "") -> dict[int, bytes]:
    """The bytes of each element by its tag."""
    found = {}
    for element in ds:
        if element.keyword == leave_out:
            continue
        alone, buffer = Dataset(), DicomBytesIO()
        alone[element.tag] = element
        buffer.is_implicit_VR, buffer.is_little_endian = False, True
        write_dataset(buffer, alone, parent_encoding="utf8")
        found[int(element.tag)] = buffer.getvalue()
    return found
