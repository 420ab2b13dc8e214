"""The fingerprint of an input: a SHA-256 of its bytes, whatever their names, order and packaging."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_CHUNK = 1 << 20


def digest_of_stream(stream: IO[bytes]) -> str:
    """Hex SHA-256 of all that is left in a binary stream, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    while piece := stream.read(_CHUNK):
        digest.update(piece)
    return digest.hexdigest()


def digest_of_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes. Raises OSError."""
    with path.open("rb") as stream:
        return digest_of_stream(stream)


def combine(digests: Iterable[str]) -> str:
    """Fingerprint of an input made of files with these hex digests.

    One file: its own digest. Several: the SHA-256 of the sorted digests joined by newlines, so that a folder,
    a renamed copy of it and a zip of it have the same fingerprint.
    """
    ordered = sorted(digests)
    if len(ordered) == 1:
        return ordered[0]
    return hashlib.sha256("\n".join(ordered).encode("ascii")).hexdigest()


def fingerprint(files: Iterable[Path]) -> str:
    """Fingerprint of an input made of these files. Raises OSError."""
    return combine(digest_of_file(path) for path in files)
