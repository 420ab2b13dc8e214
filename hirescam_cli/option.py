"""What an option is: its name, type, default, choices and help, and the check of a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.choices import Choice
from hirescam_cli.errors import UsageError

MODEL, WHAT, READING, RUN, SAY, ARCHIVE, DATA = (
    "Model",
    "What to compute and write",
    "Reading",
    "The run",
    "Messages",
    "The archive",
    "Phantoms and evaluation",
)
_LONGEST_SHOWN = 200
Kind = type[str] | type[int] | type[float] | type[bool] | type[Path]
Value = str | int | float | bool | Path | tuple[str, ...] | tuple[Path, ...] | None


@dataclass(frozen=True)
class Option:
    """`kind`: type of a value; where `several` it is a list, joined by commas or given again and again.

    `default` None: not given. `identity`: whether it decides what a case folder holds. `lowest`, `highest`: limits of a
    number; `above`: a limit that it must exceed. `count`: how often it is given is its value. `what`: what was
    expected, for a refusal. `area`: the command that it is of, where it is of one alone: part of the variable's name.
    """

    name: str
    kind: Kind
    default: Value
    help: str
    panel: str
    choice: Choice | None = None
    several: bool = False
    identity: bool = False
    metavar: str | None = None
    short: str | None = None
    lowest: float | None = None
    highest: float | None = None
    above: float | None = None
    count: bool = False
    what: str = "another value"
    code: str = "usage"
    area: str = ""

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "HIRESCAM_" + (self.area + self.name).upper().replace("-", "_")

    @property
    def shown(self) -> str | None:
        """How help shows its value."""
        if self.choice is not None:
            return ("," if self.several else "|").join(self.choice.shown)
        return "" if self.kind is bool or self.count else self.metavar

    def check(self, value: object) -> None:
        """Raise UsageError, naming option, value and what was expected, for a value that it cannot have."""
        if value is None and self.default is None:
            return
        if self.choice is not None:
            self._check_choice(self.choice, value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low = self.lowest is not None and value < self.lowest
            high = self.highest is not None and value > self.highest
            if low or high or value != value or (self.above is not None and not value > self.above):
                raise UsageError(
                    f"--{self.name} is {value}, expected {self.what}.",
                    hint="Correct the option.",
                    code=self.code,
                )

    def _check_choice(self, choice: Choice, value: object) -> None:
        hint = f"Choose from: {', '.join(choice.shown)}; set by --{self.name} or {self.variable}."
        values: tuple[object, ...] = (value,)
        if self.several:
            if isinstance(value, str) or not isinstance(value, tuple | list) or not value:
                raise UsageError(f"--{self.name} {_short(value)} names nothing.", hint=hint, code=choice.code)
            values = tuple(value)
        for single in values:
            if not choice.knows(single):
                raise UsageError(f"--{self.name} {_short(single)} is unknown.", hint=hint, code=choice.code)


def _short(value: object) -> str:
    """A value for a message: a very long one by its beginning."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text)} characters)"
