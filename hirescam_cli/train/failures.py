"""Scans that could not be used, how many of them a run bears, and a loss that is no number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hirescam_cli.errors import ExitCode, HirescamError, MaskError, ScanError
from hirescam_cli.train.events import Event, Listener
from hirescam_cli.train.table import Row


class NotFiniteError(HirescamError):
    """The loss or its gradient is not a finite number: the weights would be lost (exit 65)."""

    exit_code = ExitCode.BAD_DATA
    default_code = "loss-not-finite"
    default_stage = "train"


class Failures:
    """Those of this process; `limit`: how many end the run."""

    def __init__(self, known: dict[str, str], limit: int, listener: Listener) -> None:
        self.found = dict(known)
        self._limit, self._listener = limit, listener
        self._last: HirescamError | None = None
        self._new = 0

    def add(self, row: Row, error: HirescamError) -> None:
        """Note a scan that failed. Raises the error itself where it concerns more than that scan."""
        if not isinstance(error, ScanError | MaskError):
            raise error
        self._last = error
        if row.id not in self.found:
            self._new += 1
            self.found[row.id] = error.message
            text = f"{row.id} is left out ({error.code}): {error.message}"
            self._listener(Event("scan-failed", text, {"id": row.id, "code": error.code}))

    def take_new(self) -> int:
        """How many were new since the last call."""
        count, self._new = self._new, 0
        return count

    def check(self, total: int) -> None:
        """Raise ScanError where `total` of all processes are too many."""
        if total < self._limit:
            return
        which = self._last.message if self._last else "Another process could not use a scan."
        raise ScanError(
            f"{total} of the table's scans could not be used, as many as --max-failures allows. {which}",
            hint="Repair them or take them out of the table, or raise --max-failures; the same command goes on.",
            code="max-failures",
        )


def none_usable(name: str, failed: Mapping[str, str], rows: Sequence[Row]) -> ScanError:
    """The end of a run that can use none of its "training" or "validation" scans; `failed`: why, by id."""
    why = [failed[row.id] for row in rows if row.id in failed]
    told = f" {len(why)} of {len(rows)} failed, the first because: {why[0]}" if why else ""
    return ScanError(
        f"No {name} scan with a known label could be used.{told}",
        hint="Repair them or take them out of the table; the same command goes on.",
        code=f"no-{name}-scans",
        stage="train",
    )
