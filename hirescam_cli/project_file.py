"""A project file: options in TOML, one a line, by the names of the command line. It is read only when it is named.

    method = ["hirescam", "gradcam"]
    labels = "top:5"
    weights = "weights/epoch23"

Relative paths are looked up beside the file.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path

from hirescam_cli.errors import UsageError
from hirescam_cli.option_values import line, typed
from hirescam_cli.options import BY_NAME, Option, Value

_KNOWN = [name for name in BY_NAME if name != "config"]


def read_project_file(path: Path) -> dict[str, Value]:
    """The options that a file sets, by name. Raises UsageError that names file and key, and says what to write."""
    try:
        values = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise UsageError(
            f"The project file {path} cannot be read: {error.strerror}.",
            hint="Correct --config or HIRESCAM_CONFIG.",
            code="project-file",
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{path.name} is not TOML: {error}.",
            hint=f"Write an option a line, such as {line(BY_NAME['method'], None)}",
            code="project-file",
        ) from error
    return {key: _value(path, key, value) for key, value in values.items()}


def _value(path: Path, key: str, value: object) -> Value:
    if key not in _KNOWN:
        raise UsageError(f"{path.name}: unknown key {key!r}.", hint=_instead(key, value), code="project-file")
    option = BY_NAME[key]
    try:
        return _beside(path, option, typed(option, value))
    except UsageError as error:
        raise UsageError(f"{path.name}: {error.message}", hint=error.hint, code=error.code) from error


def _instead(key: str, value: object) -> str:
    near = difflib.get_close_matches(key.replace("_", "-").lower(), _KNOWN, 1)
    if isinstance(value, dict):
        return f"Options stand at the top of the file, in no [table]; known are {', '.join(_KNOWN)}."
    return f"Write {line(BY_NAME[near[0]], value)}" if near else f"Known keys: {', '.join(_KNOWN)}."


def _beside(file: Path, option: Option, value: Value) -> Value:
    """Paths in a file are relative to it."""
    if isinstance(value, tuple) and option.kind is Path:
        return tuple(file.parent / path for path in value)
    if isinstance(value, Path):
        return file.parent / value
    if option.name == "model" and isinstance(value, str) and value.endswith(".toml"):
        return str(file.parent / value)
    return value
