"""The registry's entry for RAD-ChestCT: `.npz` files with the key `ct`."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from hirescam_cli.io.input_format import Head, InputFormat, LeftOut
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.volume import Volume

_ENTRY = "ct.npy"
_MAGIC = b"PK\x03\x04"
_NAME_AT, _NAME_LENGTH_AT = 30, 26
_DIRECTORY_END = b"PK\x05\x06"
_LONGEST_END = 22 + 0xFFFF
_LONGEST_DIRECTORY = 1 << 20


def sniff(head: Head) -> bool:
    """Whether a file is an archive of NumPy arrays: all entries where it can be opened, else its ending tells."""
    if head.start[:4] != _MAGIC or not (_first_name(head.start).endswith(".npy") or _is_named(head.path)):
        return False
    names = _names(head.path)
    if names is None:
        return _is_named(head.path)
    return _ENTRY in names or (bool(names) and all(name.endswith(".npy") for name in names))


def left_out(files: tuple[Path, ...]) -> LeftOut | None:
    """Archives of other arrays."""
    names = _names(files[0])
    if names is None or _ENTRY in names:
        return None
    return LeftOut("not-radchest", "holds no array named ct, as RAD-ChestCT's files do")


def read(scan: Scan, options: ReadOptions) -> Volume:
    """The scan's volume."""
    from hirescam_cli.io.radchest import read_radchest

    return read_radchest(scan, options)


def _is_named(path: Path) -> bool:
    return path.name.lower().endswith(".npz")


def _first_name(start: bytes) -> str:
    """The name of an archive's first entry."""
    length = int.from_bytes(start[_NAME_LENGTH_AT : _NAME_LENGTH_AT + 2], "little")
    return start[_NAME_AT : _NAME_AT + length].decode("utf-8", "replace")


def _names(path: Path) -> set[str] | None:
    """The names of an archive's entries; None where it is damaged or has more than a file of arrays has."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_END))
            end = file.read(_LONGEST_END)
            place = end.rfind(_DIRECTORY_END)
            if place < 0 or int.from_bytes(end[place + 12 : place + 16], "little") > _LONGEST_DIRECTORY:
                return None
            with zipfile.ZipFile(file) as archive:
                return set(archive.namelist())
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return None


FORMAT = InputFormat(
    kind="radchest-npz",
    title="RAD-ChestCT .npz",
    endings=(".npz",),
    sniff=sniff,
    read=read,
    left_out=left_out,
)
