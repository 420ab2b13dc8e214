"""What a pulled series consists of: a hidden file in its folder, written last, so that a folder with one is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from hirescam_cli.durable import read_back

MANIFEST = ".hirescam-series.json"


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a series: its name, SHA-256 and size."""

    sop_instance_uid: str
    file: str
    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A series as the archive gave it. `url`: of the archive; `pulled`: when, ISO 8601."""

    schema_version: Literal[1] = 1
    url: str
    study_uid: str
    series_uid: str
    modality: str
    pulled: str
    instances: tuple[Instance, ...]

    @property
    def uids(self) -> frozenset[str]:
        """Its instances."""
        return frozenset(instance.sop_instance_uid for instance in self.instances)

    def damaged(self, folder: Path, verify: bool) -> list[Instance]:
        """The instances whose file in `folder` is not what it was: by size, and by content when verifying."""
        return [
            instance for instance in self.instances if not _holds(folder / instance.file, instance, verify)
        ]

    def encoded(self) -> bytes:
        """As JSON, one line for each instance."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none that can be understood."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, ValueError):
        return None


def _holds(path: Path, instance: Instance, verify: bool) -> bool:
    try:
        if path.stat().st_size != instance.bytes:
            return False
        return not verify or read_back(path).sha256 == instance.sha256
    except OSError:
        return False
