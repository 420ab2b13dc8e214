"""A place to write for libraries that expect a home: containers run as any user, on a read-only file system."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hirescam_cli.durable import output_error

_FOLDER = ".hirescam-scratch"


@contextmanager
def scratch(out: Path) -> Iterator[None]:
    """Point temporary files and caches into a folder below `out`, removed afterwards, where the usual places cannot be
    written to.

    To be entered before the libraries are loaded. Raises OutputCreateError where `out` cannot be written.
    """
    folder = out / _FOLDER
    wanted = {} if _has_temporary() else {"TMPDIR": folder}
    if not os.environ.get("MPLCONFIGDIR") and not _has_home():
        wanted["MPLCONFIGDIR"] = folder / "matplotlib"
    before = {name: os.environ.get(name) for name in wanted}
    try:
        for path in wanted.values():
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, _FOLDER) from error
    os.environ.update({name: str(path) for name, path in wanted.items()})
    tempfile.tempdir = None
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        tempfile.tempdir = None
        if wanted:
            shutil.rmtree(folder, ignore_errors=True)


def _has_temporary() -> bool:
    """Whether temporary files can be made somewhere else than in the working folder."""
    try:
        return Path(tempfile.gettempdir()) != Path.cwd()
    except OSError:
        return False


def _has_home() -> bool:
    try:
        home = Path.home()
    except RuntimeError:
        return False
    return home.is_dir() and os.access(home, os.W_OK)
