"""Values of options that are no text of a command line: from a project file, or from Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from hirescam_cli.errors import UsageError
from hirescam_cli.options import Option, Value, options_of

Record = TypeVar("Record")

_EXPECTED = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path in quotes",
}


def made(record: type[Record], values: Mapping[str, Any], **more: object) -> Record:
    """A record whose fields are options, from values by the options' names; the others keep their defaults."""
    found = {name: values[option.name] for name, option in options_of(record) if option.name in values}
    return record(**found, **more)


def typed(option: Option, value: object) -> Value:
    """`value` as the option's type, checked as everywhere. Raises UsageError with the line to write instead."""
    found = _converted(option, value)
    if found is None and not (value is None and option.default is None):
        expected = _EXPECTED[option.kind]
        if option.several:
            expected = f"{expected}, or a list of them"
        raise UsageError(
            f"--{option.name} is {value!r}, expected {expected}.",
            hint=f"Write {line(option, None)}",
            code=option.code,
        )
    option.check(found)
    return found


def _converted(option: Option, value: object) -> Value:
    """The value, None where it is of another type."""
    if option.several:
        return _paths(value) if option.kind is Path else _words(value)
    if isinstance(value, bool):
        return value if option.kind is bool else None
    if option.kind is Path:
        return Path(value) if isinstance(value, str | Path) else None
    if option.kind is float:
        return float(value) if isinstance(value, int | float) else None
    if option.kind is int:
        return value if isinstance(value, int) else None
    return value if option.kind is str and isinstance(value, str) else None


def _words(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        return None
    return tuple(dict.fromkeys(word.strip() for word in value if word.strip()))


def _paths(value: object) -> tuple[Path, ...] | None:
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(map(Path, values)) if all(isinstance(path, str | Path) for path in values) else None


def line(option: Option, value: object) -> str:
    """How a project file sets an option: to `value`, or where that is of the wrong type to an example."""
    good = None if value is None else _converted(option, value)
    return f"{option.name} = {_toml(_example(option) if good is None else good)}"


def _example(option: Option) -> Value:
    if option.several and not option.default:
        return (option.metavar or "NAME",)
    if option.default is not None:
        return option.default
    if option.choice is not None:
        return option.choice.shown[0]
    return {int: 1, float: 0.5, bool: True}.get(option.kind, option.metavar or "NAME")


def _toml(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(json.dumps(str(item), ensure_ascii=False) for item in value)}]"
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
