"""One series from the archive into one folder, whole or not at all.

Instances gather in a hidden folder beside the final one, each a whole file; a later run goes on there. When the archive
lists nothing more that is missing, the manifest is written, all is synced and the folder renamed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from pydicom import dcmread

from hirescam_cli.durable import read_back, stem_of, sync_file, sync_tree, temporary_name, write_file
from hirescam_cli.pacs.archive import Archive, RefusedError
from hirescam_cli.pacs.manifest import MANIFEST, Instance, Manifest
from hirescam_cli.pacs.patience import Say

ROUNDS = 3
_SIGN_OF_LIFE_SECONDS = 30.0
_PROBLEMS_TOLD = 3


@dataclass(frozen=True)
class Names:
    """Names of folders and files from UIDs: themselves, or, with `hidden`, digests that tell nothing."""

    hidden: bool = False

    def of(self, uid: str) -> str:
        """The name for `uid`."""
        if not self.hidden:
            return uid
        from hashlib import sha256

        return sha256(uid.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Gathering:
    """A series being gathered: `final` is its folder to be."""

    archive: Archive
    study: str
    series: str
    final: Path
    names: Names
    say: Say

    @property
    def partial(self) -> Path:
        """Where it gathers: hidden, and the same in every run."""
        return self.final.with_name(f".{self.final.name}.hirescam-partial")

    def go_on_from(self, before: Manifest, verify: bool) -> None:
        """Take a folder that lacks something out of sight and go on with what is good of it. Raises OSError."""
        damaged = before.damaged(self.final, verify)
        shutil.rmtree(self.partial, ignore_errors=True)
        os.rename(self.final, self.partial)
        for instance in damaged:
            (self.partial / instance.file).unlink(missing_ok=True)

    def gather(self, listed: Iterable[str]) -> tuple[frozenset[str], list[str]]:
        """Fetch what is not here yet, and count again until the archive lists nothing new.

        Returns all instances that it lists, and what is in the way of a whole series. Raises OSError,
        OutputCreateError, OutputIOError, UnavailableError.
        """
        self.partial.mkdir(parents=True, exist_ok=True)
        wanted = frozenset(listed)
        for _ in range(ROUNDS):
            problems = self._fetch(wanted)
            again = wanted | self.archive.instances(self.study, self.series).keys()
            if again == wanted:
                return wanted, problems
            wanted = again
        return wanted, [*problems, "it was still growing when it was counted last"]

    def publish(self, url: str, modality: str, wanted: frozenset[str]) -> None:
        """Write the manifest and give the folder its name. Raises OSError, OutputCreateError, OutputIOError."""
        files = {self._file(uid): uid for uid in wanted}
        for entry in sorted(self.partial.iterdir()):
            if entry.name not in files:
                entry.unlink()
        instances = []
        for name, uid in sorted(files.items()):
            written = read_back(self.partial / name)
            instances.append(Instance(uid, name, written.sha256, written.size))
        manifest = Manifest(
            url=url,
            study_uid=self.study,
            series_uid=self.series,
            modality=modality,
            pulled=datetime.now(UTC).isoformat(timespec="seconds"),
            instances=tuple(instances),
        )
        write_file(self.partial / MANIFEST, manifest.encoded())
        sync_tree(self.partial)
        old = self.final.with_name(temporary_name(self.final.name, "old"))
        if self.final.exists():
            os.rename(self.final, old)
        os.rename(self.partial, self.final)
        sync_file(self.final.parent)
        # The series that was replaced, and what a run that was killed between two renames left of one.
        for entry in self.final.parent.glob(f".{stem_of(self.final.name)}.hirescam-*.old"):
            shutil.rmtree(entry, ignore_errors=True)

    def _file(self, uid: str) -> str:
        return f"{self.names.of(uid)}.dcm"

    def _fetch(self, wanted: frozenset[str]) -> list[str]:
        """Fetch the instances that are not here; what could not be had, in sentences."""
        missing = [uid for uid in sorted(wanted) if not (self.partial / self._file(uid)).is_file()]
        problems: list[str] = []
        said = time.monotonic()
        for number, uid in enumerate(missing):
            if time.monotonic() - said > _SIGN_OF_LIFE_SECONDS:
                self.say(f"{len(wanted) - len(missing) + number} of {len(wanted)} instances")
                said = time.monotonic()
            try:
                data = self.archive.retrieve(self.study, self.series, uid)
            except RefusedError as refused:
                problems.append(f"{self.names.of(uid)}: {refused.reason}")
                continue
            if instance_uid(data) != uid:
                problems.append(f"{self.names.of(uid)}: the archive sent something else")
                continue
            write_file(self.partial / self._file(uid), data)
        return problems


def instance_uid(data: bytes) -> str | None:
    """The SOP Instance UID of an encoded object; None where it is not DICOM."""
    try:
        found = dcmread(BytesIO(data), stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        return str(found.SOPInstanceUID)
    except Exception:
        # pydicom raises errors of many kinds for damaged data, and each means the same here.
        return None


def first_of(problems: list[str]) -> str:
    """The first problems as one text."""
    more = len(problems) - _PROBLEMS_TOLD
    return "; ".join(problems[:_PROBLEMS_TOLD]) + (f"; and {more} more" if more > 0 else "")
