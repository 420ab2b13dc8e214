"""Case names of DICOM series: folders and, where one holds several volumes, the series UID; no other tag."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from hirescam_cli.identifiers import Identifiers, told_uid


def series_label(series_uid: str | None, identifiers: Identifiers) -> str:
    """How names call a series: its UID, or a hash of it where it must not be told or is not valid."""
    if series_uid is None:
        return "series-without-uid"
    return (
        told_uid(series_uid, identifiers) or "series-" + hashlib.sha256(series_uid.encode()).hexdigest()[:8]
    )


def common_folder(folders: Sequence[PurePosixPath]) -> PurePosixPath:
    """The innermost folder that holds all of `folders`."""
    shared = folders[0].parts
    for folder in folders[1:]:
        length = 0
        while length < min(len(shared), len(folder.parts)) and shared[length] == folder.parts[length]:
            length += 1
        shared = shared[:length]
    return PurePosixPath(*shared)


@dataclass(frozen=True)
class SeriesPlace:
    """What a series' name is made of: its folder relative to the INPUT, UID, number of volumes."""

    folder: PurePosixPath
    series_uid: str | None
    volumes: int


def case_names(places: Sequence[SeriesPlace], own_name: str, identifiers: Identifiers) -> list[list[str]]:
    """The case names of each series' volumes, all different.

    A series alone in its folder is named after the folder (`own_name` where that is the INPUT itself); with
    others in it or below it, after folder and series; a series of several volumes after folder, series and the
    volume's number from 1.
    """
    folders = [own_name if place.folder == PurePosixPath(".") else str(place.folder) for place in places]
    alone, holding = Counter(folders), parents_of(folders)
    taken: Counter[str] = Counter()
    names = []
    for place, folder in zip(places, folders, strict=True):
        label = f"{folder}/{series_label(place.series_uid, identifiers)}"
        if place.volumes > 1:
            bases = [f"{label}-{number}" for number in range(1, place.volumes + 1)]
        else:
            bases = [folder if alone[folder] == 1 and folder not in holding else label]
        names.append([_free(base, taken) for base in bases])
    return names


def parents_of(names: Iterable[str]) -> frozenset[str]:
    """Every folder, as a POSIX path, in which one of the paths `names` lies."""
    return frozenset(str(parent) for name in names for parent in PurePosixPath(name).parents)


def _free(base: str, taken: Counter[str]) -> str:
    """`base`, or `base~2`, ... where it is taken already (two hashes, or a zip and a folder of one name)."""
    taken[base] += 1
    return base if taken[base] == 1 else f"{base}~{taken[base]}"
