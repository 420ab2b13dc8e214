"""What discovery finds and readers are given: plain records that can travel between processes and machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hirescam_cli.choices import Prefer
from hirescam_cli.options import check, stated
from hirescam_cli.warning import Warning


@dataclass(frozen=True)
class InputPath:
    """One INPUT of the command line: a file or folder, and the case name given with `id=path` if any.

    `listed`: from a list, where a path that does not exist is one scan's failure and not the run's.
    """

    path: Path
    case: str | None = None
    listed: bool = False

    def why_unreachable(self) -> str | None:
        """Why there is nothing at the path, which completes a sentence that begins with it; None if there is."""
        try:
            self.path.stat()
        except FileNotFoundError:
            return "does not exist"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            return f"cannot be reached: {reason[0].lower()}{reason[1:]}"
        return None


@dataclass(frozen=True)
class ReadOptions:
    """How readers treat what a file leaves open.

    `series`: "all", "largest" or one SeriesInstanceUID. `prefer`: which of two disagreeing NIfTI transforms holds.
    `assume_affine`: accept a NIfTI without any coded transform (diagonal affine of its pixdim).
    `allow_gaps`: interpolate missing DICOM slices. `max_voxels`: refuse larger volumes before memory is taken.
    `least_axis`: voxels that each axis needs; a mask may be one slice.
    Raises UsageError for a `series` or `prefer` that is not known.
    """

    series: str = stated("series")
    prefer: Prefer | None = stated("prefer")
    assume_affine: bool = stated("assume-affine")
    allow_gaps: bool = stated("allow-gaps")
    max_voxels: int = stated("max-voxels")
    least_axis: int = 2

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Scan:
    """A scan that was found and not yet read.

    `case`: relative POSIX path of its case folder below the output folder (never from a tag but the series UID).
    `name`: how messages call it, relative to the INPUT it was found under; never an absolute path.
    `kind`: which reader opens it (see `Provenance.kind`). `files`: its files, or the one archive that holds it.
    `series_uid`: DICOM SeriesInstanceUID if it is valid and may be told, else None.
    `volume`: which one this is where its files hold several (phases in an enhanced DICOM file), in a stable order.
    `selector`: what else its reader needs to find it again (archive members, phase, ...): picklable, without file
    contents.
    `root`: the INPUT it was found under. `warnings`: what finding it brought up, as in `Provenance`.
    """

    kind: str
    case: str
    name: str
    files: tuple[Path, ...]
    root: Path
    series_uid: str | None = None
    volume: int = 0
    selector: Any = None
    warnings: tuple[Warning, ...] = ()


@dataclass(frozen=True)
class Ignored:
    """An object that is not a scan to explain, and why: `name` as in `Scan`, `code` a slug, `reason` one sentence.

    `path`: the file, or the archive that holds the object; None for what is not a file of its own.
    `hint`: what to do about this very object, where there is more to say than of any that is damaged.
    """

    name: str
    code: str
    reason: str
    path: Path | None = field(default=None, compare=False, repr=False)
    hint: str | None = None

    @property
    def is_image(self) -> bool:
        """Whether this is an image at all, though not one to explain: the difference between bad data and no input."""
        return self.code not in _NO_IMAGE


@dataclass(frozen=True)
class Discovery:
    """Everything found under the INPUTs, in a stable order (by case)."""

    scans: tuple[Scan, ...] = ()
    ignored: tuple[Ignored, ...] = field(default=())


_NO_IMAGE = frozenset(
    (
        "apple-double", "hidden", "hirescam-output", "not-an-image", "not-dicom", "not-radchest", "seen-before",
        "special-file", "unreadable-folder",
    )
)  # fmt: skip
