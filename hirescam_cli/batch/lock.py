"""One run per output folder, or one per part: locks of the operating system, which end with the process."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hirescam_cli.batch.plan import Part
from hirescam_cli.durable import output_error
from hirescam_cli.errors import HirescamError, OutputCreateError

LOCK = ".hirescam.lock"
_INDEX_LOCK = ".hirescam.index.lock"
_POLL_SECONDS = 0.05
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


@contextmanager
def output_lock(out: Path, part: Part | None) -> Iterator[bool]:
    """Own `out`, or one part of it, inside the context; gives False where the file system has no locks.

    A whole run excludes every other; parts of one division exclude whole runs, other divisions and
    themselves. Raises OutputCreateError if someone else is at work or the folder cannot be made.
    """
    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            whole = stack.enter_context(_opened(out / LOCK))
            if part is None:
                locked = _take(whole, fcntl.LOCK_EX)
            else:
                own = stack.enter_context(_opened(out / f".hirescam.part-{part.index}-of-{part.count}.lock"))
                locked = _share(whole, part.count) and _take(own, fcntl.LOCK_EX)
        except OSError as error:
            raise _refusal(error, out) from error
        yield locked


@contextmanager
def index_lock(out: Path, remaining: Callable[[], float | None]) -> Iterator[bool]:
    """Own the tables of `out`, which parts of a run rebuild, inside the context; waits for who does.

    `remaining`: seconds left to wait, None for any. Gives False where they ended; True without a lock where the
    file system has none. Raises OutputCreateError or OutputIOError.
    """
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(_opened(out / _INDEX_LOCK))
            held = _wait_for(descriptor, remaining)
        except OSError as error:
            raise _refusal(error, out) from error
        yield held


def _wait_for(descriptor: int, remaining: Callable[[], float | None]) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True
            if error.errno not in _BUSY:
                raise
            if remaining() == 0.0:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True


def _refusal(error: OSError, out: Path) -> HirescamError:
    """An output that is there already need not be created, only written to."""
    general = output_error(error, out.name)
    if not isinstance(general, OutputCreateError) or not out.is_dir():
        return general
    return OutputCreateError(
        f"The output folder {out.name or '.'} cannot be written to: {error.strerror or type(error).__name__}.",
        hint="Choose another --output, or have the permission to write there.",
        code="output-unwritable",
        stage="plan",
    )


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int) -> bool:
    """Take a lock without waiting; False where there are none, OutputCreateError if another holds it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            raise OutputCreateError(
                "Another run of hirescam is writing to this output folder.",
                hint="Wait for its end or choose another --output; --num-parts with --part-id share one.",
                code="output-locked",
                stage="plan",
            ) from error
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _share(descriptor: int, count: int) -> bool:
    """Share the output with the other parts of a division into `count`; the first writes `count` down."""
    if not _take(descriptor, fcntl.LOCK_SH):
        return False
    if _division(descriptor) == count:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        other = _division(descriptor)
        if other == count:
            return _take(descriptor, fcntl.LOCK_SH)
        raise OutputCreateError(
            f"Runs that divide their scans into {other} parts, not {count}, write to this output folder.",
            hint="Wait until they have ended, use the same --num-parts, or choose another --output.",
            code="output-locked",
            stage="plan",
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d" % count, 0)
    return _take(descriptor, fcntl.LOCK_SH)


def _division(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0)
    return int(text) if text.isdigit() else 0
