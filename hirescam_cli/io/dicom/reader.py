"""Reading one DICOM volume: each slice decoded into its place, resampled only where the slices need it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom.geometry import Stack, stack_of
from hirescam_cli.io.dicom.grouping import Plane
from hirescam_cli.io.dicom.headers import Header
from hirescam_cli.io.dicom.hounsfield import Tally, hounsfield, is_whole, linear_rescale
from hirescam_cli.io.dicom.origin import source_of
from hirescam_cli.io.dicom.pixels import check_format, is_native, opened_instance, stored_frames
from hirescam_cli.io.dicom.resampling import resample_stack
from hirescam_cli.io.dicom.silence import quiet
from hirescam_cli.io.dicom.sources import SourceReader
from hirescam_cli.io.fingerprint import combine, digest_of_stream
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.threads import in_threads, shares
from hirescam_cli.volume import Provenance, Volume
from hirescam_cli.warning import Warning

Array = NDArray[np.generic]

_FEWEST_A_THREAD = 8


def read_series(scan: Scan, options: ReadOptions) -> Volume:
    """The volume of a scan that `find_series` found: HU [column, row, slice ascending along the normal].

    int16 where every HU is whole and no slice had to be interpolated, else float32. Raises ScanError with the
    file or series, what is wrong with it and what to do; a slice that cannot be decoded fails the scan.
    """
    headers: tuple[Header, ...] = scan.selector
    planes = [Plane(header, frame) for header in headers for frame in header.frames]
    for header in headers:
        check_format(header)
    stack = stack_of(planes, scan.name, allow_gaps=options.allow_gaps)
    _check_size(stack, scan, options)
    decoder = _Decoder(scan, stack)
    array_kji, digests, notes = decoder.run(headers)
    if stack.resample_normal or stack.resample_plane:
        array_kji = resample_stack(array_kji, stack)
    if decoder.is_constant:
        raise ScanError(
            f"{scan.name} is constant: every voxel has the same value.",
            code="constant",
            hint="Give a scan with an image in it.",
        )
    warnings = (*stack.warnings, *notes)
    provenance = Provenance(scan.kind, combine(digests), scan.series_uid, warnings, _slice_numbers(stack))
    return Volume(
        array_kji.transpose(2, 1, 0), stack.affine_ras, provenance, _thickness(planes), source_of(stack)
    )


def _thickness(planes: Sequence[Plane]) -> float | None:
    """The slice thickness that all planes declare, if they agree on one."""
    found = {plane.frame.thickness for plane in planes}
    only = found.pop() if len(found) == 1 else None
    return only if only is not None and only > 0 else None


def _slice_numbers(stack: Stack) -> tuple[int | None, ...]:
    """What the scanner calls each slice; () where they were interpolated along the normal."""
    if stack.resample_normal:
        return ()
    first = [place[0] for place in stack.order]
    frames = len({id(plane.header) for plane in first}) < len(first)
    return tuple(plane.frame.index + 1 if frames else plane.header.number for plane in first)


def fingerprint_of(scan: Scan) -> str:
    """The fingerprint that `read_series` would give a scan, without decoding it. Raises ScanError."""
    digests = []
    with SourceReader() as reader:
        for header in scan.selector:
            with reader.opened(header.source) as stream:
                try:
                    digests.append(digest_of_stream(stream))
                except (OSError, EOFError, ValueError) as error:
                    raise ScanError(
                        f"{header.source.name} cannot be read.", code="unreadable-file"
                    ) from error
    return combine(digests)


def _check_size(stack: Stack, scan: Scan, options: ReadOptions) -> None:
    """Refuse more than `options.max_voxels`, of slices or of their grid, before memory is taken."""
    pixel_format = check_format(scan.selector[0])
    sliced = pixel_format.rows * pixel_format.columns * len(stack.order)
    voxels = max(sliced, int(np.prod([int(n) for n in stack.shape_ijk], dtype=object)))
    if voxels > options.max_voxels:
        raise ScanError(
            f"{scan.name} has {voxels} voxels, at most {options.max_voxels} are read.",
            code="too-many-voxels",
            hint="Raise --max-voxels if that is what the scan holds.",
        )


class _Decoder:
    """Fills the array [slice, row, column] of a stack from its files, in whatever order the files come."""

    def __init__(self, scan: Scan, stack: Stack) -> None:
        self._scan = scan
        self._tally = Tally()
        self._copies = 0
        self._lock = threading.Lock()
        self._rank = {
            (id(plane.header), plane.frame.index): rank
            for rank, place in enumerate(stack.order)
            for plane in place
        }
        self._filled: list[str | None] = [None] * len(stack.order)
        pixel_format = check_format(scan.selector[0])
        planes = [plane for place in stack.order for plane in place]
        _refuse_mixed_rescale(planes, scan.name)
        frames = [plane.frame.rescale for plane in planes]
        self._rescales = {rescale: linear_rescale(rescale, scan.name) for rescale in dict.fromkeys(frames)}
        whole = all(is_whole(rescale) for rescale in self._rescales.values())
        shape = (len(stack.order), pixel_format.rows, pixel_format.columns)
        try:
            self._array: Array = np.zeros(shape, dtype=np.int16 if whole else np.float32)
        except MemoryError as error:
            raise ScanError(
                f"{scan.name} needs more memory than there is: {shape[0]} slices of {shape[1]} x {shape[2]}.",
                code="out-of-memory",
                hint="Give the process more memory.",
            ) from error

    @property
    def is_constant(self) -> bool:
        """Whether every voxel has the same value."""
        return self._tally.lowest == self._tally.highest

    def run(self, headers: Sequence[Header]) -> tuple[Array, list[str], list[Warning]]:
        """The array, the digests of the files and the warnings."""
        with quiet():
            digests = [digest for part in in_threads(self._part, _parts(headers)) for digest in part]
        if not all(self._filled):
            raise ScanError(f"{self._scan.name} has slices without pixels.", code="dicom-truncated")
        notes = self._tally.warnings(set(self._rescales))
        if self._copies:
            slices = "1 slice was" if self._copies == 1 else f"{self._copies} slices were"
            notes.insert(0, Warning("duplicate-slices", f"{slices} there twice with the same pixels."))
        return self._array, digests, notes

    def _part(self, headers: Sequence[Header]) -> list[str]:
        """Put the slices of some files in their places; returns the files' digests."""
        digests, tally = [], Tally()
        with SourceReader() as reader:
            for header in headers:
                with reader.seekable(header.source) as stream:
                    digests.append(digest_of_stream(stream))
                    stream.seek(0)
                    for index, hu in self._frames(stream, header, tally):
                        self._place(self._rank[id(header), index], hu, header)
        with self._lock:
            self._tally.add(tally)
        return digests

    def _frames(self, stream: IO[bytes], header: Header, tally: Tally) -> Iterator[tuple[int, Array]]:
        """The wanted frames of a file, as their index and HU. The file must still be what discovery saw."""
        instance = opened_instance(stream, header)
        wanted = {frame.index: frame for frame in header.frames}
        pixel_format = check_format(instance.header)
        for index, raw in enumerate(stored_frames(instance)):
            if index not in wanted:
                continue
            as_is = pixel_format.signed or raw.dtype.kind == "u"
            tally.signs += not as_is
            read_as = pixel_format if as_is else replace(pixel_format, signed=True)
            yield index, hounsfield(raw, read_as, self._rescales[wanted[index].rescale], tally)

    def _place(self, rank: int, hu: Array, header: Header) -> None:
        """Put a slice where it belongs, or compare it with the one that is there."""
        with self._lock:
            if self._array.dtype == np.int16 and hu.dtype != np.int16:
                self._array = self._array.astype(np.float32)
            there, name = self._filled[rank], header.source.name
            if there is None:
                self._array[rank] = hu
                self._filled[rank] = name
            elif np.array_equal(self._array[rank], hu.astype(self._array.dtype)):
                self._copies += 1
            else:
                raise ScanError(
                    f"{self._scan.name} has two slices of different content at one position, one of them "
                    f"{max(there, name)}.",
                    code="dicom-mixed",
                    hint="The series mixes volumes that no tag tells apart; export them as series of their own.",
                )


def _refuse_mixed_rescale(planes: Sequence[Plane], name: str) -> None:
    """Refuse a volume in which a slope or an intercept is missing in some slices: theirs cannot be guessed."""
    for part, what in enumerate(("rescale slope", "rescale intercept")):
        without = [plane for plane in planes if plane.frame.rescale[part] is None]
        if without and len(without) < len(planes):
            first = without[0]
            frame = f" (frame {first.frame.index + 1})" if first.header.multi_frame else ""
            raise ScanError(
                f"{name} has no {what} in {len(without)} of {len(planes)} slices, first in "
                f"{first.header.source.name}{frame}.",
                code="dicom-mixed-rescale",
                hint="Fetch the series again: slices with and without it are not on one scale.",
            )


def _parts(headers: Sequence[Header]) -> list[Sequence[Header]]:
    """The files in a part for each thread; in a single one where decoders do the work, one at a time."""
    native = all(is_native(header.transfer_syntax) for header in headers)
    return shares(headers, _FEWEST_A_THREAD if native else len(headers))
