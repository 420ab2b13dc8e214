"""What a run says while it goes: plain records, handed to a callback from one thread at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hirescam_cli.warning import Warning

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Failure:
    """Why a case failed, as in the `error` of its summary."""

    code: str
    stage: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class RunStarted:
    """The model is loaded and the plan accepted: `cases` to go through."""

    cases: int
    part: str | None = None


@dataclass(frozen=True)
class CaseFinished:
    """A case came to its end. `seconds` since its reading began; `left` cases are still to come."""

    case: str
    status: Status
    done: int
    skipped: int
    failed: int
    left: int
    seconds: float = 0.0
    failure: Failure | None = None
    warnings: tuple[Warning, ...] = ()


@dataclass(frozen=True)
class Heartbeat:
    """A sign of life while nothing finishes; `current`: the cases under way and for how many seconds."""

    done: int
    failed: int
    left: int
    current: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Notice:
    """Something a person should know that is not a failure; `detail` (a traceback) is for the log only."""

    code: str
    message: str
    detail: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class RunFinished:
    """The run ended; `stopped` says why it ended early, if it did."""

    done: int
    skipped: int
    failed: int
    left: int
    seconds: float
    exit_code: int
    stopped: str | None = None


Event = RunStarted | CaseFinished | Heartbeat | Notice | RunFinished
Callback = Callable[[Event], None]
