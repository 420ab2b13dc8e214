"""--path-template: how an id and its parts become the path of a scan."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hirescam_cli.errors import UsageError

# Of Python's format specifications those that a name of a file may need.
_SPEC = re.compile(r"(?:[^{}]?[<>^=])?[0-9]{0,3}(?P<kind>[sd]?)")
_WHOLE = re.compile(r"[0-9]{1,18}")


class NotWholeError(ValueError):
    """A part that the template wants as a whole number is none."""


@dataclass(frozen=True)
class Part:
    """A piece of the path as it is, and what follows it: the value of a name, by a format (None: nothing follows)."""

    text: str
    name: str | None = None
    spec: str = ""

    def fill(self, values: Mapping[str, str]) -> str:
        """The piece with its value. Raises NotWholeError."""
        return self.text if self.name is None else self.text + self._formatted(values[self.name])

    def _formatted(self, value: str) -> str:
        if not self.spec.endswith("d"):
            return format(value, self.spec)
        if not _WHOLE.fullmatch(value):
            raise NotWholeError(f"a whole number, for {{{self.name}:{self.spec}}} of --path-template")
        return format(int(value), self.spec)


@dataclass(frozen=True)
class PathTemplate:
    """A template that was understood."""

    parts: tuple[Part, ...]

    @staticmethod
    def parse(text: str, known: Iterable[str]) -> PathTemplate:
        """Raises UsageError for a template that names what is not `known`, or is not one."""
        names = sorted(known)
        try:
            found = list(string.Formatter().parse(text))
        except ValueError as error:
            raise _wrong(text, names, f"is not a template: {error}") from error
        parts = []
        for before, name, spec, conversion in found:
            if name is not None and name not in names:
                raise UsageError(
                    f"--path-template names {{{name}}}, known are {', '.join(names)}.",
                    hint="Name a group of --id-pattern, such as (?P<patient>[^_]+).",
                )
            if conversion:
                raise _wrong(text, names, f"asks for {{{name}!{conversion}}}")
            if spec and not _can_be_used(spec):
                raise _wrong(text, names, f"asks for {{{name}:{spec}}}")
            parts.append(Part(before, name, spec or ""))
        return PathTemplate(tuple(parts))

    def path(self, values: Mapping[str, str]) -> str:
        """The path. Raises NotWholeError."""
        return "".join(part.fill(values) for part in self.parts)


def _can_be_used(spec: str) -> bool:
    found = _SPEC.fullmatch(spec)
    if found is None:
        return False
    try:
        format(0 if found["kind"] == "d" else "", spec)
    except ValueError:
        return False
    return True


def _wrong(text: str, names: Sequence[str], what: str) -> UsageError:
    some = ", ".join(f"{{{name}}}" for name in names)
    return UsageError(
        f"--path-template {text!r} {what}.",
        hint=f"Write {some}; {{{names[0]}:06d}} fills a whole number up, braces of the path itself are doubled.",
    )
