"""Finding the scans under the INPUTs: by content, in a stable order, with a reason for what is left out.

Only headers and the first voxels are read here. What may be a mask is looked at further in another process, whose
time is limited.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from hirescam_cli.errors import NoInputError
from hirescam_cli.identifiers import Identifiers
from hirescam_cli.io.formats import dicom, format_of, is_mask, promised_format, split_ending
from hirescam_cli.io.input_format import InputFormat, LeftOut
from hirescam_cli.io.isolated import Isolated
from hirescam_cli.io.labelmaps import MASK, at_first_sight
from hirescam_cli.io.names import check_case, given_name, own_name, printable, relative_name
from hirescam_cli.io.scan import Discovery, Ignored, InputPath, ReadOptions, Scan
from hirescam_cli.io.walk import walk
from hirescam_cli.options import BY_NAME
from hirescam_cli.warning import Warning

_UNUSABLE_ARCHIVES = ("zip-broken", "zip-encrypted", "zip-method", "zip-too-large")
_NUMBER = re.compile(r"\d+")
_NOT_RECOGNISED = ("not-an-image", "not-dicom")
_MAY_BE_A_SLICE = ("dicom-broken", "unreadable-file", "dicom-too-large")


def discover(
    inputs: Sequence[InputPath],
    options: ReadOptions,
    identifiers: Identifiers = "uids",
    output: Path | None = None,
) -> Discovery:
    """Every scan under the INPUTs, by case, and everything else with the reason why it is left out.

    A folder is searched recursively. A file given by itself that is not an image becomes a scan of the kind
    "unknown", which fails when it is read. With the `identifiers` "uids" several series of one folder are
    told apart by their UID, with "none" by a hash of it. `output`: the output folder of a run, not searched where it
    lies below an INPUT and holds results. Raises NoInputError for a path that is not there, UsageError for a bad `id=`.
    """
    BY_NAME["identifiers"].check(identifiers)
    scans: list[Scan] = []
    ignored: list[Ignored] = []
    with Isolated() as isolated:
        for given in inputs:
            found = _Input(given, options, identifiers, isolated, output).search()
            scans += found.scans
            ignored += found.ignored
    return Discovery(
        tuple(sorted(scans, key=lambda scan: (scan.case, scan.name))),
        tuple(sorted(ignored, key=lambda item: (item.name, item.code))),
    )


@dataclass
class _Found:
    """What one INPUT holds, with the files that still have to be sorted in."""

    scans: list[Scan] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    dicom: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Neighbour:
    """What was left out and may be a slice: its name and folder, the case that it would be, its name's pattern.

    `certain`: it is one by its name, size or damage, whatever the slices beside it are called.
    """

    name: str
    folder: str
    case: str | None
    pattern: str
    certain: bool

    def belongs_to(self, folders: frozenset[str], case: str) -> bool:
        """Whether it lies in one of the `folders` of a DICOM scan, or within its `case`."""
        return self.folder in folders or (self.case is not None and f"{self.case}/".startswith(f"{case}/"))


class _Input:
    """The search of one INPUT."""

    def __init__(
        self,
        given: InputPath,
        options: ReadOptions,
        identifiers: Identifiers,
        isolated: Isolated,
        output: Path | None,
    ) -> None:
        self.given, self.root = given, given.path
        self.prefix = check_case(given.case) if given.case is not None else None
        self.options = options
        self.identifiers = identifiers
        self.isolated = isolated
        self.output = output
        self.found = _Found()

    def search(self) -> _Found:
        unreachable = self.given.why_unreachable()
        if unreachable and self.given.listed:
            reason = f"{given_name(self.root)} is in the list but {unreachable}."
            name = relative_name(self.root, self.root)
            self.refuse(self.root, self.case(self.root), name, ("no-such-path", reason, None))
            return self.found
        if unreachable:
            raise NoInputError(
                f"{given_name(self.root)} {unreachable}.", hint="Check the path.", code="no-such-path"
            )
        if self.root.is_dir():
            self.folder()
        else:
            self.file()
        self.damaged_alone()
        return self.found

    def file(self) -> None:
        try:
            entry = _format_of(self.root)
        except OSError:
            entry = None
        if entry is not None and entry.grouped:
            self.found.dicom.append(self.root)
            self.series()
        else:
            self.add(entry, self.root)

    def folder(self) -> None:
        visited = walk(self.root, self.output)
        self.found.ignored += visited.ignored
        known = set(visited.files)
        parts = {part for path in visited.files for part in _parts_of(path) if part in known}
        for path in visited.files:
            if path not in parts:
                self.sort_in(path)
        if self.found.dicom:
            self.series()

    def sort_in(self, path: Path) -> None:
        """Decide what one file of a folder is."""
        try:
            entry = _format_of(path)
            reason = entry and self.left_out_by(entry, entry.files(path))
        except OSError as error:
            self.leave_out(path, "unreadable-file", f"cannot be read: {error.strerror}")
            return
        if entry is None:
            self.leave_out(path, "not-an-image", "is not an image of a kind that hirescam reads")
        elif reason:
            self.leave_out(path, reason.code, reason.reason)
        elif entry.grouped:
            self.found.dicom.append(path)
        else:
            self.add(entry, path)

    def left_out_by(self, entry: InputFormat, files: tuple[Path, ...]) -> LeftOut | None:
        """Why the format leaves a scan out: what its header says, or that it is a mask."""
        reason, values = entry.left_out(files), entry.values
        if reason is not None or values is None:
            return reason
        mask = at_first_sight(lambda: values(files))
        if mask is None:
            mask = self.isolated(is_mask, (entry.kind, files), False)
        return MASK if mask else None

    def leave_out(self, path: Path, code: str, reason: str) -> None:
        name = relative_name(path, self.root)
        self.found.ignored.append(Ignored(name, code, f"{name} {reason}.", path))

    def add(self, entry: InputFormat | None, path: Path) -> None:
        """Add the scan of a file; without a format, one that fails when it is read."""
        kind, files = ("unknown", (path,)) if entry is None else (entry.kind, entry.files(path))
        self.found.scans.append(Scan(kind, self.case(path), relative_name(path, self.root), files, self.root))

    def series(self) -> None:
        """Group the DICOM files and archives that were found."""
        from hirescam_cli.io.dicom import find_series

        scans, ignored = find_series(
            self.root, self.found.dicom, self.options, identifiers=self.identifiers, isolated=self.isolated
        )
        damaged = self.damaged_slices(ignored)
        self.found.ignored += ignored
        self.found.scans += [
            replace(
                scan,
                case=self.series_case(scan),
                warnings=(*scan.warnings, *self.neighbours(scan, damaged)),
            )
            for scan in scans
        ]

    def damaged_alone(self) -> None:
        """Damaged images that are not beside a series become scans that fail, so that nobody misses them."""
        objects = frozenset(self.found.dicom)
        series = [
            (self.folders_of(scan), scan.case) for scan in self.found.scans if scan.kind.startswith("dicom")
        ]
        for item in list(self.found.ignored):
            recognised = item.code == "not-an-image" and item.path in objects
            if item.path is None or recognised or not _is_a_damaged_image(item):
                continue
            near = self.neighbour(item)
            if not any(near.belongs_to(folders, case) for folders, case in series):
                self.found.ignored.remove(item)
                name = printable(item.name)
                self.refuse(item.path, self.case_of(item), name, (item.code, item.reason, item.hint))

    def refuse(self, path: Path, case: str, name: str, why: tuple[str, str, str | None]) -> None:
        """Add a scan that fails when it is read, with this code, reason and hint."""
        self.found.scans.append(Scan("refused", case, name, (path,), self.root, selector=why))

    def case_of(self, item: Ignored) -> str:
        """Case name of what was left out: that of its file, or what the entry of an archive would be called."""
        assert item.path is not None
        if self.is_entry(item):
            return self.below_id(printable(split_ending(item.name)[0]), (item.path,))
        return self.case(item.path)

    def is_entry(self, item: Ignored) -> bool:
        """Whether what was left out is an entry of an archive."""
        return item.path is not None and printable(item.name) != relative_name(item.path, self.root)

    def damaged_slices(self, dicom_objects: list[Ignored]) -> list[_Neighbour]:
        """What may be slices of a series beside them: those that could not be read, and what was not recognised.

        `dicom_objects`: what DICOM itself says is left out; an object that tells its class is not a slice.
        """
        unrecognised = [item for item in self.found.ignored if item.code in _NOT_RECOGNISED]
        damaged = [
            item
            for item in (*self.found.ignored, *dicom_objects)
            if item.code in (*_MAY_BE_A_SLICE, "not-dicom")
        ]
        return [self.neighbour(item) for item in (*unrecognised, *damaged)]

    def neighbour(self, item: Ignored) -> _Neighbour:
        """What was left out, as it may be a slice."""
        path = PurePosixPath(item.name)
        case = None if item.path is None else self.case_of(item)
        certain = item.code in _MAY_BE_A_SLICE or _may_be_a_slice(item)
        return _Neighbour(path.name, str(path.parent), case, _pattern(item.name), certain)

    def folders_of(self, scan: Scan) -> frozenset[str]:
        """The folders, relative to the INPUT's, in which a DICOM scan's objects and its archive lie."""
        base = self.root if self.root.is_dir() else self.root.parent
        archives = {path.parent.relative_to(base).as_posix() for path in scan.files}
        return frozenset(archives | {str(header.source.folder) for header in scan.selector})

    def neighbours(self, scan: Scan, damaged: list[_Neighbour]) -> tuple[Warning, ...]:
        """The warning that files beside a series are missing from it, since a slice at its end is missed by no gap."""
        folders, case = self.folders_of(scan), self.series_case(scan)
        patterns = {_pattern(header.source.name) for header in scan.selector}
        names = sorted(
            one.name
            for one in damaged
            if one.belongs_to(folders, case) and (one.certain or one.pattern in patterns)
        )
        if not names:
            return ()
        listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        files = "1 file" if len(names) == 1 else f"{len(names)} files"
        return (
            Warning(
                "damaged-neighbours",
                f"{files} beside the series could not be read ({listed}); "
                "the volume may lack slices at its ends.",
            ),
        )

    def series_case(self, scan: Scan) -> str:
        """Case name of a DICOM volume: as grouping named it, below the id that was given."""
        return self.below_id(scan.case, scan.files)

    def below_id(self, case: str, files: Sequence[Path]) -> str:
        """A case name that begins with the INPUT's own name where its files lie in it directly, below the id."""
        if self.prefix is None:
            return case
        own = own_name(self.root) if self.root.is_dir() else split_ending(self.root.name)[0]
        rest = case[len(own) :]
        at_root = all(path.parent == self.root or path == self.root for path in files)
        if at_root and case.startswith(own) and (not rest or rest[0] in "/~"):
            return self.prefix + rest
        return f"{self.prefix}/{case}"

    def case(self, path: Path) -> str:
        """Case name of a file: its path below the INPUT without the extension, or the id that was given."""
        if path == self.root:
            return self.prefix if self.prefix is not None else printable(split_ending(path.name)[0])
        below = path.relative_to(self.root)
        case = printable((below.parent / split_ending(below.name)[0]).as_posix())
        return case if self.prefix is None else f"{self.prefix}/{case}"


