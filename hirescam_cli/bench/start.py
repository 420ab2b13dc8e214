"""Rows about starting, finding and reading: what happens before a scan's voxels are there."""

from __future__ import annotations

import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hirescam_cli.bench.table import Row, at_most
from hirescam_cli.bench.timing import interleaved, ratio, seconds
from hirescam_cli.bench.workload import Workload
from hirescam_cli.io import discover, read
from hirescam_cli.io.scan import InputPath, ReadOptions

_UID = "1.2.826.0.1.3680043.10.999"
_STARTS = {"help": (["--help"], 0.25), "model-list": (["model", "list"], 0.3)}


def start_rows(workload: Workload) -> list[Row]:
    """Seconds of commands that need no network, and whether they load torch all the same."""
    rows = []
    for key, (arguments, goal) in _STARTS.items():
        command = f"hirescam {' '.join(arguments)}"
        workload.say(command)
        imported = imports_of(arguments)
        times = [seconds(partial(_run, arguments)) for _ in range(2 * workload.size.rounds + 1)]
        loaded = [name for name in ("torch", "numpy") if name in imported]
        detail = f"imports {' and '.join(loaded)}" if loaded else "imports neither torch nor NumPy"
        rows.append(Row(f"start-{key}", command, "s", statistics.median(times), at_most(goal), detail))
    return rows


def _run(arguments: list[str], *python: str) -> str:
    command = [sys.executable, *python, "-m", "hirescam_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def imports_of(arguments: list[str]) -> set[str]:
    """Names of the modules that a command imports."""
    lines = _run(arguments, "-X", "importtime").splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def _dicom(shape: tuple[int, int]) -> Dataset:
    """A CT slice without pixels, position or instance: what all slices of a series share."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    ds.Modality = "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [0.7, 0.7]
    ds.Columns, ds.Rows = shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    return ds


def write_series(folder: Path, slices: int, shape: tuple[int, int], series: int = 0) -> None:
    """An uncompressed CT series of noise, one file a slice, in an order that is not that of the slices."""
    folder.mkdir(parents=True)
    ds = _dicom(shape)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{_UID}.1.{series}", f"{_UID}.2.{series}"
    ds.FrameOfReferenceUID = f"{_UID}.3.{series}"
    pixels = np.random.default_rng(series).integers(-1000, 1000, (shape[1], shape[0]), dtype=np.int16)
    for k in range(slices):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{_UID}.4.{series}.{k}"
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = [0, 0, 0.8 * k]
        ds.PixelData = np.roll(pixels, k, axis=0).tobytes()
        ds.save_as(folder / f"{(k * 7919) % 100_003:06d}.dcm", enforce_file_format=True)


def reading_rows(workload: Workload) -> list[Row]:
    """Reading a series beside SimpleITK, and finding the series among many files by their headers."""
    size, options = workload.size, ReadOptions()
    workload.say("reading a DICOM series, and SimpleITK")
    folder = workload.folder / "series"
    write_series(folder, size.series, (size.plane, size.plane))

    def mine() -> object:
        return read(discover([InputPath(folder)], options).scans[0], options)

    def peer() -> object:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        return sitk.GetArrayFromImage(reader.Execute())

    mine(), peer()
    times = interleaved({"mine": mine, "peer": peer}, workload.size.rounds)
    workload.say("scanning headers")
    many, per_series = workload.folder / "headers", 12 if size.quick else 100
    for series in range(size.headers // per_series):
        write_series(many / f"{series:03d}", per_series, (64, 64), series)
    scanning = seconds(lambda: discover([InputPath(many)], options))
    ours, theirs = statistics.median(times["mine"]), statistics.median(times["peer"])
    return [
        Row(
            "series",
            f"Finding and reading a DICOM series of {size.series} slices, over SimpleITK",
            "x",
            ratio(times["mine"], times["peer"]),
            workload.goal(at_most(1.5)),
            f"{ours:.2f} s over {theirs:.2f} s, {size.plane} x {size.plane}, uncompressed",
        ),
        Row(
            "headers",
            f"Scanning the headers of {size.headers} DICOM files",
            "s",
            scanning,
            at_most(30.0),
            f"{size.headers // per_series} series in folders of their own",
        ),
    ]
