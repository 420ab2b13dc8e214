"""Headers of NRRD and MetaImage files."""

from __future__ import annotations

from pathlib import Path


def data_file(_path: Path) -> str | None:
    """Name of the file of voxels that a detached header points to, if any."""
    return None
