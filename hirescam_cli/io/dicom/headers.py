"""What the reader needs to know of a DICOM instance before its pixels: `Header`, `Frame`, the fast scan.

Positions and orientations are in DICOM's LPS millimetres, as the tags give them; `geometry` turns them into
RAS.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom import elements, tags
from hirescam_cli.io.dicom.elements import Elements, PixelElement
from hirescam_cli.io.dicom.recognise import looks_like_dicom
from hirescam_cli.io.dicom.silence import quiet
from hirescam_cli.io.dicom.sop_classes import DIRECTORY, may_be_ct
from hirescam_cli.io.dicom.sources import Source, SourceReader
from hirescam_cli.io.scan import Ignored

Phase = tuple[str, ...]
Rescale = tuple[float | None, float | None, str | None]

# What tells the phases of one series apart, in the order of `Frame.phase`.
PHASE_NAMES = (
    "temporal position", "acquisition", "cardiac phase", "trigger time", "kernel", "type", "time", "thickness", "stack",
)  # fmt: skip

NOT_DICOM = "not-dicom"
MAX_FRAMES = 100_000
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the stored values of an instance are encoded. `padding` and `padding_limit` are 16-bit patterns."""

    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: int | None
    padding_limit: int | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One image plane of an instance: where it lies (LPS mm) and how its stored values become HU.

    `spacing`: between rows, between columns. `thickness`: of the slice, `distance`: to the next one, as declared.
    `phase`: see PHASE_NAMES, "" where a tag is absent.
    """

    index: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    distance: float | None
    rescale: Rescale
    phase: Phase


@dataclass(frozen=True, slots=True)
class Header:
    """An instance: UIDs, class, encoding, frames, where its pixels are. Nothing of the patient.

    `frames`: those wanted of the `frame_count` that the file holds. `beginning`: BLAKE2b of all bytes before the
    pixels, None if they are deflated: a file that still begins so need not be parsed again.
    """

    source: Source
    study_uid: str | None
    series_uid: str | None
    sop_uid: str | None
    sop_class: str | None
    modality: str | None
    image_type: tuple[str, ...]
    frame_of_reference: str | None
    transfer_syntax: str | None
    pixel_format: PixelFormat | None
    number: int | None
    pixels: PixelElement | None
    beginning: bytes | None
    has_modality_lut: bool
    multi_frame: bool
    frame_count: int
    frames: tuple[Frame, ...]


def scan_headers(sources: Iterable[Source]) -> tuple[list[Header], list[Ignored]]:
    """The headers of DICOM files; what is broken or not DICOM comes back as Ignored.

    Reads the first 64 KiB of a file, all of it only where its pixels do not begin there.
    """
    headers: list[Header] = []
    ignored: list[Ignored] = []
    with quiet(), SourceReader() as reader:
        for source in sources:
            try:
                header = read_header(reader, source)
            except ScanError as error:
                named = error.message.startswith(source.name)
                reason = error.message if named else f"{source.name}: {error.message}"
                ignored.append(Ignored(source.name, error.code, reason, source.path))
                continue
            if header is None:
                reason = f"{source.name} is not a DICOM object."
                ignored.append(Ignored(source.name, NOT_DICOM, reason, source.path))
            else:
                headers.append(header)
    return headers, ignored


def read_header(reader: SourceReader, source: Source) -> Header | None:
    """The header of one file, None if it is not DICOM. Raises ScanError (dicom-broken, unreadable-file)."""
    head = reader.read(source, _HEAD_BYTES)
    if not looks_like_dicom(io.BytesIO(head)):
        return None
    whole = len(head) < _HEAD_BYTES
    try:
        parsed = elements.parse(io.BytesIO(head), tags.READ)
        whole = whole or parsed.pixels is not None
    except ScanError:
        if whole:
            raise
    if not whole:
        # What is not a CT may be large and go on in any way: only its class is looked at, and nothing else judged.
        identity = elements.beginning(head, tags.IDENTITY)
        if identity is not None and not _may_be_ct(identity):
            return header_of(elements.Parsed(identity, io.BytesIO(), None, None), source)
        parsed = elements.parse(io.BytesIO(reader.read(source)), tags.READ)
    return header_of(parsed, source)


def _may_be_ct(ds: Elements) -> bool:
    return may_be_ct(elements.text(ds, tags.SOP_CLASS_UID), elements.text(ds, tags.MODALITY))


def header_of(parsed: elements.Parsed, source: Source) -> Header:
    """The `Header` of a parsed file. Raises ScanError "dicom-broken"."""
    ds = parsed.elements
    syntax = parsed.transfer_syntax or elements.text(ds, tags.TRANSFER_SYNTAX_UID)
    groups = elements.items(ds, tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE) if _may_be_ct(ds) else []
    count = elements.integer(ds, tags.NUMBER_OF_FRAMES)
    if groups and count is not None and count != len(groups):
        raise ScanError(f"{count} frames are promised and {len(groups)} described.", code="dicom-broken")
    frames = _frames(ds, groups)
    media_class = elements.text(ds.meta, tags.MEDIA_STORAGE_SOP_CLASS_UID)
    sop_class = elements.text(ds, tags.SOP_CLASS_UID) or (DIRECTORY if media_class == DIRECTORY else None)
    if parsed.pixels is None and sop_class and media_class and media_class.startswith(sop_class):
        # A file that ends within its class is of the class that its beginning names.
        sop_class = media_class
    return Header(
        source=source,
        study_uid=elements.text(ds, tags.STUDY_INSTANCE_UID),
        series_uid=elements.text(ds, tags.SERIES_INSTANCE_UID),
        sop_uid=elements.text(ds, tags.SOP_INSTANCE_UID),
        sop_class=sop_class,
        modality=elements.text(ds, tags.MODALITY),
        image_type=tuple(part.upper() for part in elements.texts(ds, tags.IMAGE_TYPE)),
        frame_of_reference=elements.text(ds, tags.FRAME_OF_REFERENCE_UID),
        transfer_syntax=syntax,
        pixel_format=_pixel_format(ds),
        number=elements.integer(ds, tags.INSTANCE_NUMBER),
        pixels=parsed.pixels,
        beginning=_beginning(parsed),
        has_modality_lut=bool(elements.items(ds, tags.MODALITY_LUT_SEQUENCE)),
        multi_frame=bool(groups),
        frame_count=len(frames) if groups else max(1, count or 1),
        frames=frames,
    )


def digest_of_beginning(beginning: bytes) -> bytes:
    """What `Header.beginning` holds of these bytes."""
    return hashlib.blake2b(beginning, digest_size=16).digest()


def _beginning(parsed: elements.Parsed) -> bytes | None:
    if parsed.pixels is None or parsed.transfer_syntax == elements.DEFLATED:
        return None
    parsed.stream.seek(0)
    return digest_of_beginning(parsed.stream.read(parsed.pixels.offset))


def _pixel_format(ds: Elements) -> PixelFormat | None:
    rows, columns = elements.integer(ds, tags.ROWS), elements.integer(ds, tags.COLUMNS)
    allocated = elements.integer(ds, tags.BITS_ALLOCATED)
    if not rows or not columns or not allocated:
        return None
    stored = elements.integer(ds, tags.BITS_STORED) or allocated
    high = elements.integer(ds, tags.HIGH_BIT)
    return PixelFormat(
        rows=rows,
        columns=columns,
        samples=elements.integer(ds, tags.SAMPLES_PER_PIXEL) or 1,
        photometric=elements.text(ds, tags.PHOTOMETRIC_INTERPRETATION) or "MONOCHROME2",
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high is None else high,
        signed=elements.integer(ds, tags.PIXEL_REPRESENTATION) == 1,
        padding=elements.integer(ds, tags.PIXEL_PADDING_VALUE),
        padding_limit=elements.integer(ds, tags.PIXEL_PADDING_RANGE_LIMIT),
    )


def _frames(ds: Elements, groups: Sequence[Elements]) -> tuple[Frame, ...]:
    if not groups:
        return (_classic_frame(ds),)
    shared = elements.items(ds, tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE)[:1]
    return tuple(
        _enhanced_frame(ds, index, [group, *shared]) for index, group in enumerate(groups[:MAX_FRAMES])
    )


def _classic_frame(ds: Elements) -> Frame:
    return Frame(
        index=0,
        position=_vector(ds, tags.IMAGE_POSITION_PATIENT, 3),
        orientation=_vector(ds, tags.IMAGE_ORIENTATION_PATIENT, 6),
        spacing=_vector(ds, tags.PIXEL_SPACING, 2),
        thickness=elements.number(ds, tags.SLICE_THICKNESS),
        distance=elements.number(ds, tags.SPACING_BETWEEN_SLICES),
        rescale=_rescale(ds),
        phase=(
            elements.text(ds, tags.TEMPORAL_POSITION_IDENTIFIER) or "",
            elements.text(ds, tags.ACQUISITION_NUMBER) or "",
            str(elements.number(ds, tags.NOMINAL_PERCENTAGE_OF_CARDIAC_PHASE) or ""),
            elements.text(ds, tags.TRIGGER_TIME) or "",
            "\\".join(elements.texts(ds, tags.CONVOLUTION_KERNEL)),
            "\\".join(elements.texts(ds, tags.IMAGE_TYPE)).upper(),
            elements.text(ds, tags.ACQUISITION_TIME) or "",
            _thickness(ds),
            "",
        ),
    )


def _enhanced_frame(ds: Elements, index: int, groups: Sequence[Elements]) -> Frame:
    """A frame's functional groups: its own before the shared ones, before the top level of the data set."""

    def macro(tag: int) -> Elements | None:
        return next((found[0] for group in groups if (found := elements.items(group, tag))), None)

    position = _vector(macro(tags.PLANE_POSITION_SEQUENCE), tags.IMAGE_POSITION_PATIENT, 3)
    orientation = _vector(macro(tags.PLANE_ORIENTATION_SEQUENCE), tags.IMAGE_ORIENTATION_PATIENT, 6)
    measures = macro(tags.PIXEL_MEASURES_SEQUENCE)
    content = macro(tags.FRAME_CONTENT_SEQUENCE)
    transformation = macro(tags.PIXEL_VALUE_TRANSFORMATION_SEQUENCE)
    frame_type = macro(tags.CT_IMAGE_FRAME_TYPE_SEQUENCE)
    # Legacy-converted: what the single images held.
    unassigned = macro(tags.UNASSIGNED_SHARED_CONVERTED_ATTRIBUTES_SEQUENCE)
    cardiac = macro(tags.CARDIAC_SYNCHRONIZATION_SEQUENCE)
    kernel = macro(tags.CT_RECONSTRUCTION_SEQUENCE)
    return Frame(
        index=index,
        position=position or _vector(unassigned, tags.IMAGE_POSITION_PATIENT, 3),
        orientation=orientation or _vector(unassigned, tags.IMAGE_ORIENTATION_PATIENT, 6),
        spacing=_vector(measures, tags.PIXEL_SPACING, 2) or _vector(ds, tags.PIXEL_SPACING, 2),
        thickness=elements.number(measures, tags.SLICE_THICKNESS),
        distance=elements.number(measures, tags.SPACING_BETWEEN_SLICES),
        rescale=_rescale(transformation if transformation is not None else ds),
        phase=(
            str(elements.integer(content, tags.TEMPORAL_POSITION_INDEX) or ""),
            str(elements.integer(content, tags.FRAME_ACQUISITION_NUMBER) or ""),
            str(elements.number(cardiac, tags.NOMINAL_PERCENTAGE_OF_CARDIAC_PHASE) or ""),
            str(elements.number(cardiac, tags.NOMINAL_CARDIAC_TRIGGER_DELAY_TIME) or ""),
            "\\".join(elements.texts(kernel, tags.CONVOLUTION_KERNEL)),
            "\\".join(elements.texts(frame_type, tags.FRAME_TYPE)).upper(),
            elements.text(content, tags.FRAME_ACQUISITION_DATE_TIME) or "",
            _thickness(measures),
            elements.text(content, tags.STACK_ID) or "",
        ),
    )


def _thickness(ds: Elements | None) -> str:
    thickness = elements.number(ds, tags.SLICE_THICKNESS)
    return "" if thickness is None else f"{thickness:.2f}"


def _vector(ds: Elements | None, tag: int, length: int) -> tuple[float, ...] | None:
    """`length` numbers of a possible size (a kilometre at most), or None."""
    found = elements.numbers(ds, tag)
    possible = found is not None and len(found) == length and max(map(abs, found)) <= 1e6
    return found if possible else None


def _rescale(ds: Elements | None) -> Rescale:
    """Slope, intercept and type; infinite for what is not a number, so that it is refused later."""

    def value(tag: int) -> float | None:
        if not elements.texts(ds, tag) or elements.texts(ds, tag) == ("",):
            return None
        found = elements.number(ds, tag)
        return math.inf if found is None else found

    return value(tags.RESCALE_SLOPE), value(tags.RESCALE_INTERCEPT), elements.text(ds, tags.RESCALE_TYPE)
