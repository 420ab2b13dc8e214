"""One scan in two splits under other names, told by its bytes: what is compared is little where nothing is alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain

from hirescam_cli.durable import read_back
from hirescam_cli.errors import UsageError
from hirescam_cli.train.table import Row

_PIECE = 65536


def check_content(rows: Sequence[Row]) -> None:
    """Raises UsageError where files of two splits are the same byte by byte; folders are not looked at.

    Only files of one size are read at all: a piece of the middle, and the rest of those in which it is the same.
    """
    alike: Iterable[Sequence[Row]] = [rows]
    for look in (_size, _middle, _sha256):
        alike = list(chain.from_iterable(_alike(some, look) for some in alike))
    for some in alike:
        first = some[0]
        other = next(row for row in some if row.split != first.split)
        both = " and ".join(f"{one.id} ({one.split}, line {one.line})" for one in (first, other))
        raise UsageError(
            f"{both} are the same scan: {first.path.name} and {other.path.name} hold the same bytes.",
            hint="Leave it in one split: a network is not tested by a scan that it has seen.",
            code="table-scans",
        )


def _alike(rows: Sequence[Row], look: Callable[[Row], Hashable]) -> list[list[Row]]:
    """The rows of more than one split for which `look` finds the same; what cannot be read is like nothing."""
    found: dict[Hashable, list[Row]] = {}
    for row in rows:
        try:
            key = look(row)
        except OSError:
            # Said when the scan is read.
            continue
        found.setdefault(key, []).append(row)
    return [some for key, some in found.items() if key is not None and len({row.split for row in some}) > 1]


def _size(row: Row) -> int | None:
    return row.path.stat().st_size if row.path.is_file() else None


def _middle(row: Row) -> bytes:
    """Hash of a piece where a scan is, rather than air or a header."""
    with row.path.open("rb") as file:
        file.seek(max(0, (row.path.stat().st_size - _PIECE) // 2))
        return hashlib.sha256(file.read(_PIECE)).digest()


def _sha256(row: Row) -> str:
    return read_back(row.path).sha256
