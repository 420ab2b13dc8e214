"""The file of regions: for each label the masks that allow evidence for it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from hirescam_cli.errors import NoInputError, UsageError


def read_regions(name: str, labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Per label the names of masks, with * and ?. Raises NoInputError, UsageError.

    [labels]
    nodule = ["lung_*"]
    "*" = ["body"]          # every label that is not named
    """
    path = Path(name)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NoInputError(
            f"The regions {path.name} cannot be read: {error.strerror}.", hint="Check the path."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"{path.name} is not a TOML file: {error}.", hint="Correct it.", code="regions"
        ) from error
    table = document.get("labels")
    if not isinstance(table, dict) or set(document) != {"labels"}:
        raise _wrong(path, "needs one table [labels], and nothing else")
    for label, names in table.items():
        if label != "*" and label not in labels:
            raise _wrong(path, f"names {label!r}, which the model does not have")
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(name, str) and name for name in names)
        ):
            raise _wrong(path, f"gives {label!r} {names!r}, expected a list of masks' names")
    missing = [label for label in labels if label not in table and "*" not in table]
    if missing:
        raise _wrong(path, f"does not name {missing[0]!r}")
    return {label: tuple(table[label if label in table else "*"]) for label in labels}


def _wrong(path: Path, what: str) -> UsageError:
    return UsageError(
        f"The regions {path.name}: it {what}.",
        hint='Write [labels] and a line such as nodule = ["lung_*"] for each label; "*" stands for all others.',
        code="regions",
    )
