"""INPUT arguments: paths, and lists on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.io.scan import InputPath

_BYTE_ORDER_MARK = "\ufeff"


def parse_inputs(arguments: Sequence[str], stdin: Iterable[str] | None = None) -> list[InputPath]:
    """The INPUTs of a command; `-` reads lines of `path` or `id=path` from standard input.

    Raises NoInputError for an argument that does not exist, or a list of which nothing exists or that is empty;
    UsageError for a line with an empty part.
    """
    found: list[InputPath] = []
    for argument in arguments:
        if argument == "-":
            found += _listed(sys.stdin if stdin is None else stdin)
        else:
            found.append(InputPath(Path(argument)))
    missing = [(item, reason) for item in found if (reason := item.why_unreachable())]
    for item, reason in missing:
        if not item.listed or len(missing) == len(found):
            raise NoInputError(
                f"{item.path} {reason}.",
                hint="Check the path; an INPUT is a file, a folder, or - for a list.",
            )
    return found


def _listed(lines: Iterable[str]) -> list[InputPath]:
    found = []
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(_BYTE_ORDER_MARK).strip()
        if not text or text.startswith("#"):
            continue
        case, separator, path = text.partition("=")
        if separator and InputPath(Path(text)).why_unreachable():
            if not case.strip() or not path.strip():
                raise UsageError(
                    f"Line {number} of the list is {text!r}.", hint="Write path or id=path on each line."
                )
            found.append(InputPath(Path(path.strip()), case.strip(), listed=True))
        else:
            found.append(InputPath(Path(text), listed=True))
    if not found:
        raise NoInputError("The list on standard input is empty.", hint="Write path or id=path on each line.")
    return found
