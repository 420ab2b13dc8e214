"""What the tests of pipeline share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.case import record
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.pipeline import (
    Session,
    explain_prepared,
    read_case,
    write_case,
)
from hirescam_cli.settings import Settings
from tests.geometry.worlds import reordered

MODEL = """
name = "tiny"
intended_use = "tests"
architecture = "axialnet"
parameters = { trunk_width = 2, head_channels = [6, 5, 4, 4] }
labels = { names = ["nodule", "mass", "pleural effusion", "fibrosis", "cyst"], threshold = 0.5 }
weights = { file = "tiny.safetensors" }
explanation = { target_layer = "conv2d.7" }
"""


SPACING = (6.0, 7.0, 5.5)


ORIGIN_LPS = (-150.0, -140.0, -40.0)


BOTH = ("hirescam", "gradcam")


@dataclass(frozen=True)
class Case:
    """A finished case folder."""

    folder: Path
    record: record.Case

    def overlay(self, method: str, name: str) -> Any:
        (found,) = self.record.outputs_of(method, name, "overlay")
        return nibabel.load(self.folder / found.path)

    @property
    def document(self) -> dict[str, Any]:
        """summary.json as any reader of JSON sees it."""
        document: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return document

    def drawn(self, method: str) -> list[str]:
        """Labels that have an overlay, in the model's order."""
        drawn = {o.label for o in self.record.outputs if o.role == "overlay" and o.method == method}
        return [label.name for label in self.record.labels if label.name in drawn]

    def cams(self, method: str) -> Any:
        return nibabel.load(self.folder / f"{method}.cams.nii.gz")


def save_nifti(path: Path, array: NDArray[Any], affine: Affine) -> Path:
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)
    return path


def run(session: Session, source: Path, out: Path, settings: Settings | None = None) -> Case:
    settings = settings or session.settings
    (scan,) = discover([InputPath(source)], ReadOptions()).scans
    out.mkdir()
    prepared = read_case(scan, session.facts.spec, settings)
    return Case(out, write_case(out, session.facts, prepared, explain_prepared(session, prepared), settings))


def check_same_case(found: Case, base: Case, codes: str) -> None:
    """Equal numbers, equal maps in the same place, and overlays that agree voxel by voxel in the world."""
    for ours, theirs in zip(found.document["labels"], base.document["labels"], strict=True):
        assert ours["logit"] == theirs["logit"]
        assert ours["slice_scores"] == theirs["slice_scores"]
        for method in BOTH:
            for key in ("sum", "residual", "padding_share"):
                assert ours["maps"][method][key] == pytest.approx(
                    theirs["maps"][method][key], rel=1e-9, abs=1e-12
                )
            peak, expected = ours["maps"][method]["peak"], theirs["maps"][method]["peak"]
            assert peak["value"] == expected["value"]
            np.testing.assert_allclose(peak["world_mm"], expected["world_mm"], atol=1e-4)
    assert found.document["coverage"] == base.document["coverage"]
    for method in BOTH:
        ours, theirs = found.cams(method), base.cams(method)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
        image, expected = found.overlay(method, "nodule"), base.overlay(method, "nodule")
        raw, affine = reordered(np.asarray(expected.dataobj.get_unscaled()), expected.affine, codes)
        assert affines.orientation(image.affine) == codes
        np.testing.assert_allclose(image.affine, affine, atol=1e-3)
        difference = np.abs(np.asarray(image.dataobj.get_unscaled()).astype(int) - raw)
        assert difference.max() <= 1  # a value half-way between two steps may round either way
        assert (difference > 0).mean() < 1e-3
        assert np.count_nonzero(raw) > 1000
