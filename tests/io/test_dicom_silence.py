"""Silence for pydicom and GDCM: for several threads, without touching the descriptor that others write to."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import warnings
from pathlib import Path

import pytest
from pydicom import config

from hirescam_cli.io.dicom.silence import printed_by, quiet


def state() -> tuple[object, ...]:
    return (
        logging.getLogger("pydicom").disabled,
        config.settings.reading_validation_mode,
        list(warnings.filters),
        warnings.showwarning,
    )


def test_the_first_in_and_the_last_out_decide() -> None:
    """Two threads that overlap, and leave in the order in which they came."""
    before = state()
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def other() -> None:
        with quiet():
            entered.set()
            leave.wait(10)
        left.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(10)
    with quiet():
        leave.set()
        assert left.wait(10)
        assert logging.getLogger("pydicom").disabled
        assert config.settings.reading_validation_mode == config.IGNORE
    thread.join()
    assert state() == before


def test_it_ends_with_an_exception_too() -> None:
    before = state()
    with pytest.raises(KeyError), quiet():
        raise KeyError
    assert state() == before


def say(text: bytes) -> None:
    """Print as C code does."""
    library = ctypes.CDLL(None)
    library.fputs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.fflush.argtypes = [ctypes.c_void_p]
    stream = ctypes.c_void_p.in_dll(library, "stderr")
    library.fputs(text, stream)
    library.fflush(stream)


def test_what_c_code_prints_can_be_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        say(b"before")
        assert printed_by(lambda: say(b"one\n") or 1) == (1, b"one\n")  # type: ignore[func-returns-value]
        assert printed_by(lambda: 2) == (2, b"")
        with quiet():
            assert printed_by(lambda: say(b"x" * 100_000)) == (None, b"x" * 100_000)
        assert printed_by(lambda: say(b"two")) == (None, b"two")
    with quiet():
        assert printed_by(lambda: 3) == (3, b"")
    assert printed_by(lambda: 4) == (4, b"")
    assert capfd.readouterr() == ("", "")


def test_c_code_is_silent_and_everybody_else_is_heard(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchanged(*_: object) -> None:
        raise AssertionError("file descriptors are not exchanged")

    with monkeypatch.context() as patched, quiet():
        patched.setattr(os, "dup2", exchanged)
        say(b"a codec's complaint\n")
        os.write(2, b"from another thread\n")
    say(b"after it\n")
    assert capfd.readouterr().err == "from another thread\nafter it\n"


def test_no_descriptors_are_left_open() -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc")
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        with quiet():
            pass
    assert len(list(descriptors.iterdir())) == before
