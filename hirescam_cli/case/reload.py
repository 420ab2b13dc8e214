"""A finished case read back from its folder: its record and its exact maps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.listing import read_case
from hirescam_cli.case.publish import SUMMARY
from hirescam_cli.case.record import Case, FailedCase
from hirescam_cli.case.view import CaseView
from hirescam_cli.errors import ScanError
from hirescam_cli.volume import Volume

_HINT = "Explain the scan again with --existing overwrite."


@dataclass(frozen=True, eq=False)
class FinishedCase:
    """`folder`: where it lies. `cams`: per method the signed maps [i, j, k, labels]."""

    folder: Path
    case: Case
    cams: Mapping[str, NDArray[np.float32]]

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.case

    def view(self, volume: Volume) -> CaseView:
        """What to draw from, with the scan that the case was made from; ScanError if it is another scan."""
        if volume.provenance.fingerprint != self.case.input.fingerprint:
            raise ScanError(
                f"The scan given is not the one of the case {self.name}: its fingerprint differs.",
                hint="Give the scan that the case was explained from.",
                code="other-scan",
                stage="render",
            )
        return CaseView(volume, self.case, self.cams)


def load_case(folder: Path) -> FinishedCase:
    """Read a case folder; ScanError if it is not a finished case, or its maps are not those that were published."""
    case = read_case(folder, folder.name)
    if case is None:
        raise _unusable(folder, f"it has no {SUMMARY} of hirescam", "Give the folder of a finished case.")
    if isinstance(case, FailedCase):
        raise _unusable(folder, f"it failed ({case.error.code})", case.error.hint or _HINT)
    cams = {}
    published = {output.method: output for output in case.outputs if output.role == "cams"}
    for method in case.methods:
        name = published[method].path if method in published else f"{method}.cams.nii.gz"
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise _unusable(folder, f"its {name} cannot be read: {error.strerror}", _HINT) from error
        if method not in published or hashlib.sha256(data).hexdigest() != published[method].sha256:
            raise _unusable(folder, f"its {name} is not the file that was published", _HINT)
        image = nibabel.load(folder / name)
        cams[method] = np.asarray(image.dataobj, dtype=np.float32)
    return FinishedCase(folder, case, cams)


def _unusable(folder: Path, why: str, hint: str) -> ScanError:
    return ScanError(
        f"The case {folder.name} cannot be used: {why}.", hint=hint, code="case-unusable", stage="render"
    )
