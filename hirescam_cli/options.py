"""Options with choices: what each may be, and the one check of it.

The command line, the environment, `Settings`, `ReadOptions`, `RunOptions` and the device all ask here, so that a
value that is not known is refused wherever it comes from. Help texts show the same table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from hirescam_cli.errors import UsageError

Existing = Literal["skip", "overwrite", "error"]
Grid = Literal["scan", "cam", "both"]
Identifiers = Literal["none", "uids"]
Placement = Literal["stretch", "receptive-field"]
Prefer = Literal["sform", "qform"]
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID = 64


@dataclass(frozen=True)
class Choice:
    """What an option may be: one of `words`, or text that matches a pattern of `forms` (by how help shows it).

    `several`: a non-empty list of such values. `later`: words that are known but not available yet.
    `code`: the code of the refusal.
    """

    words: tuple[str, ...]
    forms: tuple[tuple[str, re.Pattern[str]], ...] = ()
    several: bool = False
    later: tuple[str, ...] = ()
    code: str = "usage"

    @property
    def shown(self) -> tuple[str, ...]:
        """Words and forms, as help and messages show them."""
        return (*self.words, *(form for form, _ in self.forms))

    def knows(self, value: object) -> bool:
        """Whether `value` is one of the words or has one of the forms."""
        return isinstance(value, str) and (
            value in self.words or any(pattern.fullmatch(value) for _, pattern in self.forms)
        )


CHOICES: dict[str, Choice] = {
    "device": Choice(
        ("auto", "cpu", "cuda", "mps"), (("cuda:N", re.compile("cuda:[0-9]+")),), code="device-unknown"
    ),
    "existing": Choice(get_args(Existing), code="option-value"),
    "format": Choice(
        ("nifti", "png", "gif", "html"),
        several=True,
        later=("dicom-seg", "dicom-sr", "dicom-sc", "dicom-pm"),
    ),
    "grid": Choice(get_args(Grid)),
    "identifiers": Choice(get_args(Identifiers)),
    "labels": Choice(
        ("positive", "all"),
        (
            ("top:N", re.compile("top:[0-9]*[1-9][0-9]*")),
            ("NAME,...", re.compile(r"(?!top:)(?=.*[^\s,]).*", re.DOTALL)),
        ),
    ),
    "log-format": Choice(("text", "json"), code="option-value"),
    "method": Choice(("hirescam", "gradcam"), several=True),
    "placement": Choice(get_args(Placement)),
    "precision": Choice(("auto", "fp32", "bf16", "fp16")),
    "prefer": Choice(get_args(Prefer)),
    "series": Choice(("all", "largest"), (("UID", re.compile(rf"(?=.{{1,{_MAX_UID}}}$){_UID.pattern}")),)),
}

METHODS = CHOICES["method"].words


def variable(option: str) -> str:
    """The environment variable that sets an option of the command line."""
    return "HIRESCAM_" + option.upper().replace("-", "_")


def metavar(option: str) -> str:
    """How help shows the values of an option with choices."""
    choice = CHOICES[option]
    return ("," if choice.several else "|").join(choice.shown)


def check_choice(option: str, value: str | Sequence[str]) -> None:
    """Raise UsageError (naming option, value and choices) unless `value` is one that `option` knows."""
    choice = CHOICES[option]
    hint = f"Choose from: {', '.join(choice.shown)}; set by --{option} or {variable(option)}."
    if not choice.several:
        values: Sequence[object] = [value]
    elif isinstance(value, str) or not value:
        raise UsageError(f"--{option} {value!r} names nothing.", hint=hint, code=choice.code)
    else:
        values = value
    for single in values:
        if single in choice.later:
            raise UsageError(
                f"--{option} {single} is not available in this version.", hint=hint, code="format-unavailable"
            )
        if not choice.knows(single):
            raise UsageError(f"--{option} {single!r} is unknown.", hint=hint, code=choice.code)


def is_label_name(name: str) -> bool:
    """Whether --labels with `name` means the label of that name: no word of the option, no list, nothing to strip."""
    known = CHOICES["labels"]
    return known.knows(name) and name not in known.words and not re.search(r"^top:|^\s|\s$|,", name)


def is_uid(text: str | None) -> bool:
    """Whether `text` is a valid DICOM UID: numbers joined by dots, at most 64 characters."""
    return text is not None and len(text) <= _MAX_UID and _UID.fullmatch(text) is not None


def told_uid(series_uid: str | None, identifiers: Identifiers) -> str | None:
    """What may be told of a SeriesInstanceUID: a valid one with identifiers "uids", else nothing."""
    return series_uid if identifiers == "uids" and is_uid(series_uid) else None
