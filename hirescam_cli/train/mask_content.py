"""What a training's masks are, wherever they lie: so that it is not resumed with others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from hirescam_cli.durable import read_back
from hirescam_cli.io.formats import promised_format
from hirescam_cli.masks.collection import CaseMasks, MaskCollection
from hirescam_cli.masks.image import kind_of
from hirescam_cli.masks.sources import MaskSource
from hirescam_cli.train.allowed import AllowedCells, case_name
from hirescam_cli.train.table import Row


def masks_sha256(found: AllowedCells, rows: Sequence[Row]) -> str:
    """Hash of the masks that say where evidence of some scans is allowed: scan, name and content of each.

    Folders and names of files have no part in it, and neither have masks that no label of these scans asks for.
    """
    content = cache(_content)
    told = [[row.id, name, content(source.path)] for row in rows for name, source in _used(found, row)]
    return hashlib.sha256(json.dumps(sorted(told)).encode()).hexdigest()


def _used(found: AllowedCells, row: Row) -> Iterator[tuple[str, MaskSource]]:
    """The masks of a scan that one of its positive labels asks for, with their names."""
    case = case_name(row)
    masks = found.collection.of(case)
    places = [place for place, value in enumerate(row.truth) if value == 1.0 and found.marks(row, place)]
    if masks is None or not places:
        return
    for name, source in masks.sources.items():
        alone = replace(found, collection=MaskCollection({case: CaseMasks({name: source})}))
        if any(alone.marks(row, place) for place in places):
            yield name, source


def _content(path: Path) -> tuple[str, ...]:
    """Size and SHA-256 of a mask's file, and of the voxels' file of a detached header."""
    entry = promised_format(path.name) if kind_of(path) else None
    told: list[str] = []
    for file in (path,) if entry is None else entry.files(path):
        try:
            written = read_back(file)
        except OSError as error:
            # That it cannot be read is said when its scan is.
            told.append(str(error.strerror))
        else:
            told += [str(written.size), written.sha256]
    return tuple(told)
