"""A finished case read back from its folder: its summary and its exact maps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ScanError
from hirescam_cli.output.publish import SUMMARY
from hirescam_cli.output.view import CaseView
from hirescam_cli.volume import Volume

_HINT = "Explain the scan again with --existing overwrite."


@dataclass(frozen=True, eq=False)
class FinishedCase:
    """`folder`: where it lies. `summary`: its document. `cams`: per method the signed maps [S, h, w, labels]."""

    folder: Path
    summary: Mapping[str, Any]
    cams: Mapping[str, NDArray[np.float32]]

    @property
    def name(self) -> str:
        """The case's name."""
        return str(self.summary["case"])

    def view(self, volume: Volume) -> CaseView:
        """What to draw from, with the scan that the case was made from; ScanError if it is another scan."""
        expected = self.summary["input"]["fingerprint"]
        if volume.provenance.fingerprint != expected:
            raise ScanError(
                f"The scan given is not the one of the case {self.name}: its fingerprint differs.",
                hint="Give the scan that the case was explained from.",
                code="other-scan",
                stage="render",
            )
        low, high = self.summary["network"]["hu_window"]
        return CaseView(
            volume=volume,
            summary=self.summary,
            cams=self.cams,
            affines_ras={
                name: np.asarray(m, dtype=np.float64) for name, m in self.summary["affines_ras"].items()
            },
            window_hu=(low, high),
        )


def load_case(folder: Path) -> FinishedCase:
    """Read a case folder; ScanError if it is no finished case, or its maps are not those that were published."""
    try:
        summary = json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(
            folder, f"its {SUMMARY} cannot be read", "Give the folder of a finished case."
        ) from error
    if not isinstance(summary, dict) or "schema_version" not in summary or "labels" not in summary:
        raise _unusable(folder, f"its {SUMMARY} is not hirescam's", "Give the folder of a finished case.")
    if summary["status"] != "ok":
        raise _unusable(folder, f"it failed ({summary['error']['code']})", _HINT)
    published = {output["path"]: output["sha256"] for output in summary["outputs"]}
    cams = {}
    for method in summary["labels"][0]["maps"]:
        name = f"{method}.cams.nii.gz"
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            raise _unusable(folder, f"its {name} cannot be read: {error.strerror}", _HINT) from error
        if hashlib.sha256(data).hexdigest() != published.get(name):
            raise _unusable(folder, f"its {name} is not the file that was published", _HINT)
        image: Any = nibabel.load(folder / name)
        cams[method] = np.asarray(image.dataobj, dtype=np.float32)
    return FinishedCase(folder, summary, cams)


def _unusable(folder: Path, why: str, hint: str) -> ScanError:
    return ScanError(
        f"The case {folder.name} cannot be used: {why}.", hint=hint, code="case-unusable", stage="render"
    )
