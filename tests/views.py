"""A made-up case with known content: a chest-like scan, maps whose sums are exact, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.record import (
    Agreement,
    Case,
    Coverage,
    Input,
    Label,
    MapEvidence,
    MethodFacts,
    Model,
    Peak,
    Run,
    Seconds,
    Seen,
    Target,
)
from hirescam_cli.case.view import CaseView, matrix
from hirescam_cli.geometry import Affine, Grid, pad_crop, reorient, resampled
from hirescam_cli.geometry import affine as affines
from hirescam_cli.volume import Provenance, Volume

LABELS = ("nodule", "cost_of $x_1$ & <b>", "effusion")
"""The first is positive, the second looks like markup, the third has no positive evidence anywhere."""
BIASES = (0.5, -1.0, -0.25)
CELLS = 6
NETWORK_MM = 2.0
TITLES = {"hirescam": "HiResCAM", "gradcam": "Grad-CAM"}


@dataclass(frozen=True)
class Known:
    """RAS mm of the lesion's centre, of a bright marker on the patient's left, and of the peak cell."""

    view: CaseView
    lesion_mm: NDArray[np.float64]
    marker_mm: NDArray[np.float64]
    peak_mm: NDArray[np.float64]
    peak_cell: tuple[int, int, int]


def make_case(
    codes: str = "LPS",
    *,
    spacing_mm: Sequence[float] = (2.0, 2.5, 4.0),
    shape_lps: Sequence[int] = (120, 80, 60),
    degrees: float = 0.0,
    slices: int = 99,
    side: int = 120,
    labels: Sequence[str] = LABELS,
    methods: Sequence[str] = ("hirescam", "gradcam"),
) -> Known:
    """A case whose scan is stored in axis order `codes` and turned by `degrees` about the long axis.

    `slices` and `side` (voxels of 2 mm) are the network's input; where smaller than the scan, it sees a part.
    """
    base = _scan_grid(spacing_mm, shape_lps, degrees)
    lesion_mm = affines.apply(
        base.affine_ras, [shape_lps[0] * 0.30, shape_lps[1] * 0.45, shape_lps[2] * 0.55]
    )
    marker_mm = affines.apply(base.affine_ras, [shape_lps[0] - 9, shape_lps[1] // 2, shape_lps[2] // 2])
    array = _chest(base, lesion_mm, marker_mm)
    order, grid = reorient(base, codes)
    volume = Volume(np.ascontiguousarray(order.apply(array)), grid.affine_ras, Provenance("nifti", "0" * 64))

    _, zyx = reorient(base, "IPL")
    _, network = pad_crop(resampled(zyx, (NETWORK_MM,) * 3), (slices, side, side))
    placements = _placements(network.affine_ras, side)
    cell = _cell_of(placements["stretch"], lesion_mm)
    cams = {m: _maps(slices // 3, cell, len(labels), method=m) for m in methods}
    case = _case(volume, labels, cams, placements, network)
    view = CaseView(volume, case, cams)
    return Known(view, lesion_mm, marker_mm, affines.apply(placements["stretch"], cell), cell)


def _scan_grid(spacing_mm: Sequence[float], shape: Sequence[int], degrees: float) -> Grid:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    linear = turn @ np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2]])
    centre = (np.asarray(shape) - 1) / 2
    affine = affines.from_parts(linear, np.array([10.0, -20.0, -300.0]) - linear @ centre)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def _chest(grid: Grid, lesion_mm: NDArray[np.float64], marker_mm: NDArray[np.float64]) -> NDArray[np.int16]:
    """Air -1000, body 40, two lungs -850, spine 700, lesion (sphere of radius 12 mm) 60, marker 1000."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    at = affines.apply(grid.affine_ras, index)
    i, j, k = np.moveaxis(index / np.maximum(np.asarray(grid.shape) - 1.0, 1.0) * 2 - 1, -1, 0)
    array = np.full(grid.shape, -1000, dtype=np.int16)
    array[(i / 0.92) ** 2 + (j / 0.85) ** 2 <= 1] = 40
    for centre in (-0.42, 0.42):
        array[((i - centre) / 0.34) ** 2 + ((j + 0.05) / 0.6) ** 2 + (k / 0.9) ** 2 <= 1] = -850
    array[(i / 0.1) ** 2 + ((j - 0.55) / 0.16) ** 2 <= 1] = 700
    array[((at - lesion_mm) ** 2).sum(axis=-1) <= 12.0**2] = 60
    array[((at - marker_mm) ** 2).sum(axis=-1) <= 8.0**2] = 1000
    return array


def _placements(network_ras: Affine, side: int) -> dict[str, Affine]:
    """Stretch as AxialNet's; receptive field with cells of half that size about the same centre."""
    step = side / CELLS
    middle = (side - 1) / 2
    return {
        name: network_ras
        @ affines.scaling((3.0, scale, scale), (1.0, *(middle - scale * (CELLS - 1) / 2,) * 2))
        for name, scale in (("stretch", step), ("receptive-field", step / 2))
    }


def _cell_of(affine: Affine, point_mm: NDArray[np.float64]) -> tuple[int, int, int]:
    s, y, x = np.rint(affines.apply(np.linalg.inv(affine), point_mm)).astype(int)
    return int(s), int(y), int(x)


