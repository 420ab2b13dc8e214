"""Libraries that would say too much: pydicom and GDCM tell contents of tags, which may identify a patient, and the
JPEG codecs in GDCM write to the C library's stderr.

All of this is state of the whole process. So it is changed by the first thread that asks for silence and put back by
the last one; the file descriptor 2, to which others write too, is never touched.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import gdcm
from pydicom import config

_LOCK = threading.Lock()
_C_STDERR = ("stderr", "__stderrp")


class _Silence:
    """How many are silent now, and how it was before."""

    def __init__(self) -> None:
        self.depth = 0
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
        self.before.enter_context(_c_stderr_to_nowhere())


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


@contextmanager
def _c_stderr_to_nowhere() -> Iterator[None]:
    """Inside, what C code prints to its `stderr` goes nowhere; where there is no such symbol, it is seen."""
    library = ctypes.CDLL(None)
    found = next((name for name in _C_STDERR if hasattr(library, name)), None)
    if found is None:
        yield
        return
    library.fopen.restype = ctypes.c_void_p
    library.fclose.argtypes = [ctypes.c_void_p]
    nowhere = library.fopen(os.devnull.encode(), b"w")
    stderr = ctypes.c_void_p.in_dll(library, found)
    kept = stderr.value
    if nowhere:
        stderr.value = nowhere
    try:
        yield
    finally:
        stderr.value = kept
        if nowhere:
            library.fclose(nowhere)
