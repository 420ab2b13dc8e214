"""Which masks there are for which case, and what cannot be used of a folder of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.errors import MaskError, NoInputError
from hirescam_cli.io.walk import walk
from hirescam_cli.masks.image import kind_of
from hirescam_cli.masks.mask import Mask, shown
from hirescam_cli.masks.matching import Entry, Matches, entries, mask_name, match
from hirescam_cli.masks.names import Assignment, assign, read_names, spelled
from hirescam_cli.masks.sources import MaskSource, is_mask_file, source_of


@dataclass(frozen=True)
class MaskProblem:
    """A mask, or a folder of them, that cannot be used: `code` is stable, `text` says why.

    Codes of a collection: "mask-unmatched" (no case is called so), "mask-ambiguous" (two cases, places or labels),
    "mask-twice" (two masks of one name in one case), and those of the files' MaskErrors.
    """

    path: Path
    code: str
    text: str


@dataclass(frozen=True)
class CaseMasks:
    """The masks of one case: by name the file that holds each.

    `refused`: the names of masks that are there and not used, since two files claim them. `unread`: whether there is a
    file that does not even tell what masks it holds, so that nobody knows which are missing.
    """

    sources: Mapping[str, MaskSource]
    refused: tuple[str, ...] = ()
    unread: bool = False

    def names(self) -> tuple[str, ...]:
        """The masks' names, sorted."""
        return tuple(sorted(self.sources))

    def assigned(self, labels: Sequence[str], slugs: Mapping[str, str] | None = None) -> Assignment:
        """Which mask each of all `labels` has (see `names.assign`); one that is refused makes its label doubtful."""
        found = assign([*self.names(), *self.refused], labels, slugs)
        refused = {label: (name,) for label, name in found.masks.items() if name not in self.sources}
        own = {label: name for label, name in found.masks.items() if label not in refused}
        return Assignment(own, {**found.doubtful, **refused})

    def doubts(self, labels: Sequence[str], slugs: Mapping[str, str] | None = None) -> list[MaskProblem]:
        """The masks that could be of two labels, or that are one of two for a label: "mask-ambiguous".

        Those that were refused when they were found are among the collection's problems.
        """
        by_masks: dict[tuple[str, ...], list[str]] = {}
        for label, names in self.assigned(labels, slugs).doubtful.items():
            if any(name in self.sources for name in names):
                by_masks.setdefault(names, []).append(label)
        return [
            MaskProblem(next(self.sources[n].path for n in names if n in self.sources), "mask-ambiguous",
                        _doubt(names, meant))
            for names, meant in by_masks.items()
        ]  # fmt: skip

    def matching(self, wanted: Sequence[str]) -> dict[str, str]:
        """For each of `wanted` (all labels, or organs) that has a mask, the mask's name."""
        return dict(self.assigned(wanted).masks)

    def load(self, name: str) -> Mask:
        """Read one mask. Raises MaskError for a file that cannot be used, or a name that is not there."""
        source = self.sources.get(name)
        if source is None:
            raise MaskError(f"There is no mask {name!r}.", hint="See names().", code="mask-missing")
        return source.load(name)


@dataclass(frozen=True)
class MaskCollection:
    """The masks of all cases, and what could not be used of them."""

    by_case: Mapping[str, CaseMasks]
    problems: tuple[MaskProblem, ...] = ()

    def of(self, case: str) -> CaseMasks | None:
        """The masks of a case; None where there are none."""
        return self.by_case.get(case)


def find_masks(root: Path, cases: Sequence[str], mask_labels: Path | None) -> MaskCollection:
    """The masks below `root` of the named cases; only headers are read.

    `mask_labels`: what the values of label maps mean (see `names.read_names`). Raises NoInputError if `root` is
    not a folder, UsageError for a `mask_labels` that cannot be understood.
    """
    if not root.is_dir():
        raise NoInputError(
            f"The masks' folder {root.name} does not exist or is not a folder.", hint="Correct --masks."
        )
    given = None if mask_labels is None else read_names(mask_labels)
    files = [path for path in walk(root).files if is_mask_file(path)]
    matches = match(cases, entries(root, files))
    problems = _unusable(root, matches)
    by_case = {}
    for case, entry in matches.by_case.items():
        masks, doubts = _masks(entry, given)
        problems += doubts
        if masks.sources or not doubts:
            by_case[case] = masks
    return MaskCollection(by_case, tuple(problems))


def _unusable(root: Path, matches: Matches) -> list[MaskProblem]:
    problems = []
    for cases, rivals in matches.rivals:
        places = " and ".join(entry.place.as_posix() for entry in rivals)
        text = f"the masks in {places} could be of {' and '.join(cases)}; name them as the cases are, with the path"
        problems.append(MaskProblem(root / rivals[0].place, "mask-ambiguous", text))
    for entry in matches.unmatched:
        names = " or ".join(dict.fromkeys((entry.key, entry.stem)))
        text = f"{entry.place.as_posix()} belongs to no case: none is called {names}"
        problems.append(MaskProblem(root / entry.place, "mask-unmatched", text))
    return problems


def _masks(entry: Entry, given: Mapping[int, str] | None) -> tuple[CaseMasks, list[MaskProblem]]:
    """The masks of one case; a name that two files claim, in any spelling, is given to neither."""
    alone = sum(kind_of(path) is not None for path in entry.files) == 1
    claims: dict[str, list[tuple[str, MaskSource]]] = {}
    problems = []
    for path in entry.files:
        try:
            source = source_of(path, mask_name(path), alone, given)
        except MaskError as error:
            problems.append(MaskProblem(path, error.code, str(error)))
            continue
        for name in source.names():
            claims.setdefault(spelled(name) or name, []).append((name, source))
    unread = bool(problems)
    sources: dict[str, MaskSource] = {}
    refused: list[str] = []
    for rivals in claims.values():
        name, source = rivals[0]
        if len(rivals) == 1:
            sources[name] = source
        else:
            files = " and ".join(dict.fromkeys(shown(rival.path) for _, rival in rivals))
            text = f"{files} hold two masks called {name}; neither is used"
            problems.append(MaskProblem(source.path, "mask-twice", text))
            refused += dict.fromkeys(rival for rival, _ in rivals)
    return CaseMasks(sources, tuple(refused), unread), problems


def _doubt(names: Sequence[str], labels: Sequence[str]) -> str:
    masks = " and ".join(names)
    if len(labels) == 1:
        return (
            f"the masks {masks} could both be of {labels[0]}; neither is used: call one exactly as the label"
        )
    return f"{masks} could be of {' and '.join(labels)} and is not used; call it exactly as its label"
