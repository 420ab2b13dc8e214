"""Which masks are outlined on the pictures of finished cases: a label's own, and those asked for by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.case.record import Case
from hirescam_cli.case.view import Outlined, affine_of
from hirescam_cli.errors import MaskError, NoInputError, UsageError
from hirescam_cli.geometry import Grid
from hirescam_cli.masks.collection import CaseMasks, MaskCollection, MaskProblem, find_masks
from hirescam_cli.masks.matching import mask_name
from hirescam_cli.masks.names import matching
from hirescam_cli.masks.overlap import check_overlap
from hirescam_cli.options import check, stated

_SHOWN = 5


@dataclass(frozen=True)
class OutlineOptions:
    """`masks`: their folder; `mask_labels`: what the values of label maps mean; `outline`: masks on every picture.

    Raises UsageError for the others without `masks`.
    """

    masks: Path | None = stated("masks")
    mask_labels: Path | None = stated("mask-labels")
    outline: tuple[str, ...] | None = stated("outline")

    def __post_init__(self) -> None:
        check(self)
        if self.masks is None and (self.mask_labels is not None or self.outline):
            raise UsageError("--mask-labels and --outline need --masks.", hint="Name the masks' folder too.")


@dataclass(frozen=True)
class Outlines:
    """The masks of some cases. `everywhere`: names of masks, such as organs, that every picture shows."""

    collection: MaskCollection
    everywhere: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[MaskProblem, ...]:
        """What could not be used of the folder. Masks of other cases than those drawn are no problem."""
        return tuple(problem for problem in self.collection.problems if problem.code != "mask-unmatched")

    def of(self, case: Case) -> tuple[tuple[Outlined, ...], tuple[MaskProblem, ...]]:
        """What to outline for a case, and the masks that cannot be, since they are damaged or lie elsewhere."""
        masks = self.collection.of(case.case)
        if masks is None:
            return (), ()
        found: list[Outlined] = []
        problems = masks.doubts(*_called(case))
        scan = Grid(case.input.shape, affine_of(case.input.affine))
        for label, name in _wanted(masks, case, self.everywhere):
            try:
                mask = masks.load(name)
                check_overlap(mask, scan)
            except MaskError as error:
                problems.append(MaskProblem(masks.sources[name].path, error.code, str(error)))
                continue
            found.append(Outlined(mask, label))
        return tuple(found), tuple(problems)


def find_outlines(options: OutlineOptions, cases: Sequence[str]) -> Outlines | None:
    """The masks of these cases; None where none are asked for.

    Raises NoInputError where there is no folder or no case has any, UsageError for `mask_labels` of no use, and for an
    `outline` that no case has a mask of.
    """
    if options.masks is None:
        return None
    collection = find_masks(options.masks, cases, options.mask_labels)
    if not collection.by_case:
        told = f" {collection.problems[0].text}." if collection.problems else ""
        raise NoInputError(
            f"No mask in {options.masks.name} belongs to one of the {len(cases)} cases.{told}",
            hint="Name a folder or a file after each case: MASKS/<case>/<label>.nii.gz.",
            code="mask-unmatched",
        )
    _refuse_unknown(options.outline or (), collection)
    return Outlines(collection, options.outline or ())


def _refuse_unknown(wanted: Sequence[str], collection: MaskCollection) -> None:
    """UsageError for a mask that no case has; one whose file is damaged is told of as such."""
    known = sorted({name for masks in collection.by_case.values() for name in masks.names()})
    damaged = [mask_name(problem.path) for problem in collection.problems]
    for name in wanted:
        if not matching([*known, *damaged], [name]):
            near = difflib.get_close_matches(name, known, _SHOWN) or known[:_SHOWN]
            raise UsageError(
                f"--outline {name!r} is the mask of none of the {len(collection.by_case)} cases that have masks.",
                hint=f"Did you mean {', '.join(near)}? They have {len(known)} different masks."
                if near
                else None,
                code="outline-unknown",
            )


def _wanted(masks: CaseMasks, case: Case, everywhere: Sequence[str]) -> list[tuple[str | None, str]]:
    """(label, mask) of the labels that have one, and (None, mask) of those that every picture shows."""
    own = masks.assigned(*_called(case)).masks
    always = [name for wanted in everywhere for name in masks.matching([wanted]).values()]
    always = list(dict.fromkeys(always))
    return [*(pair for pair in own.items() if pair[1] not in always), *((None, name) for name in always)]


def _called(case: Case) -> tuple[list[str], dict[str, str]]:
    """The names of all labels of a case, and their slugs."""
    return [label.name for label in case.labels], {label.name: label.slug for label in case.labels}
