"""Telling people and log collectors how a run goes: a display on a terminal, lines elsewhere, a log file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO

from hirescam_cli.batch.events import (
    CaseFinished,
    Event,
    Failure,
    Heartbeat,
    Notice,
    RunFinished,
    RunStarted,
)
from hirescam_cli.batch.plan import because
from hirescam_cli.durable import output_error
from hirescam_cli.errors import HirescamError, OutputCreateError
from hirescam_cli.io.scan import Ignored
from hirescam_cli.json_text import json_text
from hirescam_cli.options import BY_NAME
from hirescam_cli.warning import Warning

QUIET, NORMAL, VERBOSE = 0, 1, 2
_SAID_ONCE = ("demonstration-model",)
_NAMES = {
    RunStarted: "run-started",
    CaseFinished: "case-finished",
    Heartbeat: "heartbeat",
    Notice: "notice",
    RunFinished: "run-finished",
}


class Display(Protocol):
    """Where events go."""

    def __call__(self, event: Event) -> None:
        """Show one event."""


class Reporter:
    """Passes what happens on to every display; `event` is the callback of a run."""

    def __init__(self, displays: list[Display]) -> None:
        self._displays = displays

    def event(self, event: Event) -> None:
        """One event of the run."""
        for display in self._displays:
            display(event)

    def warn(self, warning: Warning) -> None:
        """Something that holds for all cases of the run."""
        self.event(Notice(warning.code, warning.text))

    def ignored(self, ignored: Ignored) -> None:
        """Something under the INPUTs that is not a scan."""
        self.event(Notice(ignored.code, f"Left out: {because(ignored)}"))


@contextmanager
def reporter(
    *,
    quiet: bool = False,
    verbose: int = 0,
    log_file: Path | None = None,
    log_format: str = "text",
    stream: TextIO | None = None,
) -> Iterator[Reporter]:
    """A reporter to `stream` (default: stderr) and `log_file`, which gets everything whatever the verbosity.

    Without a stream (stderr is closed) only `log_file` is told. On a terminal it is a progress display, elsewhere a
    line a case; with `log_format` "json" one object a line. Raises UsageError for an unknown format and
    OutputCreateError or OutputIOError for the log file.
    """
    BY_NAME["log-format"].check(log_format)
    stream = sys.stderr if stream is None else stream
    level = QUIET if quiet else VERBOSE if verbose else NORMAL
    with ExitStack() as stack:
        displays: list[Display] = []
        if log_file is not None:
            try:
                log = stack.enter_context(log_file.open("a", encoding="utf-8", errors="replace"))
            except OSError as error:
                raise _log_error(error, log_file.name) from error
            displays.append(
                JsonLines(log, VERBOSE) if log_format == "json" else Lines(log, VERBOSE, dated=True)
            )
        if stream is None:
            pass
        elif log_format == "json":
            displays.append(JsonLines(stream, level))
        elif stream.isatty() and not quiet:
            displays.append(stack.enter_context(_bar(stream, level)))
        else:
            displays.append(Lines(stream, level))
        yield Reporter(displays)


def _log_error(error: OSError, name: str) -> HirescamError:
    general = output_error(error, name)
    if not isinstance(general, OutputCreateError):
        return general
    return OutputCreateError(
        f"The log file {name} cannot be created: {error.strerror or type(error).__name__}.",
        hint="Choose another --log-file, in a folder that exists and that you may write to.",
        code="log-file",
    )


def _write(stream: TextIO, text: str) -> None:
    """A closed terminal or a full log must not end a run."""
    with suppress(OSError, ValueError):
        stream.write(text + "\n")
        stream.flush()


class JsonLines:
    """One JSON object a line, with the time and the event's name."""

    def __init__(self, stream: TextIO, level: int) -> None:
        self._stream, self._level = stream, level

    def __call__(self, event: Event) -> None:
        if _shown(event, self._level):
            document = {"time": _now(), "event": _NAMES[type(event)], **asdict(event)}
            _write(self._stream, json_text(document, getattr(self._stream, "encoding", None)))


