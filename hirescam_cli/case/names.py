"""File names inside a case folder."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RESERVED = {"cams", ""}


def label_slugs(labels: Sequence[str]) -> dict[str, str]:
    """For each label a name that is safe in any file system and different from all others, in any case.

    Letters, digits, `_` and `-` stay; anything else becomes `_`; clashes get the label's position appended.
    """
    slugs: dict[str, str] = {}
    taken: set[str] = set()
    for index, label in enumerate(labels):
        slug = re.sub(r"[^A-Za-z0-9_-]", "_", label)[:80]
        while slug.lower() in _RESERVED or slug.lower() in taken:
            slug = f"{slug}_{index}"
        taken.add(slug.lower())
        slugs[label] = slug
    return slugs
