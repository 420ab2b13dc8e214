"""What a training tells while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Fact: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class Event:
    """`name`: stable, for programs; `text`: for people; `facts`: figures. `lasting`: whether more than progress."""

    name: str
    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    lasting: bool = True


Listener: TypeAlias = Callable[[Event], None]
