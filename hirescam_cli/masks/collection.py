"""Which masks there are for which case: a folder per case, found by the case's path, then by its last part."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.masks.mask import Mask, mask_name, read_mask


@dataclass(frozen=True)
class MaskProblem:
    """A mask, or a folder of them, that cannot be used: `code` is stable, `text` says why."""

    path: Path
    code: str
    text: str


@dataclass(frozen=True)
class CaseMasks:
    """The masks of one case: their files by name."""

    files: Mapping[str, Path]

    def names(self) -> tuple[str, ...]:
        """The masks' names, sorted."""
        return tuple(sorted(self.files))

    def load(self, name: str) -> Mask:
        """Read one mask. Raises KeyError for a name that is not there, MaskError for a file that cannot be used."""
        return read_mask(self.files[name], name)


@dataclass(frozen=True)
class MaskCollection:
    """The masks of all cases, and what could not be used of them."""

    by_case: Mapping[str, CaseMasks]
    problems: tuple[MaskProblem, ...] = ()

    def of(self, case: str) -> CaseMasks | None:
        """The masks of a case; None where there are none."""
        return self.by_case.get(case)


def find_masks(root: Path, cases: Sequence[str], mask_labels: Path | None) -> MaskCollection:
    """The masks below `root` of the named cases.

    Raises NoInputError if `root` is not a folder, UsageError where a folder could belong to two cases or a case to
    two folders.
    """
    if not root.is_dir():
        raise NoInputError(f"The masks' folder {root.name} does not exist.", hint="Correct --masks.")
    if mask_labels is not None:
        raise UsageError("--mask-labels needs label maps.", hint="Give a folder of binary masks per case.")
    folders = _folders(root)
    found: dict[str, CaseMasks] = {}
    problems: list[MaskProblem] = []
    taken: dict[str, str] = {}
    for case in cases:
        folder = _folder_of(case, folders)
        if folder is None:
            continue
        if folder in taken:
            raise _ambiguous(f"the masks in {folder} could be of {taken[folder]} and of {case}")
        taken[folder] = case
        files, doubts = _by_name(root / folder, folders[folder])
        found[case] = CaseMasks(files)
        problems += doubts
    return MaskCollection(found, tuple(problems))


def _folders(root: Path) -> dict[str, list[str]]:
    """The folders below `root` that hold masks, as POSIX paths relative to it, with the masks' file names."""
    found = {}
    for directory, folders, files in os.walk(root):
        folders.sort()
        masks = sorted(name for name in files if mask_name(Path(name)) is not None)
        if masks and Path(directory) != root:
            found[Path(directory).relative_to(root).as_posix()] = masks
    return found


def _folder_of(case: str, folders: Mapping[str, list[str]]) -> str | None:
    if case in folders:
        return case
    stem = PurePosixPath(case).name
    alike = [folder for folder in folders if PurePosixPath(folder).name == stem]
    if len(alike) > 1:
        raise _ambiguous(f"the masks of {case} could be {alike[0]} and {alike[1]}")
    return alike[0] if alike else None


def _by_name(folder: Path, names: Sequence[str]) -> tuple[dict[str, Path], list[MaskProblem]]:
    files: dict[str, Path] = {}
    problems = []
    for name in names:
        mask = mask_name(Path(name))
        assert mask is not None
        if mask in files:
            text = f"{folder.name} holds two masks called {mask}"
            problems.append(MaskProblem(folder / name, "mask-twice", text))
        else:
            files[mask] = folder / name
    return files, problems


def _ambiguous(what: str) -> UsageError:
    return UsageError(
        f"Masks cannot be told apart: {what}.",
        hint="Name the masks' folders as the cases are named, with their path.",
        code="mask-ambiguous",
    )
