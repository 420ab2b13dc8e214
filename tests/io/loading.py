"""Finding and reading one file, for tests: its volume, its refusal, the codes of its warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hirescam_cli.errors import ScanError
from hirescam_cli.io import Discovery, InputPath, ReadOptions, discover, read
from hirescam_cli.volume import Volume


def load(path: Path, **options: Any) -> Volume:
    chosen = ReadOptions(**options)
    (scan,) = discover([InputPath(path)], chosen).scans
    return read(scan, chosen)


def refused(path: Path, **options: Any) -> ScanError:
    with pytest.raises(ScanError) as caught:
        load(path, **options)
    assert caught.value.hint
    assert path.name in caught.value.message
    assert str(path.parent) not in str(caught.value)
    return caught.value


def codes(volume: Volume) -> list[str]:
    return [warning.code for warning in volume.provenance.warnings]


def find(*paths: Path | InputPath, **options: str) -> Discovery:
    inputs = [path if isinstance(path, InputPath) else InputPath(path) for path in paths]
    return discover(inputs, ReadOptions(), **options)  # type: ignore[arg-type]


def cases(found: Discovery) -> dict[str, str]:
    return {scan.case: scan.kind for scan in found.scans}


def reasons(found: Discovery) -> dict[str, str]:
    for item in found.ignored:
        assert item.reason.startswith(item.name)
        assert item.reason.endswith(".")
    return {item.name: item.code for item in found.ignored}
