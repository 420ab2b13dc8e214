"""Options of the command line as keywords: the same names with underscores, the same checks."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TypeVar

from hirescam_cli.errors import UsageError
from hirescam_cli.option_values import typed
from hirescam_cli.options import BY_NAME, Value, options_of

Record = TypeVar("Record")


def path_given(function: str, what: str, value: object) -> Path:
    """A path that a call got. Raises UsageError for anything else."""
    if not isinstance(value, str | PathLike) or isinstance(os.fspath(value), bytes):
        raise UsageError(
            f"{function}() got {value!r} as {what}, expected a path.", hint="Give text or a pathlib.Path."
        )
    return Path(value)


def record_given(function: str, record: type[Record], value: object) -> Record | None:
    """A record of options that a call got, or None. Raises UsageError for anything else."""
    if value is not None and not isinstance(value, record):
        raise UsageError(
            f"{function}() got {value!r} as {record.__name__}.",
            hint="Give options by name, such as method='gradcam', or such a record.",
        )
    return value


def by_name(function: str, named: Mapping[str, object], *records: type) -> dict[str, Value]:
    """Keywords as options of `records`, by the option's name.

    Raises UsageError for a keyword that none of them has, or a value that its option cannot have.
    """
    known = {
        option.name.replace("-", "_"): option.name for record in records for _, option in options_of(record)
    }
    for keyword in named:
        if keyword not in known:
            near = difflib.get_close_matches(keyword, known, 1) or sorted(known)
            raise UsageError(
                f"{function}() has no option {keyword!r}.",
                hint=f"{'Did you mean' if len(near) == 1 else 'Known are'} {', '.join(near)}?",
            )
    return {known[keyword]: typed(BY_NAME[known[keyword]], value) for keyword, value in named.items()}
