"""Where the files that ship with hirescam lie: inside the package when installed, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_root() -> Path:
    """Folder that holds `configs/` and `sample_data/`."""
    installed = _PACKAGE / "_data"
    return installed if installed.is_dir() else _PACKAGE.parent


def config_path(name: str) -> Path:
    """Path of the embedded model description `name`."""
    return resource_root() / "configs" / f"{name}.toml"


def config_names() -> list[str]:
    """Names of the embedded model descriptions, sorted."""
    return sorted(path.stem for path in (resource_root() / "configs").glob("*.toml"))


def sample_path(*parts: str) -> Path:
    """Path of an embedded sample file or folder."""
    return (resource_root() / "sample_data").joinpath(*parts)
