"""What an option with choices may be, and the one check of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hirescam_cli.identifiers import MAX_UID, UID
from hirescam_cli.placement import PLACEMENTS
from hirescam_cli.registries import METHODS, RESULT_FORMATS

Existing = Literal["skip", "overwrite", "error"]
Grid = Literal["scan", "cam", "both"]
Freeze = Literal["default", "none"]
Prefer = Literal["sform", "qform"]


@dataclass(frozen=True)
class Choice:
    """What an option may be: one of `words`, or text that matches a pattern of `forms` (by how help shows it).

    `listed()`: further words, those of a registry. `code`: the code of the refusal.
    """

    words: tuple[str, ...] = ()
    forms: tuple[tuple[str, re.Pattern[str]], ...] = ()
    listed: Callable[[], tuple[str, ...]] = tuple
    code: str = "usage"

    @property
    def shown(self) -> tuple[str, ...]:
        """Words and forms, as help and messages show them."""
        return (*self.words, *self.listed(), *(form for form, _ in self.forms))

    def knows(self, value: object) -> bool:
        """Whether `value` is one of the words or has one of the forms."""
        return isinstance(value, str) and (
            value in self.words
            or value in self.listed()
            or any(pattern.fullmatch(value) for _, pattern in self.forms)
        )


AUGMENT = Choice(("papers", "flip-lr", "none"))
CALIBRATE = Choice(("none", "platt"))
DEVICE = Choice(
    ("auto", "cpu", "cuda", "mps"), (("cuda:N", re.compile("cuda:[0-9]{1,9}")),), code="device-unknown"
)
EXISTING = Choice(("skip", "overwrite", "error"), code="option-value")
FILL = Choice(("blur", "mean", "air"))
FORMAT = Choice(listed=RESULT_FORMATS.names)
FREEZE = Choice(("default", "none"))
GRID = Choice(("scan", "cam", "both"))
HOST = Choice(("auto", "mercure", "monai", "xnat", "kaapana", "nextflow"), code="host-unknown")
IDENTIFIERS = Choice(("none", "uids"))
LABELS = Choice(
    ("positive", "all"),
    (
        ("top:N", re.compile("top:0{0,8}[1-9][0-9]{0,8}")),
        ("NAME,...", re.compile(r"(?!top:)(?=.*[^\s,]).*", re.DOTALL)),
    ),
)
LOG = Choice(("csv", "tensorboard", "mlflow"))
LOG_FORMAT = Choice(("text", "json"), code="option-value")
MASK_CELLS = Choice(("any", "half", "papers"))
MASK_LOSS = Choice(("none", "papers", "two-sided", "lesions"))
METHOD = Choice(listed=METHODS.names)
MONITOR = Choice(("loss", "auroc"))
OPTIMIZER = Choice(("sgd", "adamw"))
PLACEMENT = Choice(tuple(PLACEMENTS))
PRECISION = Choice(("auto", "fp32", "bf16", "fp16"))
PREFER = Choice(("sform", "qform"))
REFEREE = Choice(("occlusion",))
SCHEDULE = Choice(("constant", "cosine"))
_HOST_AND_PORT = r"(?:[^\s/:\[\]]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}/?"
SCHEDULER = Choice(
    ("local",),
    (
        ("tcp://HOST:PORT", re.compile(rf"(?:tcp|ucxx?|wss?)://{_HOST_AND_PORT}|inproc://\S+")),
        ("tls://HOST:PORT", re.compile(f"tls://{_HOST_AND_PORT}")),
        ("HOST:PORT", re.compile(_HOST_AND_PORT)),
    ),
    code="scheduler-address",
)
SERIES = Choice(("all", "largest"), (("UID", re.compile(rf"(?=.{{1,{MAX_UID}}}$){UID.pattern}")),))
THRESHOLDS = Choice(
    ("0.5", "youden"), (("sensitivity:P", re.compile(r"sensitivity:(0\.[0-9]*[1-9][0-9]*|1(\.0*)?)")),)
)
