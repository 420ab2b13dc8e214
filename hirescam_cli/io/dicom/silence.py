"""Libraries that would say too much: pydicom and GDCM tell contents of tags, which may identify a patient, and the
JPEG codecs in GDCM write to the C library's stderr. What they write can be asked for: some tell only there that an
image is damaged.

All of this is state of the whole process. So it is changed by the first thread that asks for silence and put back by
the last one; the file descriptor 2, to which others write too, is never touched.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import gdcm
from pydicom import config

Result = TypeVar("Result")

_LOCK = threading.Lock()
_LISTENING = threading.RLock()
_C_STDERR = ("stderr", "__stderrp")


class _Ear:
    """A C stream into memory, put in the place of the C library's `stderr`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._text = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        library.open_memstream.restype = ctypes.c_void_p
        for function in (library.rewind, library.fflush, library.fclose):
            function.argtypes = [ctypes.c_void_p]
        self.stream = library.open_memstream(ctypes.byref(self._text), ctypes.byref(self._size))

    def forget(self) -> None:
        """Begin anew."""
        self._library.rewind(self.stream)
        self._size.value = 0

    def heard(self) -> bytes:
        """What was printed since `forget`."""
        self._library.fflush(self.stream)
        return ctypes.string_at(self._text, self._size.value)

    def close(self) -> None:
        """Give the memory back."""
        self._library.fclose(self.stream)
        self._library.free.argtypes = [ctypes.c_void_p]
        self._library.free(self._text)


class _Silence:
    """How many are silent now, how it was before, and what listens meanwhile."""

    def __init__(self) -> None:
        self.depth = 0
        self.ear: _Ear | None = None
        self.before = ExitStack()

    def begin(self) -> None:
        logger, settings = logging.getLogger("pydicom"), config.settings
        disabled, mode = logger.disabled, settings.reading_validation_mode
        gdcm.Trace.WarningOff()
        gdcm.Trace.ErrorOff()
        gdcm.Trace.DebugOff()
        logger.disabled = True
        self.before.callback(setattr, logger, "disabled", disabled)
        settings.reading_validation_mode = config.IGNORE
        self.before.callback(setattr, settings, "reading_validation_mode", mode)
        self.before.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        self.ear = self.before.enter_context(_c_stderr_to_memory())
        self.before.callback(setattr, self, "ear", None)


_SILENCE = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom, GDCM and its codecs from writing to stderr, the log or as Python warnings. For several threads."""
    with _LOCK:
        if _SILENCE.depth == 0:
            _SILENCE.begin()
        _SILENCE.depth += 1
    try:
        yield
    finally:
        with _LOCK:
            _SILENCE.depth -= 1
            if _SILENCE.depth == 0:
                _SILENCE.before.close()


def printed_by(work: Callable[[], Result]) -> tuple[Result, bytes]:
    """What `work` returns, and what C code printed to its `stderr` meanwhile. Call it within `quiet`.

    Nothing is heard where the C library has no symbol for that stream.
    """
    with _LISTENING:
        ear = _SILENCE.ear
        if ear is None:
            return work(), b""
        ear.forget()
        return work(), ear.heard()


@contextmanager
def _c_stderr_to_memory() -> Iterator[_Ear | None]:
    """Inside, what C code prints to its `stderr` goes to an ear; where there is no such symbol, it is seen."""
    library = ctypes.CDLL(None)
    found = next((name for name in _C_STDERR if hasattr(library, name)), None)
    if found is None or not hasattr(library, "open_memstream"):
        yield None
        return
    ear = _Ear(library)
    if not ear.stream:
        yield None
        return
    stderr = ctypes.c_void_p.in_dll(library, found)
    kept = stderr.value
    stderr.value = ear.stream
    try:
        yield ear
    finally:
        stderr.value = kept
        ear.close()
