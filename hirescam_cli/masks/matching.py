"""Which files of a folder of masks belong to which case: by the case's path, then by its last part.

Files come as a folder for each case, called as the case (DIR/a/ct/nodule.nii.gz for the case a/ct), or as one file
for each case (DIR/a/ct.nii.gz, DIR/a/ct.seg.nrrd, DIR/a/ct.dcm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hirescam_cli.io.formats import split_ending

_INNER = ("segmentations", "masks")


@dataclass(frozen=True)
class Entry:
    """Mask files that belong together: `key` is what the case would be called, `place` the folder or the file."""

    key: str
    place: PurePosixPath
    files: tuple[Path, ...]

    @property
    def is_folder(self) -> bool:
        """Whether its place is a folder."""
        return self.place.name != self.files[0].name or len(self.files) > 1

    @property
    def stem(self) -> str:
        """The last part of the key."""
        return PurePosixPath(self.key).name


@dataclass(frozen=True)
class Matches:
    """The entry of each case that has one; `rivals`: (cases, entries) that cannot be told apart; the `unmatched`."""

    by_case: dict[str, Entry]
    rivals: tuple[tuple[tuple[str, ...], tuple[Entry, ...]], ...]
    unmatched: tuple[Entry, ...]


def entries(root: Path, files: Sequence[Path]) -> list[Entry]:
    """The folders and the single files that could be a case's masks. `files`: all mask files below `root`.

    A folder called "segmentations" or "masks" in a case's folder is part of it, as TotalSegmentator's data set has it.
    """
    folders: dict[PurePosixPath, list[Path]] = {}
    found = []
    for path in files:
        relative = PurePosixPath(path.relative_to(root).as_posix())
        key = (relative.parent / mask_name(path)).as_posix()
        found.append(Entry(key, relative, (path,)))
        folders.setdefault(relative.parent, []).append(path)
    for folder, members in folders.items():
        if folder != PurePosixPath("."):
            inner = folder.name.lower() in _INNER and folder.parent != PurePosixPath(".")
            key = (folder.parent if inner else folder).as_posix()
            found.append(Entry(key, folder, tuple(members)))
    return found


def mask_name(path: Path) -> str:
    """A file's name without its ending; `.seg.nrrd` counts as one."""
    stem = split_ending(path.name)[0]
    return stem[:-4] if path.name.lower().endswith(".seg.nrrd") else stem


def match(cases: Sequence[str], found: Sequence[Entry]) -> Matches:
    """Give each case its entry; what is ambiguous is given to nobody.

    A path counts before a stem: only cases and entries that no path matched are compared by their last part.
    """
    by_case: dict[str, Entry] = {}
    rivals: list[tuple[tuple[str, ...], tuple[Entry, ...]]] = []
    used: list[Entry] = []
    for case in cases:
        exact = [entry for entry in found if entry.key == case]
        used += exact
        if len(exact) == 1:
            by_case[case] = exact[0]
        elif exact:
            rivals.append(((case,), tuple(exact)))
    refused = {case for names, _ in rivals for case in names}
    open_cases = [case for case in cases if case not in by_case and case not in refused]
    for stem in dict.fromkeys(PurePosixPath(case).name for case in open_cases):
        alike = [entry for entry in found if entry.stem == stem and not _within(entry, used)]
        outer = tuple(entry for entry in alike if not _within(entry, [e for e in alike if e is not entry]))
        called = tuple(case for case in open_cases if PurePosixPath(case).name == stem)
        used += outer
        if len(outer) == 1 and len(called) == 1:
            by_case[called[0]] = outer[0]
        elif outer:
            rivals.append((called, outer))
    return Matches(by_case, tuple(rivals), _left_over(found, used))


def _within(entry: Entry, others: Sequence[Entry]) -> bool:
    return any(other.place == entry.place or other.place in entry.place.parents for other in others)


def _left_over(found: Sequence[Entry], used: Sequence[Entry]) -> tuple[Entry, ...]:
    """What nobody has, each file once: folders, and the single files of the top folder."""
    taken = {path for entry in used for path in entry.files}
    left = [entry for entry in found if not taken.issuperset(entry.files)]
    return tuple(entry for entry in left if entry.is_folder or entry.place.parent == PurePosixPath("."))
