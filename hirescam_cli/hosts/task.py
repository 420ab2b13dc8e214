"""Settings that a host writes into a file beside the scans: options by their names, checked like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hirescam_cli.errors import UsageError
from hirescam_cli.options import BY_NAME, Option, Value

OURS = "hirescam"


def read_settings(path: Path, allowed: Sequence[str]) -> dict[str, Value]:
    """The options that mercure's task.json gives at process.settings, or in the table `hirescam` there.

    Raises UsageError for an unreadable file, an unknown option, or a value of another type.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be read as JSON.", hint="The host writes it.", code="task"
        ) from error
    settings = _settings(path, document)
    own = settings.get(OURS)
    if isinstance(own, Mapping):
        settings = own
    return {
        name: _value(path, name, value, allowed)
        for name, value in ((str(key).replace("_", "-"), value) for key, value in settings.items())
    }


def _settings(path: Path, document: object) -> Mapping[object, object]:
    """process.settings; of several processing steps that of the module named after us."""
    process = document.get("process") if isinstance(document, Mapping) else None
    if isinstance(process, list):
        ours = [
            one for one in process if isinstance(one, Mapping) and OURS in str(one.get("module_name", ""))
        ]
        steps = process if len(process) == 1 else ours
        if len(steps) != 1:
            raise UsageError(
                f"{path} describes {len(process)} processing steps, and it is not clear which is this one.",
                hint="Name one module, and no other, so that its name holds 'hirescam'.",
                code="task",
            )
        process = steps[0]
    settings = process.get("settings") if isinstance(process, Mapping) else None
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise UsageError(
            f"process.settings of {path} is not a table.", hint="Write option: value.", code="task"
        )
    return settings


def _value(path: Path, name: str, value: object, allowed: Sequence[str]) -> Value:
    if name not in allowed:
        raise UsageError(
            f"{path} sets {name!r}, which is not an option.",
            hint=f"Options: {', '.join(sorted(allowed))}.",
            code="task",
        )
    option = BY_NAME[name]
    found = _typed(option, value)
    if found is None and not (value is None and option.default is None):
        raise UsageError(
            f"{path} sets {name} to {json.dumps(value)[:80]}, expected {_expected(option)}.",
            hint="Correct the module's or the rule's settings.",
            code="task",
        )
    option.check(found)
    return found


def _typed(option: Option, value: object) -> Value:
    """The value as the option's type; None where it has another."""
    if option.several:
        values = value.split(",") if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            return None
        words = dict.fromkeys(one.strip() for one in values if one.strip())
        return tuple(Path(word) for word in words) if option.kind is Path else tuple(words)
    if option.kind is bool or isinstance(value, bool):
        return value if option.kind is bool and isinstance(value, bool) else None
    if option.kind is float and isinstance(value, int | float):
        return float(value)
    if option.kind is int and isinstance(value, int):
        return value
    if option.kind in (str, Path) and isinstance(value, str):
        return Path(value) if option.kind is Path else value
    return None


def _expected(option: Option) -> str:
    names = {str: "text", Path: "a path", int: "a whole number", float: "a number", bool: "true or false"}
    return "a list of words" if option.several else names[option.kind]
