"""A DICOM series in high-throughput JPEG 2000, which no encoder here can write: one slice, made elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path

import pydicom

from tests.io.dicom_factory import chest, make_series

# High-throughput JPEG 2000 (reversible, by OpenJPH) of int16 ((13 row + 7 column) mod 2048) - 1024, 40 x 48.
HTJ2K = (
    "/0//UQApQAAAAAAwAAAAKAAAAAAAAAAAAAAAMAAAACgAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI"
    "kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAMgAAf+TwAAqgA+45Yuv9QGDNADAABJAABGA"
    "AEt0ABIzAMAAFRAABMB+34CP4It2AN3+A3dUAMAAFVAABWjee+/cAjpwAncAdDqdTqf0CN4Qgb64AMAAFdAABa7u7u7u7vP4p6en"
    "p8J5ADjGGGOMMcb4/0wAAB79gAB79gAB7L8AwAAteAAF0AAkSZIkSZIk+f1/wKenp6enp6enp0J/ABgREREREREREREREf99cnv3"
    "ye/fJ798nv3ye/fJ7LQB/9k="
)


def make_htj2k_series(folder: Path, number: int) -> list[Path]:
    """A series of 48 x 40 x 12 voxels in transfer syntax 1.2.840.10008.1.2.4.`number`, each slice `HTJ2K`."""
    paths = make_series(folder, chest((48, 40, 12)), intercept=0)
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{number}"
        ds.PixelData = pydicom.encaps.encapsulate([base64.b64decode(HTJ2K)])
        ds["PixelData"].is_undefined_length = True
        ds.save_as(path)
    return paths
