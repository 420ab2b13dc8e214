"""What a text header (NRRD, MetaImage) promises, checked before anything in it is believed.

Formats: https://teem.sourceforge.net/nrrd/format.html and https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hirescam_cli.errors import ScanError
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.types import DType
from hirescam_cli.warning import Warning

LONGEST_HEADER = 1 << 20
MOST_LINES = 10_000

Encoding = Literal["raw", "gzip", "zlib"]


@dataclass(frozen=True, eq=False)
class TextHeader:
    """A header's promise: `shape` [3] voxels of `dtype`, encoded from byte `offset` of the last of `files` on.

    `files`: header and data file, one where the voxels are in the header's file. `skip`: bytes before the voxels once
    they are decompressed.
    """

    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    dtype: DType
    encoding: Encoding
    offset: int
    affine_ras: Affine
    warnings: tuple[Warning, ...] = ()
    skip: int = 0

    @property
    def data_bytes(self) -> int:
        """Bytes of the voxels when decompressed."""
        return math.prod(self.shape) * self.dtype.itemsize


def with_data(path: Path, data_file: Callable[[bytes], str | None], *, detached: str) -> tuple[Path, ...]:
    """The header, and the file of voxels beside it if its name ends in `detached` and `data_file` finds one in it."""
    if not path.name.lower().endswith(detached):
        return (path,)
    try:
        name = data_file(head_of(path, path.name))
    except ScanError:
        return (path,)
    beside_it = name is not None and is_plain_name(name) and (path.parent / name).is_file()
    return (path, path.parent / str(name)) if beside_it else (path,)


def head_of(path: Path, name: str) -> bytes:
    """The first bytes of a file, enough for its header."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_HEADER)
    except OSError as error:
        raise unreadable(name, error) from error


def unreadable(name: str, error: OSError) -> ScanError:
    """The error of a file that cannot be opened or read."""
    return ScanError(
        f"{name} cannot be read: {error.strerror}.",
        hint="Check the file and its permissions.",
        code="unreadable-file",
    )


def text_of(line: bytes, name: str) -> str:
    """A line of a header. Raises ScanError where it holds control characters, which no two readers treat alike."""
    text = line.decode("utf-8", "replace")
    if any(ord(character) < 32 and character != "\t" for character in text):
        raise damaged(name, "a line of the header holds control characters")
    return text


def is_plain_name(name: str) -> bool:
    """Whether a data file's name is one in the same folder."""
    return bool(name) and name not in (".", "..") and not set(name) & set("/\\\0")


def beside(path: Path, data: str, name: str) -> Path:
    """The data file named `data` next to the header at `path`; ScanError if it is elsewhere or missing."""
    if not is_plain_name(data) or not (path.parent / data).is_file():
        raise ScanError(
            f"{name} points to a file of voxels that does not lie beside it.",
            hint="Put the data file into the header's folder and name it in the header without a folder.",
            code="no-data-file",
        )
    return path.parent / data


def damaged(name: str, what: str, hint: str = "Get an intact copy of the file.") -> ScanError:
    """The error of a header that says something impossible."""
    return ScanError(f"{name}: {what}.", hint=hint, code="header-damaged")


def contradiction(name: str, what: str) -> ScanError:
    """The error of a header whose fields say different things, so that readers choose among them."""
    return damaged(name, what, "Find out which is right, and write the file again with that alone.")


def end_of(path: Path, name: str) -> int:
    """The size of a file of voxels."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(name, error) from error


def shown(text: str, vocabulary: Collection[str]) -> str:
    """A header's word for a message: only if it is one of the format's own, for headers hold free text too."""
    return text if text in vocabulary else "missing" if not text else "not one of the format's"


def numbers(text: str, count: int, what: str, name: str) -> list[float]:
    """`count` finite numbers of a header field."""
    try:
        values = [float(part) for part in text.split()]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise damaged(name, f"{what} is not {count} finite numbers")
    return values


def sizes(text: str, what: str, name: str) -> list[int]:
    """The sizes of all axes of a header field."""
    parts = text.split()
    if not parts or not all(part.isdecimal() and len(part) < 12 and int(part) > 0 for part in parts):
        raise damaged(name, f"{what} is not a list of positive sizes")
    return [int(part) for part in parts]


def three(shape: Sequence[int], name: str) -> tuple[int, int, int]:
    """`shape` as that of one scalar 3-D volume. Raises ScanError for any other number of axes."""
    if len(shape) != 3:
        raise ScanError(
            f"{name} has {len(shape)} axes ({'x'.join(map(str, shape))}), expected one 3-D volume.",
            hint="Give each volume as a file of its own; vectors and colours are not CT.",
            code="several-volumes" if len(shape) > 3 else "not-3d",
        )
    return (shape[0], shape[1], shape[2])


def unusable_type(name: str, what: str) -> ScanError:
    """The error of voxels that are not single numbers."""
    return ScanError(
        f"{name}: {what}, expected one integer or floating-point number a voxel.",
        hint="Give the scan in HU, not a picture or a derived map.",
        code="voxel-type",
    )
