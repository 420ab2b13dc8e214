"""Starting Python processes of our own that search the installation for modules, and never the working folder.

A `numpy.py` in the folder that a user happens to stand in must neither break a run nor be executed by it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGES = str(Path(__file__).resolve().parents[1])


def child_environment() -> dict[str, str]:
    """This process's environment, its PYTHONPATH without entries that depend on the working folder.

    Where the package itself was found by such an entry or by the working folder (a checkout that is not
    installed), its folder is named, so that a child finds the same package.
    """
    environ = dict(os.environ)
    given = environ.pop("PYTHONPATH", "").split(os.pathsep)
    paths = [path for path in given if Path(path).is_absolute()]
    if _PACKAGES not in paths:
        paths.append(_PACKAGES)
    return environ | {"PYTHONPATH": os.pathsep.join(paths)}


def child_command(code: str, *arguments: str) -> list[str]:
    """The command that runs `code` with `arguments` in a Python that does not search the working folder."""
    return [sys.executable, "-P", "-c", code, *arguments]
