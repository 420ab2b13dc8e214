"""The scans that finished cases were made from, found again by their content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

from hirescam_cli.case.reload import FinishedCase
from hirescam_cli.choices import Prefer
from hirescam_cli.errors import HirescamError, ScanError
from hirescam_cli.io import InputPath, ReadOptions, Scan, discover, read
from hirescam_cli.io.dicom import fingerprint_of
from hirescam_cli.io.fingerprint import fingerprint
from hirescam_cli.volume import Volume

_Key = tuple[str, int]


class ScanLibrary:
    """The scans below some INPUTs, by the fingerprint of their bytes and the number of the volume in them.

    Each is looked at once and only when no scan seen before is the wanted one; one that cannot be read is
    passed over, since it may be of no interest.
    """

    def __init__(self, inputs: Sequence[InputPath], options: ReadOptions) -> None:
        self._inputs, self._options = inputs, options
        self._known: dict[_Key, Scan] = {}
        self._searches: dict[str, Iterator[Scan]] = {}

    def volume_of(self, case: FinishedCase) -> Volume:
        """Read the scan that `case` was explained from, as it was then.

        ScanError if it is not among the INPUTs, or can no longer be read.
        """
        source = case.case.input
        wanted = (source.fingerprint, source.volume)
        options = self._options_of(case)
        for series in dict.fromkeys(("all", source.series_uid or "all")):
            found = self._find(wanted, series)
            if found is not None:
                return read(found, options)
        raise ScanError(
            f"The scan of the case {case.name} is not among the inputs given.",
            hint="Name its file or folder with --scan; it is recognised by its content.",
            code="scan-missing",
            stage="render",
        )

    def _options_of(self, case: FinishedCase) -> ReadOptions:
        """What the case was read with decides how its scan is read again."""
        told = case.case.run.settings
        prefer: Prefer | None = next((word for word in get_args(Prefer) if told.get("prefer") == word), None)
        return replace(
            self._options,
            prefer=prefer,
            assume_affine=bool(told.get("assume-affine")),
            allow_gaps=bool(told.get("allow-gaps")),
        )

    def _find(self, wanted: _Key, series: str) -> Scan | None:
        """Among the scans that `series` asks for: a series by its UID may be one that is left out otherwise."""
        if series not in self._searches:
            scans = discover(self._inputs, replace(self._options, series=series)).scans
            self._searches[series] = iter(scans)
        while wanted not in self._known:
            scan = next(self._searches[series], None)
            if scan is None:
                return None
            try:
                # Of DICOM the objects count, wherever they lie; of other formats the files.
                found = fingerprint_of(scan) if scan.kind.startswith("dicom") else fingerprint(scan.files)
            except (OSError, HirescamError):
                continue
            self._known.setdefault((found, scan.volume), scan)
        return self._known[wanted]