def _is_a_damaged_image(item: Ignored) -> bool:
    """Whether what was left out is, by its bytes or its name, an image that should have been read."""
    if item.code in ("dicom-broken", "dicom-too-large", *_UNUSABLE_ARCHIVES):
        return True
    promised = promised_format(PurePosixPath(item.name).name)
    if item.code == "unreadable-file":
        return promised is not None
    return item.code in _NOT_RECOGNISED and promised is dicom.SERIES


def _may_be_a_slice(item: Ignored) -> bool:
    """Whether what is not an image is an empty file or bears DICOM's ending."""
    if promised_format(PurePosixPath(item.name).name) is dicom.SERIES:
        return True
    try:
        return item.path is not None and item.path.is_file() and item.path.stat().st_size == 0
    except OSError:
        return False


def _pattern(name: str) -> str:
    """A file's name without its numbers, which tell the slices of a series apart."""
    return _NUMBER.sub("#", PurePosixPath(name).name)


def _format_of(path: Path) -> InputFormat | None:
    """What a file is, by content; foreign content under a known ending is left to its reader to refuse."""
    if not path.is_file():
        return None
    entry = format_of(path)
    if entry is not None:
        return entry
    promised = promised_format(path.name)
    return None if promised is None or promised.grouped else promised


def _parts_of(path: Path) -> tuple[Path, ...]:
    """The further files of the scan whose header is, by its name, at `path`."""
    promised = promised_format(path.name)
    files = () if promised is None else promised.files(path)
    return files[1:] if files and files[0] == path else ()
