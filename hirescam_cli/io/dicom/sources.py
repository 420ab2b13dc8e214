"""Where a DICOM file's bytes come from: a file, or an entry of a zip archive that is never unpacked."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from hirescam_cli.errors import ScanError

MAX_ENTRIES = 200_000
MAX_ENTRY_BYTES = 4 << 30
MAX_TOTAL_BYTES = 64 << 30
MAX_RATIO = 200
# Below this size an entry may be compressed as well as it likes: a blank image in a small file is not a bomb.
RATIO_FREE_BYTES = 16 << 20

# Of other methods (bzip2, LZMA) the library inflates a whole entry at once, however large it turns out to be.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_PIECE_BYTES = 1 << 20
_IN_MEMORY_BYTES = 16 << 20
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)


@dataclass(frozen=True)
class Source:
    """One DICOM file: `path`, or an entry of the zip archive at `path`: the one at position `entry` of its directory,
    since two entries may have one name.

    `name`: how messages call it, a POSIX path relative to the INPUT's folder; a zip counts as a folder named
    by its stem. `archive`: the archive's own such name.
    """

    path: Path
    name: str
    entry: int | None = None
    archive: str | None = None

    @property
    def folder(self) -> PurePosixPath:
        """The folder, relative to the INPUT's, in which it lies."""
        return PurePosixPath(self.name).parent


def is_zip(path: Path) -> bool:
    """Whether a file begins like a zip archive (whatever it is called). False where it cannot be opened."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) in _ZIP_MAGIC
    except OSError:
        return False


def zip_sources(path: Path, folder: PurePosixPath) -> list[Source]:
    """The entries of a zip archive that lies in `folder`, in their order by name.

    Raises ScanError "zip-broken" (no archive, or damaged), "zip-encrypted", "zip-method" (not stored or deflated)
    and "zip-too-large" (more than MAX_ENTRIES entries, an entry or all of them larger than the limits, or a
    compression ratio that only a zip bomb has).
    """
    label = str(folder / path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            numbered = [(n, info) for n, info in enumerate(archive.infolist()) if not info.is_dir()]
    except _ZIP_ERRORS as error:
        raise ScanError(
            f"{label} is not a readable zip archive.", code="zip-broken", hint="Make the archive anew."
        ) from error
    _check_readable(label, [info for _, info in numbered])
    _check_limits(label, [info for _, info in numbered])
    stem = folder / path.stem
    sources = []
    for number, info in sorted(numbered, key=lambda pair: (pair[1].filename, pair[0])):
        parts = [_clean(part) for part in info.filename.replace("\\", "/").split("/")]
        parts = [part for part in parts if part not in ("", ".", "..")]
        if parts:
            sources.append(Source(path, str(stem.joinpath(*parts)), number, label))
    return sources


def _clean(part: str) -> str:
    """A path component of an archive without control characters and drive letters."""
    return "".join(c for c in part if c.isprintable() and c not in ':*?"<>|')


def _check_readable(label: str, infos: list[zipfile.ZipInfo]) -> None:
    if any(info.flag_bits & _ENCRYPTED for info in infos):
        raise ScanError(
            f"{label} is encrypted and cannot be read without its password.",
            code="zip-encrypted",
            hint="Unpack it and give the folder.",
        )
    if any(info.compress_type not in _METHODS for info in infos):
        raise ScanError(
            f"{label} is compressed by a method other than deflate, the only one for DICOM (PS3.12).",
            code="zip-method",
            hint="Unpack it and give the folder.",
        )


def _check_limits(label: str, infos: list[zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in infos)
    reason = None
    if len(infos) > MAX_ENTRIES:
        reason = f"{len(infos)} entries, at most {MAX_ENTRIES} are read"
    elif total > MAX_TOTAL_BYTES:
        reason = f"{total} bytes when unpacked, at most {MAX_TOTAL_BYTES} are read"
    for info in infos:
        if info.file_size > MAX_ENTRY_BYTES:
            reason = f"an entry of {info.file_size} bytes, at most {MAX_ENTRY_BYTES} are read"
        elif info.file_size > RATIO_FREE_BYTES and info.file_size > MAX_RATIO * max(info.compress_size, 1):
            reason = f"an entry compressed more than {MAX_RATIO} times, as in a zip bomb"
    if reason is not None:
        raise ScanError(f"{label} has {reason}.", code="zip-too-large", hint="Unpack it and give the folder.")


class SourceReader:
    """Opens sources and keeps the archive they lie in open between them. A context manager."""

    def __init__(self) -> None:
        self._archive: zipfile.ZipFile | None = None
        self._path: Path | None = None

    def __enter__(self) -> SourceReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive that is open, if any."""
        if self._archive is not None:
            self._archive.close()
        self._archive = self._path = None

    def read(self, source: Source, limit: int | None = None) -> bytes:
        """The bytes of a source, or the first `limit` of them. Raises ScanError "unreadable-file"."""
        with self.opened(source) as stream:
            try:
                if source.entry is None:
                    return stream.read(-1 if limit is None else limit)
                return _in_pieces(stream, limit)
            except (*_ZIP_ERRORS, MemoryError) as error:
                raise _unreadable(source) from error

    @contextmanager
    def seekable(self, source: Source) -> Iterator[IO[bytes]]:
        """A seekable stream over a source: in memory where it is small or archived, else the file itself."""
        if source.entry is None and _size(source) > _IN_MEMORY_BYTES:
            with self.opened(source) as stream:
                yield stream
        else:
            yield io.BytesIO(self.read(source))

    @contextmanager
    def opened(self, source: Source) -> Iterator[IO[bytes]]:
        """A binary stream over a source. Raises ScanError "unreadable-file" where it cannot be opened."""
        try:
            stream = source.path.open("rb") if source.entry is None else self._entry(source)
        except (*_ZIP_ERRORS, LookupError) as error:
            raise _unreadable(source) from error
        with stream:
            yield stream

    def _entry(self, source: Source) -> IO[bytes]:
        if self._path != source.path:
            self.close()
            self._archive, self._path = zipfile.ZipFile(source.path), source.path
        assert self._archive is not None
        return self._archive.open(self._archive.infolist()[cast(int, source.entry)])


def _in_pieces(stream: IO[bytes], limit: int | None) -> bytes:
    """What an entry holds, at most `limit` bytes of it, inflated piece by piece: its declared size is not believed."""
    wanted = MAX_ENTRY_BYTES if limit is None else limit
    pieces = []
    while wanted > 0 and (piece := stream.read(min(wanted, _PIECE_BYTES))):
        pieces.append(piece)
        wanted -= len(piece)
    if limit is None and stream.read(1):
        raise ValueError("larger than an entry may be")
    return b"".join(pieces)


def _size(source: Source) -> int:
    try:
        return source.path.stat().st_size
    except OSError as error:
        raise _unreadable(source) from error


def _unreadable(source: Source) -> ScanError:
    return ScanError(
        f"{source.name} cannot be read from the disk or archive that holds it.",
        code="unreadable-file",
        hint="Check the medium, the permissions and, for a zip, whether it is damaged or encrypted.",
    )