class Lines:
    """One line of text an event; `dated`: with the time."""

    def __init__(self, stream: TextIO, level: int, *, dated: bool = False) -> None:
        self._stream, self._level, self._dated = stream, level, dated
        self._total = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._total = event.cases
        if _shown(event, self._level):
            for line in _sentences(event, self._total, self._level):
                _write(self._stream, f"{_now()} {line}" if self._dated else line)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _shown(event: Event, level: int) -> bool:
    """Quiet runs speak of failures only."""
    if level > QUIET:
        return True
    failed = isinstance(event, CaseFinished) and event.failure is not None
    return failed or (isinstance(event, RunFinished) and event.exit_code != 0)


def _sentences(event: Event, total: int, level: int) -> list[str]:
    match event:
        case RunStarted():
            part = f" (part {event.part})" if event.part else ""
            return [f"{counted(event.cases, 'scan')} to explain{part}."]
        case CaseFinished():
            return _case_sentences(event, total)
        case Heartbeat():
            under_way = (
                ", ".join(f"{case} for {seconds:.0f} s" for case, seconds in event.current) or "nothing"
            )
            return [f"{event.done} done, {event.failed} failed, {event.left} left; under way: {under_way}."]
        case Notice():
            return [f"{event.code}: {event.message}"] + (
                [event.detail] if event.detail and level > NORMAL else []
            )
        case RunFinished():
            early = f"; ended early ({event.stopped})" if event.stopped else ""
            return [
                f"{event.done} done, {event.skipped} already there, {event.failed} failed, {event.left} left "
                f"in {duration(event.seconds)}{early}."
            ]


def _case_sentences(event: CaseFinished, total: int) -> list[str]:
    place = f"[{total - event.left}/{total}] {event.case}"
    if event.failure is not None:
        why: Failure = event.failure
        hint = f" {why.hint}" if why.hint else ""
        return [f"{place} failed ({why.code}): {why.message}{hint}"]
    ended = "already there" if event.status == "skipped" else f"done in {event.seconds:.1f} s"
    warnings = _own_warnings(event)
    account = f", {counted(len(warnings), 'warning')}" if warnings else ""
    return [f"{place} {ended}{account}", *(f"  {warning}" for warning in warnings)]


def _own_warnings(event: CaseFinished) -> list[Warning]:
    """The warnings of a case that are its own; what holds for the model was said when the run began."""
    return [warning for warning in event.warnings if warning.code not in _SAID_ONCE]


def counted(number: int, noun: str) -> str:
    """A number of things: "1 scan", "2 scans"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds for reading: "4.2 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def _bar(stream: TextIO, level: int) -> Iterator[Display]:
    """A display of scans done, failed and left, speed and time to go; failures and notices scroll above."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=stream, highlight=False, emoji=False, markup=False, soft_wrap=True)
    progress = Progress(
        TextColumn("scans"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[account]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    yield _Bar(progress, console.print, level)
    progress.stop()


class _Bar:
    def __init__(self, progress: Any, say: Callable[[str], None], level: int) -> None:
        self._progress, self._say, self._level = progress, say, level
        self._task: Any = None
        self._total = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._total = event.cases
            self._progress.start()
            self._task = self._progress.add_task("scans", total=event.cases, account="")
        elif isinstance(event, CaseFinished):
            self._count(event)
        elif isinstance(event, RunFinished) or (isinstance(event, Notice) and event.code == "ending"):
            # A second signal ends the process as it is; the terminal must have its cursor back by then.
            self._progress.stop()
        if self._worth_a_line(event):
            for line in _sentences(event, self._total, self._level):
                self._say(line)

    def _worth_a_line(self, event: Event) -> bool:
        if isinstance(event, CaseFinished):
            return event.failure is not None or bool(_own_warnings(event)) or self._level > NORMAL
        return isinstance(event, Notice | RunFinished)

    def _count(self, event: CaseFinished) -> None:
        elapsed = self._progress.tasks[self._task].elapsed or 0.0
        speed = event.done / elapsed * 60 if elapsed > 0 else 0.0
        account = f"{event.failed} failed, {event.left} left, {speed:.1f} a minute"
        self._progress.update(self._task, completed=self._total - event.left, account=account)
