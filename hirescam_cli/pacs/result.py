"""What a pull or a push came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from hirescam_cli.errors import ExitCode

SCHEMA_VERSION = 1
SeriesStatus = Literal["pulled", "already done", "left out", "failed"]
SentStatus = Literal["sent", "already done", "refused", "damaged"]


@dataclass(frozen=True)
class SeriesResult:
    """A series of a pull.

    `study_uid`, `series_uid`: hashes of them where identifiers are not told. `folder`: relative to the output, None
    where there is none. `counted`: instances that the archive has; `instances`: those received.
    """

    study_uid: str
    series_uid: str
    modality: str
    status: SeriesStatus
    counted: int
    instances: int = 0
    folder: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class PullResult:
    """All series of a pull."""

    output: str
    series: tuple[SeriesResult, ...]

    @property
    def exit_code(self) -> int:
        """0 if every series is there or left out, 8 if some are not, 65 if none is."""
        return _code([one.status == "failed" for one in self.series if one.status != "left out"])

    def document(self) -> dict[str, object]:
        """For --json."""
        series = [asdict(one) for one in self.series]
        return {
            "schema_version": SCHEMA_VERSION,
            "output": self.output,
            "series": series,
            "exit_code": self.exit_code,
        }


@dataclass(frozen=True)
class Sent:
    """An object of a push: the case's folder, the file in it, what became of it and why."""

    case: str
    path: str
    status: SentStatus
    message: str | None = None


@dataclass(frozen=True)
class PushResult:
    """All objects of a push. `passed_over`: folders of cases that failed or have no DICOM results."""

    objects: tuple[Sent, ...]
    passed_over: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if the archive has every object, 8 if it lacks some, 65 if all."""
        return _code([one.status in ("refused", "damaged") for one in self.objects])

    def document(self) -> dict[str, object]:
        """For --json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "objects": [asdict(one) for one in self.objects],
            "passed_over": list(self.passed_over),
            "exit_code": self.exit_code,
        }


def _code(failed: Sequence[bool]) -> int:
    if not any(failed):
        return ExitCode.OK
    return ExitCode.BAD_DATA if all(failed) else ExitCode.SOME_FAILED
