"""What `hirescam evaluate` is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hirescam_cli.choices import Existing
from hirescam_cli.errors import UsageError
from hirescam_cli.evaluate.record import OptionValue
from hirescam_cli.options import check, stated

Placements = Literal["model", "both"]
PLACEMENTS: tuple[Placements, ...] = ("model", "both")


@dataclass(frozen=True)
class EvaluateOptions:
    """See the table in `options` for what each means.

    `masks` and `labels` are required to be usable: a folder, and "all" or names. `methods`: None takes all that the
    cases hold. `placement`: each case's own, or every one that it has. Raises UsageError for a value that its option
    does not know.
    """

    masks: Path | None = stated("masks")
    mask_labels: Path | None = stated("mask-labels")
    regions: str | None = stated("regions")
    labels: str = stated("labels", default="all")
    methods: tuple[str, ...] | None = stated("method", default=None)
    placement: Placements = "model"
    truth: Path | None = stated("truth")
    group: str | None = stated("group")
    tolerance_mm: float = stated("tolerance-mm")
    bootstrap: int = stated("bootstrap")
    seed: int = stated("seed")
    compare: Path | None = stated("compare")
    papers: bool = stated("papers")
    existing: Existing = stated("existing")
    jobs: int | None = stated("jobs")

    def __post_init__(self) -> None:
        check(self)
        if self.placement not in PLACEMENTS:
            raise UsageError(
                f"--placement {self.placement!r} is unknown.",
                hint=f"Choose from: {', '.join(PLACEMENTS)}.",
            )
        if self.labels == "positive" or re.match("top:", self.labels):
            raise UsageError(
                f"--labels {self.labels} is not for evaluate, where every label has its own cases.",
                hint="Give all, or names.",
            )
        if self.masks is None:
            raise UsageError("evaluate needs masks.", hint="Name their folder with --masks.")

    @property
    def wanted_labels(self) -> tuple[str, ...] | None:
        """The labels that were named; None for all."""
        if self.labels == "all":
            return None
        return tuple(dict.fromkeys(name.strip() for name in self.labels.split(",") if name.strip()))

    def identity(self) -> dict[str, OptionValue]:
        """What decides the figures, by name, without paths."""
        return {
            "labels": self.labels,
            "method": None if self.methods is None else self.methods,
            "placement": self.placement,
            "tolerance-mm": self.tolerance_mm,
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "papers": self.papers,
        }
