"""The one family of errors that hirescam raises on purpose.

An error says what is wrong (`message`), what to do about it (`hint`), at which `stage` of a case it arose,
and under which stable `code` a script can recognise it. `exit_code` is what the process ends with when
nothing else decides it (the table of exit codes is in the README). Library code raises; only the command line
prints and exits.
"""

from __future__ import annotations

from typing import ClassVar


class ExitCode:
    """Exit codes of the command line, as in sysexits.h where it has a fitting one."""

    OK = 0
    USAGE = 2
    SOME_FAILED = 8
    BAD_DATA = 65
    NO_INPUT = 66
    UNAVAILABLE = 69
    BUG = 70
    CANNOT_CREATE = 73
    IO_ERROR = 74
    INTERRUPTED = 130
    TERMINATED = 143


class HirescamError(Exception):
    """Base of every deliberate error.

    `code` is a kebab-case slug that scripts may rely on ("nifti-truncated"); `message` one sentence that
    names the object at fault, the offending value and what was expected; `hint` one sentence that says what
    to do.
    """

    exit_code: ClassVar[int] = ExitCode.BUG
    default_code: ClassVar[str] = "internal"
    default_stage: ClassVar[str] = "run"

    def __init__(
        self, message: str, *, hint: str | None = None, code: str | None = None, stage: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.stage = stage or self.default_stage

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Errors travel between processes (readers, cluster workers) with all their fields."""
        return _rebuild, (type(self), self.message, self.hint, self.code, self.stage)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


def _rebuild(
    cls: type[HirescamError], message: str, hint: str | None, code: str, stage: str
) -> HirescamError:
    return cls(message, hint=hint, code=code, stage=stage)


def first_line(error: Exception) -> str:
    """What an exception of someone else's code says, in short."""
    lines = str(error).strip().splitlines() or [""]
    name = type(error).__name__
    return f"{name}: {lines[0][:300]}" if lines[0] else name


class UsageError(HirescamError):
    """Options that contradict each other or name something that does not exist (exit 2, before any scan)."""

    exit_code = ExitCode.USAGE
    default_code = "usage"
    default_stage = "plan"


class ModelError(HirescamError):
    """A model, its configuration or its weights were refused (exit 2, before any scan)."""

    exit_code = ExitCode.USAGE
    default_code = "model"
    default_stage = "model"


class UnavailableError(HirescamError):
    """A device or a weights file that was asked for is not there (exit 69)."""

    exit_code = ExitCode.UNAVAILABLE
    default_code = "unavailable"
    default_stage = "model"


class MemoryUnavailableError(HirescamError):
    """Memory, of a GPU or the machine, does not suffice for one scan; others may fit (69 if none did)."""

    exit_code = ExitCode.UNAVAILABLE
    default_code = "out-of-memory"
    default_stage = "network"


class NoInputError(HirescamError):
    """Nothing to read: a path does not exist, or holds no scan (exit 66)."""

    exit_code = ExitCode.NO_INPUT
    default_code = "no-input"
    default_stage = "plan"


class ScanError(HirescamError):
    """A scan that cannot be read or used faithfully: fails one scan, not a run (65 if none was usable)."""

    exit_code = ExitCode.BAD_DATA
    default_code = "bad-data"
    default_stage = "read"


class MaskError(HirescamError):
    """A mask that cannot be used: its file, its values or its place (fails one mask, not a run)."""

    exit_code = ExitCode.BAD_DATA
    default_code = "mask"
    default_stage = "masks"


class OutputCreateError(HirescamError):
    """The output folder or a file in it cannot be created (exit 73)."""

    exit_code = ExitCode.CANNOT_CREATE
    default_code = "output-create"
    default_stage = "write"


class OutputIOError(HirescamError):
    """Writing failed half-way: disk full, quota, read error of the medium (exit 74)."""

    exit_code = ExitCode.IO_ERROR
    default_code = "output-io"
    default_stage = "write"
