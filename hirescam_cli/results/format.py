"""What a result format is: it writes files of a case and says what they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.case.record import Role
from hirescam_cli.case.view import CaseView
from hirescam_cli.choices import Grid
from hirescam_cli.durable import Written
from hirescam_cli.volume import Volume


@dataclass(frozen=True)
class Style:
    """How maps are shown. `placement`: None takes the case's own. `compress`: gzip level 0 to 3.

    `grid`: of overlays and Parametric Maps; None takes the scan's for those and the cells' own for these.
    `signed`: pictures show negative evidence too. `smooth` False: the cells as they are. `seg_fraction`: share of its
    maximum from which a map counts as segmented.
    """

    grid: Grid | None = None
    placement: str | None = None
    compress: int = 1
    signed: bool = False
    smooth: bool = True
    seg_fraction: float = 0.5


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be written into `folder`.

    `view`: the case with the maps of the methods that are wanted; `whole`: with all that it has. `labels`: those that
    are wanted, most probable first. The case in them has no outputs yet.
    """

    folder: Path
    view: CaseView
    whole: CaseView
    labels: Sequence[str]
    style: Style

    @property
    def placement(self) -> str:
        """Where cells lie."""
        return self.style.placement or self.view.placement

    @property
    def suffix(self) -> str:
        """What a file's name says of the placement, where it is another than the case's own."""
        return "" if self.placement == self.view.placement else f".{self.placement}"

    def stem(self, method: str, label: str) -> str:
        """How files of a map begin; another placement than the case's own is part of it."""
        return f"{method}.{self.view.label(label).slug}{self.suffix}"


@dataclass(frozen=True)
class Made:
    """A file that was written: `path` relative to the folder, and what it shows (None: not one of them alone).

    `written`: its hash and size, where it was read back already.
    """

    path: str
    role: Role
    method: str | None = None
    label: str | None = None
    placement: str | None = None
    grid: Grid | None = None
    written: Written | None = None


@dataclass(frozen=True)
class ResultFormat:
    """`name`: in --format; `title`: for people; `needs`: modules that `write` imports beyond hirescam's own needs.

    `write(request)`: writes the files and returns what it made. Raises OutputCreateError or OutputIOError.
    `extra`: the extra of hirescam-cli that brings what it needs.
    `check(volume)`: raises ScanError for a scan of which it cannot be written, before any network runs; a format that
    needs the DICOM series of the scan is `dicom`. `grid`: the one that it takes if none is asked for, of a format that
    heeds the grid.
    """

    name: str
    title: str
    write: Callable[[Request], list[Made]]
    needs: tuple[str, ...] = ()
    extra: str | None = None
    check: Callable[[Volume], object] | None = None
    dicom: bool = False
    grid: Grid | None = None
