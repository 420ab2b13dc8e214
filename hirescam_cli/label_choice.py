"""Which labels get overlays and pictures: the value of --labels."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hirescam_cli.choices import LABELS
from hirescam_cli.errors import UsageError
from hirescam_cli.options import BY_NAME


class Ranked(Protocol):
    """A label with its prediction."""

    @property
    def name(self) -> str:
        """The label."""

    @property
    def index(self) -> int:
        """Its place among the network's outputs."""

    @property
    def logit(self) -> float:
        """The network's answer."""

    @property
    def positive(self) -> bool:
        """Whether its probability reaches its threshold."""


def is_label_name(name: str) -> bool:
    """Whether --labels with `name` means the label of that name: no word of the option, no list, nothing to strip."""
    return LABELS.knows(name) and name not in LABELS.words and not re.search(r"^top:|^\s|\s$|,", name)


def same_choice(text: str) -> str:
    """One way to write each choice of labels: names in the order of the alphabet, since theirs decides nothing."""
    if text in LABELS.words:
        return text
    if text.startswith("top:"):
        return f"top:{int(text[4:])}"
    return ",".join(sorted(_names(text)))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


@dataclass(frozen=True)
class LabelChoice:
    """Which labels: all, the positive ones, the `top` ones, or those named."""

    kind: Literal["positive", "all", "top", "names"]
    top: int = 0
    names: tuple[str, ...] = ()

    @staticmethod
    def parse(text: str, labels: Sequence[str]) -> LabelChoice:
        """Parse the value of --labels; UsageError for a label that the model does not have."""
        BY_NAME["labels"].check(text)
        if text in ("positive", "all"):
            return LabelChoice("positive" if text == "positive" else "all")
        if text.startswith("top:"):
            return LabelChoice("top", top=int(text[4:]))
        names = _names(text)
        for name in names:
            if name not in labels:
                near = difflib.get_close_matches(name, labels, 3) or list(labels[:3])
                raise UsageError(
                    f"The model has no label {name!r}.",
                    hint=f"Did you mean {', '.join(near)}? `hirescam model show` lists all {len(labels)}.",
                    code="label-unknown",
                )
        return LabelChoice("names", names=names)

    def choose(self, labels: Sequence[Ranked]) -> list[str]:
        """Names of the chosen labels, most probable first (by logit)."""
        ranked = sorted(labels, key=lambda label: (-label.logit, label.index))
        if self.kind == "all":
            return [label.name for label in ranked]
        if self.kind == "top":
            return [label.name for label in ranked[: self.top]]
        if self.kind == "names":
            return [label.name for label in ranked if label.name in self.names]
        return [label.name for label in ranked if label.positive] or [ranked[0].name]
