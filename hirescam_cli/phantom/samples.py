"""Writes `sample_data/`: a phantom as NIfTI with its masks and truth, and a small DICOM series of another one.

    python -m hirescam_cli.phantom.samples [FOLDER]

The files are the same, byte for byte, each time (with the same versions of zlib, nibabel and pydicom).
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shutil
import uuid
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.phantom.generate import Phantom, make_phantom
from hirescam_cli.resources import sample_path

NIFTI_SEED, NIFTI_FINDINGS = 2026, ("nodule", "mass", "pleural_effusion", "pacemaker_or_defib")
SERIES_SEED, SERIES_FINDINGS = 2027, ("consolidation", "cardiomegaly")

_TAGS: dict[str, object] = {
    "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
    "SOPClassUID": CTImageStorage,
    "StudyDate": "20260101",
    "StudyTime": "120000",
    "AccessionNumber": "",
    "Modality": "CT",
    "Manufacturer": "hirescam phantom",
    "ReferringPhysicianName": "",
    "SeriesDescription": "Synthetic chest, no patient",
    "PatientName": "PHANTOM",
    "PatientID": "PHANTOM",
    "PatientBirthDate": "",
    "PatientSex": "",
    "BodyPartExamined": "CHEST",
    "KVP": "120",
    "PatientPosition": "HFS",
    "StudyID": "1",
    "SeriesNumber": 1,
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "PositionReferenceIndicator": "",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "WindowCenter": "40",
    "WindowWidth": "400",
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
    "RescaleType": "HU",
}


def nifti_phantom() -> Phantom:
    """The phantom of `phantom.nii.gz`."""
    return make_phantom(NIFTI_SEED, findings=NIFTI_FINDINGS, spacing_mm=(1.7, 1.7, 3.0), orientation="LAS")


def series_phantom() -> Phantom:
    """The phantom of `series/`."""
    return make_phantom(
        SERIES_SEED,
        findings=SERIES_FINDINGS,
        spacing_mm=(2.7, 2.7, 5.0),
        shape=(128, 128, 58),
        orientation="LPS",
    )


def nifti_bytes(array_ijk: Voxels, affine_ras: Affine, compress: int = 9) -> bytes:
    """A `.nii.gz` with sform and qform coded 1, in mm, without time stamp or name in its gzip header."""
    image = nib.Nifti1Image(np.asarray(array_ijk), affine_ras)
    image.set_sform(affine_ras, code=1)
    image.set_qform(affine_ras, code=1)
    image.header.set_xyzt_units("mm")
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=compress, fileobj=buffer, mtime=0) as stream:
        stream.write(image.to_bytes())
    return buffer.getvalue()


def write_nifti(path: Path, array_ijk: Voxels, affine_ras: Affine) -> None:
    """Write `nifti_bytes` to a file."""
    path.write_bytes(nifti_bytes(array_ijk, affine_ras))


def write_masks(folder: Path, phantom: Phantom) -> None:
    """One uint8 NIfTI per finding, on the phantom's grid."""
    folder.mkdir(parents=True)
    for label, mask in phantom.masks.items():
        write_nifti(folder / f"{label}.nii.gz", mask.astype(np.uint8), phantom.volume.affine_ras)


def truth(phantom: Phantom) -> dict[str, object]:
    """What is true of a phantom, ready for JSON. World coordinates are RAS mm."""
    return {
        "seed": phantom.seed,
        "shape_ijk": list(phantom.volume.array_ijk.shape),
        "spacing_mm": [round(v, 6) for v in phantom.volume.spacing_mm],
        "orientation": phantom.volume.orientation,
        "findings": list(phantom.findings),
        "lesions": [
            {
                "label": lesion.label,
                "centre_mm": list(lesion.centre_mm),
                "size_mm": list(lesion.size_mm),
                "volume_ml": round(lesion.volume_ml, 3),
            }
            for lesion in phantom.lesions
        ],
    }


def write_series(folder: Path, phantom: Phantom) -> None:
    """A DICOM CT series (explicit VR little endian) of an "LPS" phantom: one file a slice, no patient's identity."""
    folder.mkdir(parents=True)
    affine = affines.LPS_TO_RAS @ phantom.volume.affine_ras
    array = phantom.volume.array_ijk
    for k in range(array.shape[2]):
        name = f"{k + 1:03d}.dcm"
        dataset = _slice(phantom, name, k, affine)
        stored = np.ascontiguousarray(array[:, :, k].T) + 1024
        dataset.PixelData = stored.astype("<u2").tobytes()
        dataset.save_as(folder / name, enforce_file_format=True)


def _uid(phantom: Phantom, *what: str) -> str:
    name = "/".join((phantom.volume.provenance.fingerprint, *what))
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"


def _slice(phantom: Phantom, name: str, k: int, affine_lps: Affine) -> FileDataset:
    columns, rows, _ = phantom.volume.array_ijk.shape
    dx, dy, dz = phantom.volume.spacing_mm
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(phantom, "instance", str(k))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _uid(phantom, "implementation")
    dataset = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
    position = affines.apply(affine_lps, (0, 0, k))
    values: dict[str, object] = _TAGS | {
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SliceThickness": f"{dz:g}",
        "StudyInstanceUID": _uid(phantom, "study"),
        "SeriesInstanceUID": _uid(phantom, "series"),
        "InstanceNumber": k + 1,
        "ImagePositionPatient": [f"{v:.4f}" for v in position],
        "FrameOfReferenceUID": _uid(phantom, "frame"),
        "SliceLocation": f"{position[2]:.4f}",
        "Rows": rows,
        "Columns": columns,
        "PixelSpacing": [f"{dy:g}", f"{dx:g}"],
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def write_samples(folder: Path) -> None:
    """Write all of them into `folder`; what was there under the same names is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    phantom, series = nifti_phantom(), series_phantom()
    for name in ("phantom.masks", "series", "series.masks"):
        shutil.rmtree(folder / name, ignore_errors=True)
    write_nifti(folder / "phantom.nii.gz", phantom.volume.array_ijk, phantom.volume.affine_ras)
    write_masks(folder / "phantom.masks", phantom)
    write_series(folder / "series", series)
    write_masks(folder / "series.masks", series)
    for name, one in (("phantom", phantom), ("series", series)):
        text = json.dumps(truth(one), indent=1, allow_nan=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hirescam_cli.phantom.samples", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=sample_path(), help="default: the sample folder"
    )
    write_samples(parser.parse_args().folder)


if __name__ == "__main__":
    main()