def _maps(groups: int, cell: tuple[int, int, int], labels: int, *, method: str) -> NDArray[np.float32]:
    """Signed maps [S, h, w, L]: a hill of 0.2 / (label + 1) at `cell`, a shallow hollow on the other side.

    Every third label is negative throughout. Grad-CAM's hill is blunter and one column to the side.
    """
    s, y, x = np.meshgrid(np.arange(groups), np.arange(CELLS), np.arange(CELLS), indexing="ij")
    shift, width = (1, 1.6) if method == "gradcam" else (0, 0.9)

    def bump(column: float, wide: float) -> NDArray[np.float64]:
        squares = ((s - cell[0]) / 3.0) ** 2 + ((y - cell[1]) / wide) ** 2 + ((x - column) / wide) ** 2
        hill: NDArray[np.float64] = np.exp(-squares / 2)
        return hill

    hill = bump(cell[2] + shift, width)
    hollow = bump(CELLS - 1 - cell[2], 1.2)
    maps = [(-0.08 if n % 3 == 2 else 0.2) / (n + 1) * hill - 0.05 * hollow - 0.0002 for n in range(labels)]
    return np.stack(maps, axis=-1).astype(np.float32)


def _case(
    volume: Volume,
    labels: Sequence[str],
    cams: dict[str, NDArray[np.float32]],
    placements: dict[str, Affine],
    network: Grid,
) -> Case:
    groups = next(iter(cams.values())).shape[0]
    exact = cams.get("hirescam", next(iter(cams.values()))).astype(np.float64)
    entries = []
    for index, name in enumerate(labels):
        bias = BIASES[index % len(BIASES)]
        scores = groups * exact[..., index].sum(axis=(1, 2)) + bias
        logit = float(scores.mean())
        probability = float(1 / (1 + np.exp(-logit)))
        maps = {m: _evidence(c[..., index], bias, logit, placements["stretch"]) for m, c in cams.items()}
        entries.append(
            Label(
                name=name,
                index=index,
                slug=f"label_{index}",
                logit=logit,
                probability=probability,
                threshold=0.5,
                positive=probability >= 0.5,
                slice_scores=tuple(scores.tolist()),
                maps=maps,
                member_logits=None,
                agreement=Agreement(correlation=0.81, peak_distance_mm=40.0) if len(cams) == 2 else None,
            )
        )
    i, j, k = volume.array_ijk.shape
    return Case(
        schema_version=2,
        case="a/made-up <case>",
        started="2026-01-01T00:00:00Z",
        error=None,
        warnings=(),
        input=Input(
            kind="nifti",
            fingerprint="0" * 64,
            volume=0,
            shape=(i, j, k),
            spacing_mm=volume.spacing_mm,
            affine=matrix(volume.affine_ras),
            orientation=volume.orientation,
            series_uid=None,
            hu_min=-1000.0,
            hu_max=1000.0,
        ),
        model=Model(
            name="made-up",
            architecture="axialnet",
            weights_sha256="0" * 64,
            file_sha256=None,
            labels=len(labels),
            demonstration=True,
            members=(),
        ),
        run=Run(
            version="0",
            torch="0",
            device="cpu",
            device_requested="auto",
            precision="fp32",
            precision_requested="auto",
            drift=None,
            fallbacks=(),
            params_hash="0" * 64,
            settings={},
            peak_memory_mib=None,
            seconds=Seconds(),
        ),
        coverage=Coverage(scan_seen_fraction=0.8, padding_fraction=0.1),
        seen=Seen(shape=network.shape, affine=matrix(network.affine_ras), window_hu=(-1000.0, 200.0)),
        target=Target(
            layer="conv2d.7",
            at="output",
            cells=(groups, CELLS, CELLS),
            affines={name: matrix(affine) for name, affine in placements.items()},  # type: ignore[misc]
        ),
        placement="stretch",
        methods={
            m: MethodFacts(title=TITLES.get(m, m), unit="logits per cell", certificate="exact", frozen=())
            for m in cams
        },
        labels=tuple(entries),
        outputs=(),
    )


def _evidence(cam: NDArray[np.float32], bias: float, logit: float, affine: Affine) -> MapEvidence:
    exact = cam.astype(np.float64)
    residual = abs(exact.sum() + bias - logit) / max(1.0, abs(logit))
    cell = np.unravel_index(int(cam.argmax()), cam.shape)
    x, y, z = affines.apply(affine, cell).tolist()
    return MapEvidence(
        sum=float(exact.sum()),
        bias=bias,
        residual=float(residual),
        complete=bool(residual <= 1e-4),
        positive_sum=float(exact[exact > 0].sum()),
        negative_sum=float(exact[exact < 0].sum()),
        padding_share=0.1,
        peak=Peak(value=float(cam.max()), index_ijk=(0, 0, 0), world_mm=(x, y, z)),
    )


def changed(view: CaseView, **changes: object) -> CaseView:
    """The same view of a case that differs in some fields."""
    return replace(view, case=msgspec.structs.replace(view.case, **changes))


def changed_label(view: CaseView, name: str, **changes: object) -> CaseView:
    """The same view of a case one label of which differs in some fields."""
    labels = [msgspec.structs.replace(e, **changes) if e.name == name else e for e in view.case.labels]
    return changed(view, labels=tuple(labels))
