"""Volumes in two files of one name, as NIfTI and ANALYZE have them: `.hdr` and `.img`, either gzipped or not."""

from __future__ import annotations

from pathlib import Path

_ENDINGS = (".hdr", ".hdr.gz", ".img", ".img.gz")


def is_pair_name(path: Path) -> bool:
    """Whether a file is by its name the header or the voxels of a pair."""
    return path.name.lower().endswith(_ENDINGS)


def is_header_name(path: Path) -> bool:
    """Whether a file is by its name the header of a pair."""
    return path.name.lower().endswith(_ENDINGS[:2])


def pair_of(path: Path) -> tuple[Path, ...]:
    """Header and voxels of the pair that the file at `path` belongs to, or `path` alone if it has no partner."""
    ending = next((end for end in _ENDINGS if path.name.lower().endswith(end)), None)
    if ending is None or len(path.name) == len(ending):
        return (path,)
    other = next((partner for partner in _partners(path, ending) if partner.is_file()), None)
    if other is None:
        return (path,)
    return (path, other) if ending.startswith(".hdr") else (other, path)


def _partners(path: Path, ending: str) -> list[Path]:
    """Where the `.img` of a `.hdr` (or the reverse) may be, the likeliest first."""
    stem = path.name[: -len(ending)]
    ends = (".img", ".img.gz", ".IMG") if ending.startswith(".hdr") else (".hdr", ".hdr.gz", ".HDR")
    if ending.endswith(".gz"):
        ends = (ends[1], ends[0], ends[2])
    return [path.with_name(stem + end) for end in ends]
