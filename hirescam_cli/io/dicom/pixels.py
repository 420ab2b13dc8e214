"""From a file's pixel bytes to raw arrays, frame by frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import gdcm
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import UID, JPEG2000TransferSyntaxes, UID_dictionary

from hirescam_cli.errors import ScanError
from hirescam_cli.io.dicom import elements, tags
from hirescam_cli.io.dicom.codestream import CodestreamError, check_complaints, check_whole, is_jpeg
from hirescam_cli.io.dicom.headers import (
    Header,
    PixelFormat,
    digest_of_beginning,
    header_of,
)
from hirescam_cli.io.dicom.silence import printed_by

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_MAX_TRAILING_BYTES = 1 << 20
_NATIVE = frozenset((_IMPLICIT, _EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"))
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
# Transfer syntax to the decoder that reads it bit-exactly.
_PLUGINS = {
    "1.2.840.10008.1.2.5": "pydicom",
    "1.2.840.10008.1.2.4.50": "gdcm",
    _JPEG_EXTENDED: "gdcm",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "gdcm",
    "1.2.840.10008.1.2.4.81": "gdcm",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
}


def readable(transfer_syntax: str | None) -> bool:
    """Whether pixels in a transfer syntax can be decoded (None: a file that names none, uncompressed)."""
    return is_native(transfer_syntax) or transfer_syntax in _PLUGINS


def check_format(header: Header) -> PixelFormat:
    """The pixel format of an instance. Raises ScanError "dicom-transfer-syntax" or "dicom-pixels"."""
    name, found = header.source.name, header.pixel_format
    if not readable(header.transfer_syntax):
        entry = UID_dictionary.get(header.transfer_syntax or "")
        known = f"{entry[0]} ({header.transfer_syntax})" if entry else "unknown"
        raise ScanError(
            f"{name} has pixels in a transfer syntax that cannot be decoded: {known}.",
            code="dicom-transfer-syntax",
            hint="Convert the series to an uncompressed or losslessly compressed transfer syntax.",
        )
    if header.has_modality_lut:
        raise _refused(name, "has a Modality LUT instead of a rescale slope and intercept")
    if found is None or header.pixels is None:
        raise _refused(name, "has no pixels")
    if found.samples != 1:
        raise _refused(name, f"has {found.samples} samples per pixel, expected 1")
    if found.bits_allocated not in (8, 16, 32):
        raise _refused(name, f"has {found.bits_allocated} bits allocated per pixel, expected 8, 16 or 32")
    if not 1 <= found.bits_stored <= found.bits_allocated:
        raise _refused(name, f"has {found.bits_stored} bits stored of {found.bits_allocated} allocated")
    if not found.bits_stored - 1 <= found.high_bit < found.bits_allocated:
        raise _refused(name, f"has high bit {found.high_bit} for {found.bits_stored} bits stored")
    return found


def _refused(name: str, what: str, code: str = "dicom-pixels") -> ScanError:
    return ScanError(f"{name} {what}.", code=code, hint="Fetch the file again from its source.")


@dataclass(frozen=True)
class Instance:
    """A file opened for its pixels: its (inflated) bytes, its header, its Extended Offset Table if it has one."""

    stream: IO[bytes]
    header: Header
    extended_offsets: tuple[bytes, bytes] | None


def opened_instance(stream: IO[bytes], header: Header) -> Instance:
    """The file whose `header` was read before, a seekable stream at its beginning, ready for `stored_frames`.

    Parsed again only if it does not begin with the same bytes, or if its pixels are compressed. Call it within
    `silence.quiet`. Raises ScanError "dicom-changed" if it is not what it was, "dicom-broken".
    """
    if header.pixels is not None and header.beginning is not None and is_native(header.transfer_syntax):
        beginning = stream.read(header.pixels.offset)
        if digest_of_beginning(beginning) == header.beginning:
            return Instance(stream, header, None)
        stream.seek(0)
    name = header.source.name
    try:
        parsed = elements.parse(stream, tags.READ)
        now = header_of(parsed, header.source)
    except ScanError as error:
        raise ScanError(f"{name}: {error.message}", code=error.code, hint=error.hint) from error
    if now.series_uid != header.series_uid or any(
        now.frames[frame.index : frame.index + 1] != (frame,) for frame in header.frames
    ):
        raise ScanError(
            f"{name} changed while it was being read.",
            code="dicom-changed",
            hint="Run again when it is at rest.",
        )
    table = [elements.raw(parsed.elements, tag) for tag in tags.EXTENDED_OFFSETS]
    offsets = (table[0], table[1]) if all(isinstance(part, bytes) for part in table) else None
    return Instance(parsed.stream, now, offsets)


def stored_frames(instance: Instance) -> Iterator[NDArray[np.generic]]:
    """The raw arrays [row, column] of all frames of a file, integers of the bits allocated.

    They are signed or unsigned as the header says, or signed where a JPEG 2000 codestream knows better. They may
    be read-only.

    Raises ScanError "dicom-truncated" or "dicom-decode" where a frame does not decode to exactly its size,
    "dicom-pixels" where its values contradict the high bit.
    """
    pixel_format = check_format(instance.header)
    native = is_native(instance.header.transfer_syntax)
    for frame in (_native_frames if native else _encapsulated_frames)(instance, pixel_format):
        if _lies_below_its_bits(frame, pixel_format):
            bits = pixel_format.bits_stored
            what = f"has high bit {pixel_format.high_bit} for {bits} bits stored, but values in the lowest {bits}"
            raise _refused(instance.header.source.name, what)
        yield frame


def _lies_below_its_bits(raw: NDArray[np.generic], pixel_format: PixelFormat) -> bool:
    """Whether all values fit into the lowest bits though the stored ones are said to be higher: one is wrong.

    What else is below the stored bits, such as overlays of old files, is not part of the value.
    """
    bits, below = pixel_format.bits_stored, pixel_format.high_bit + 1 - pixel_format.bits_stored
    if below == 0:
        return False
    values: NDArray[np.integer] = raw.astype(np.int64)
    lowest, highest = int(values.min()), int(values.max())
    unsigned = lowest >= 0 and highest < 1 << bits
    signed = pixel_format.signed and lowest >= -(1 << (bits - 1)) and highest < 1 << (bits - 1)
    return (unsigned or signed) and bool((values & ((1 << below) - 1)).any())


def is_native(transfer_syntax: str | None) -> bool:
    """Whether pixels in a transfer syntax are not compressed (None: a file that names none)."""
    return transfer_syntax is None or transfer_syntax in _NATIVE


def _native_frames(instance: Instance, pixel_format: PixelFormat) -> Iterator[NDArray[np.generic]]:
    header, stream = instance.header, instance.stream
    element, name, total = header.pixels, header.source.name, header.frame_count
    assert element is not None
    if element.length is None:
        raise _refused(
            name, "has compressed pixels but names an uncompressed transfer syntax", "dicom-decode"
        )
    kind = ("i" if pixel_format.signed else "u") + str(pixel_format.bits_allocated // 8)
    dtype = np.dtype(kind).newbyteorder(">" if element.big_endian else "<")
    shape = (pixel_format.rows, pixel_format.columns)
    size = shape[0] * shape[1] * dtype.itemsize
    swapped = element.big_endian and element.words and dtype.itemsize == 1
    expected = size * total
    expected += expected % 2 if swapped else 0
    available = min(element.length, stream.seek(0, os.SEEK_END) - element.offset)
    if available < expected:
        raise _refused(name, f"holds {available} bytes of pixels, expected {expected}", "dicom-truncated")
    stream.seek(element.offset + expected)
    if any(stream.read(min(element.length - expected, _MAX_TRAILING_BYTES))[1:]):
        raise _refused(name, f"holds {element.length} bytes of pixels, expected {expected}", "dicom-pixels")
    for number in range(total):
        read = _bytes_of_words if swapped else _bytes
        yield np.frombuffer(read(stream, element.offset, number * size, size), dtype).reshape(shape)


def _bytes(stream: IO[bytes], offset: int, start: int, count: int) -> bytes:
    """`count` bytes of pixels that begin at `offset` of a stream, from the one with the index `start` on."""
    stream.seek(offset + start)
    return stream.read(count)


def _bytes_of_words(stream: IO[bytes], offset: int, start: int, count: int) -> bytes:
    """As `_bytes`, of 8-bit pixels in 16-bit words of big endian: the first of each two is the lower byte."""
    first, last = start // 2, (start + count + 1) // 2
    words = np.frombuffer(_bytes(stream, offset, 2 * first, 2 * (last - first)), np.uint8).reshape(-1, 2)
    return words[:, ::-1].tobytes()[start % 2 :][:count]


def _encapsulated_frames(instance: Instance, pixel_format: PixelFormat) -> Iterator[NDArray[np.generic]]:
    header = instance.header
    element, name, total = header.pixels, header.source.name, header.frame_count
    assert element is not None
    if element.length is not None:
        raise _refused(name, "names a compressed transfer syntax but has uncompressed pixels", "dicom-decode")
    instance.stream.seek(element.offset)
    frames = generate_frames(
        instance.stream, number_of_frames=total, extended_offsets=instance.extended_offsets
    )
    count = 0
    try:
        for encoded in frames:
            if count == total:
                break
            yield _decode(encoded, header, pixel_format)
            count += 1
    except ScanError:
        raise
    except CodestreamError as error:
        what = f"has damaged pixels (frame {count + 1}): the codestream {error}"
        raise _refused(name, what, "dicom-decode") from error
    except Exception as error:
        # Codecs answer damaged streams with nearly any exception.
        raise _refused(name, f"has pixels that do not decode (frame {count + 1})", "dicom-decode") from error
    if count != total:
        raise _refused(name, f"holds {count} of {total} compressed frames", "dicom-truncated")


def _decode(encoded: bytes, header: Header, pixel_format: PixelFormat) -> NDArray[np.generic]:
    """One frame; CodestreamError, or what its decoder raises, where it is damaged."""
    syntax = header.transfer_syntax or ""
    check_whole(encoded, syntax)
    if not is_jpeg(syntax):
        return _decoded(encoded, syntax, pixel_format)
    array, printed = printed_by(lambda: _decoded(encoded, syntax, pixel_format))
    check_complaints(printed)
    return array


def _decoded(encoded: bytes, syntax: str, pixel_format: PixelFormat) -> NDArray[np.generic]:
    if syntax == _JPEG_EXTENDED and pixel_format.bits_stored > 8:
        return _decode_12_bit(encoded, pixel_format)
    array: NDArray[np.generic]
    array, _ = get_decoder(UID(syntax)).as_array(
        encapsulate([encoded]),
        index=0,
        raw=True,
        decoding_plugin=_PLUGINS[syntax],
        rows=pixel_format.rows,
        columns=pixel_format.columns,
        number_of_frames=1,
        samples_per_pixel=1,
        photometric_interpretation=pixel_format.photometric,
        pixel_representation=int(pixel_format.signed),
        bits_allocated=pixel_format.bits_allocated,
        bits_stored=pixel_format.bits_stored,
        correct_unused_bits=False,
        pixel_keyword="PixelData",
    )
    if array.shape != (pixel_format.rows, pixel_format.columns):
        raise ValueError("the decoded image has another size")
    if syntax in JPEG2000TransferSyntaxes and _is_signed_16(encoded) and not pixel_format.signed:
        # Some scanners mark signed pixels as unsigned: the codestream tells, and -1 is not 65535 HU.
        return array.view(np.int16)
    return array


def _is_signed_16(encoded: bytes) -> bool:
    parameters = get_j2k_parameters(encoded)
    return bool(parameters.get("is_signed")) and parameters.get("precision") == 16


def _decode_12_bit(encoded: bytes, pixel_format: PixelFormat) -> NDArray[np.generic]:
    """One frame of JPEG Extended with 12 bits, by GDCM itself."""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((pixel_format.columns, pixel_format.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(
        gdcm.PixelFormat(
            1, 16, pixel_format.bits_stored, pixel_format.bits_stored - 1, int(pixel_format.signed)
        )
    )
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")
    if len(decoded) != pixel_format.rows * pixel_format.columns * 2:
        raise ValueError("the decoded image has another size")
    dtype = np.dtype("<i2" if pixel_format.signed else "<u2")
    return np.frombuffer(decoded, dtype).reshape(pixel_format.rows, pixel_format.columns)
