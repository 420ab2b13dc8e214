"""The standard streams of the process: there whatever the caller closed, and able to write any name."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO, cast

from hirescam_cli.errors import OutputIOError


def ready_streams() -> None:
    """Make all three streams usable, before anything is opened or said.

    A closed stream's number would go to the next file that is opened, and what a library prints into that file.
    Standard error that was closed swallows what it is told; standard output fails like a pipe whose reader has gone.
    What the encoding of a stream lacks is written as escapes.
    """
    if sys.stdin is None:
        sys.stdin = _taken(0, os.open(os.devnull, os.O_RDONLY), "r")
    if sys.stdout is None:
        reader, writer = os.pipe()
        os.close(reader)
        sys.stdout = _taken(1, writer, "w")
    if sys.stderr is None:
        sys.stderr = _taken(2, os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_stdout() -> None:
    """Write what waits in standard output. Raises OutputIOError where nobody takes it, or the disk is full."""
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise stdout_lost() from error
    except OSError as error:
        raise OutputIOError(
            f"Writing to standard output failed: {error.strerror}.",
            hint="What was written to files is whole; make room and run the same command again.",
            code="stdout",
        ) from error


def stdout_lost() -> OutputIOError:
    """The error of a command whose result nobody reads to the end."""
    return OutputIOError(
        "Standard output was closed before all was printed.",
        hint="What was written to files is whole; run the same command again for what was to be printed.",
        code="stdout",
    )


def drop_unsaid() -> None:
    """Let go of what the streams cannot write, so that the interpreter's own end does not fail at it."""
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    for stream in filter(None, streams):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except ValueError:
            pass


def _taken(number: int, descriptor: int, mode: str) -> TextIO:
    """A stream on `descriptor`, under the standard `number` unless another file has that already."""
    try:
        os.fstat(number)
    except OSError:
        os.dup2(descriptor, number)
        os.close(descriptor)
        descriptor = number
    else:
        if descriptor == number:
            os.set_inheritable(number, True)
    return cast(TextIO, os.fdopen(descriptor, mode, encoding="utf-8"))
