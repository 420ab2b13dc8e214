"""A warning: something that a person should know about a case, which did not prevent it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Warning:
    """`code`: a kebab-case slug that scripts may rely on ("oblique"); `text`: one sentence or two."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"
