"""Finished cases and their masks on disk, without a network: maps whose peak lies in the lesion, or beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
import nibabel
import numpy as np

from hirescam_cli.case.document import dump
from hirescam_cli.case.record import Output
from hirescam_cli.geometry import affine as affines
from hirescam_cli.results.nifti_file import write_cams
from tests.views import Known, make_case

LABELS = ("nodule", "mass", "effusion")
SHAPE, SPACING = (60, 40, 30), (4.0, 5.0, 8.0)


@cache
def known() -> Known:
    """The one scan that all cases are of."""
    return make_case(labels=LABELS, shape_lps=SHAPE, spacing_mm=SPACING)


def write_case(
    out: Path, name: str, *, shift: int = 0, positive: Sequence[str] = ("nodule",), noise: int = 0
) -> None:
    """A finished case; `shift`: by how many columns of cells its maps are moved, `noise`: seed of what is added."""
    view = known().view
    folder = out / name
    folder.mkdir(parents=True)
    outputs, cams = [], {}
    for method, maps in view.native.items():
        rng = np.random.default_rng(noise)
        cams[method] = np.roll(maps, shift, axis=2) + np.float32(0.002) * rng.normal(size=maps.shape).astype(
            "f4"
        )
        path = folder / f"{method}.cams.nii.gz"
        affine = np.asarray(view.case.target.affines["stretch"])
        write_cams(path, np.moveaxis(cams[method], -1, 0), affine, compress=1)
        data = path.read_bytes()
        outputs.append(
            Output(
                path=path.name,
                role="cams",
                format="nifti",
                method=method,
                label=None,
                placement="stretch",
                grid="cam",
                sha256=hashlib.sha256(data).hexdigest(),
                bytes=len(data),
            )
        )
    labels = []
    for label in view.case.labels:
        logit = float(cams["hirescam"][..., label.index].astype(np.float64).sum()) + 0.25
        maps = {m: msgspec.structs.replace(e, bias=0.25) for m, e in label.maps.items()}
        changes = {"slug": label.name, "positive": label.name in positive, "logit": logit, "maps": maps}
        labels.append(msgspec.structs.replace(label, **changes))
    case = msgspec.structs.replace(view.case, case=name, labels=tuple(labels), outputs=tuple(outputs))
    (folder / "summary.json").write_bytes(dump(case))


def sphere(centre_mm: np.ndarray, radius_mm: float = 14.0) -> np.ndarray:
    """A sphere on the scan's grid."""
    grid = known().view.volume.grid
    index = np.argwhere(np.ones(grid.shape, dtype=bool))
    away = affines.apply(grid.affine_ras, index) - centre_mm
    return ((away**2).sum(axis=1) <= radius_mm**2).reshape(grid.shape)


def write_mask(path: Path, mask: np.ndarray, affine: np.ndarray | None = None) -> None:
    """A mask as NIfTI, on the scan's grid where no affine is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    where = known().view.volume.affine_ras if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), where), path)


def make_world(folder: Path, cases: int = 6) -> tuple[Path, Path]:
    """An output of cases "a/0", "a/1", ... and their masks of nodules."""
    out, masks = folder / "out", folder / "masks"
    for n in range(cases):
        write_case(out, f"a/{n}", noise=n)
        write_mask(masks / f"a/{n}/nodule.nii.gz", sphere(known().lesion_mm))
    return out, masks
