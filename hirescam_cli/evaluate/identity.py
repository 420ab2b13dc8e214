"""Whether an evaluation is done: what its result depends on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hirescam_cli import __version__
from hirescam_cli.evaluate.gather import finished_cases
from hirescam_cli.evaluate.options import EvaluateOptions
from hirescam_cli.evaluate.regions import Region


def below(path: Path, root: Path) -> str:
    """A path relative to a folder; its name where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def hash_of(document: Mapping[str, object]) -> str:
    """SHA-256 over plain data."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, allow_nan=False).encode()).hexdigest()


def inputs_hash(runs: Sequence[Path], options: EvaluateOptions, regions: Sequence[Region]) -> str:
    """Over all that decides the result: cases by what made them, masks and tables by name, size and time of change."""
    cases = [
        [(one.folder, one.case.run.params_hash, one.case.input.fingerprint) for one in finished_cases(run)[1]]
        for run in runs
    ]
    files: list[tuple[str, int, int]] = []
    for root in (options.masks, options.mask_labels, options.truth, _group_file(options)):
        if root is not None:
            files += _listing(root)
    return hash_of(
        {
            "version": __version__,
            "options": options.identity(),
            "regions": [(region.name, region.masks) for region in regions],
            "group": (options.group or "").rpartition(":")[2],
            "cases": cases,
            "files": files,
        }
    )


def _group_file(options: EvaluateOptions) -> Path | None:
    return Path(options.group.rpartition(":")[0]) if options.group else None


def _listing(root: Path) -> list[tuple[str, int, int]]:
    paths = [root] if root.is_file() else sorted(Path(d) / f for d, _, files in os.walk(root) for f in files)
    return [
        (below(path, root), status.st_size, status.st_mtime_ns)
        for path, status in ((path, path.stat()) for path in paths)
    ]
