"""`make_phantom`: a synthetic chest CT with known abnormalities, from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry import grid as grids
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.phantom.anatomy import Anatomy, draw_anatomy
from hirescam_cli.phantom.lesions import FINDINGS, Lesion
from hirescam_cli.phantom.organs import (
    VesselTree,
    grow_vessels,
    paint_body,
    paint_bones,
    paint_cage,
    paint_heart,
    paint_mediastinum,
)
from hirescam_cli.phantom.placing import draw_lesions, effusion_in_sac
from hirescam_cli.phantom.render import AIR_HU, Slab
from hirescam_cli.volume import Provenance, Volume

_SLAB_VOXELS = 600_000
_HU_RANGE = (-1024, 3071)


@dataclass(frozen=True)
class LesionTruth:
    """Where one lesion lies: `centre_mm` a RAS point in it, `size_mm` the extents of its mask along x, y, z (RAS)."""

    label: str
    centre_mm: tuple[float, float, float]
    size_mm: tuple[float, float, float]
    volume_ml: float


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic scan and the truth about it. `masks` are on the volume's grid, one per finding."""

    seed: int
    volume: Volume
    masks: Mapping[str, NDArray[np.bool_]]
    findings: tuple[str, ...]
    lesions: tuple[LesionTruth, ...]


@dataclass(frozen=True)
class _Patient:
    anatomy: Anatomy
    vessels: VesselTree
    lesions: tuple[Lesion, ...]
    effusion_mm: float
    findings: tuple[str, ...]
    origin_mm: tuple[float, float, float]


def draw_findings(seed: int) -> tuple[str, ...]:
    """Findings of the phantom `seed` when none are asked for: none at all in one of six, else each with chance 0.36."""
    rng = np.random.default_rng([seed, 1])
    if rng.random() < 1 / 6:
        return ()
    chosen = rng.random(len(FINDINGS)) < 0.36
    return tuple(name for name, present in zip(FINDINGS, chosen, strict=True) if present)


def make_phantom(
    seed: int,
    *,
    findings: Collection[str] | None = None,
    spacing_mm: tuple[float, float, float] = (0.9, 0.9, 3.0),
    shape: tuple[int, int, int] | None = None,
    orientation: str = "LPS",
    noise: bool = True,
) -> Phantom:
    """A synthetic chest CT: the same for the same arguments, everywhere.

    `findings`: names out of `FINDINGS` (None: drawn from the seed; empty: a normal chest). `spacing_mm` and `shape`
    are given along the patient's axes (right-left, front-back, head-foot), whatever the orientation; without a shape
    the field of view covers the chest. `orientation`: directions of the index axes, such as "LPS" or "SAR"; it
    changes the order of the voxels and never their values. The field of view's centre lies within 12 mm of the
    world's x = y = 0; the height is arbitrary, as on a scanner. Raises ValueError for an unknown finding.
    """
    if unknown := sorted(set(findings or ()) - set(FINDINGS)):
        raise ValueError(f"unknown finding {unknown[0]!r}; known are {', '.join(FINDINGS)}")
    chosen = draw_findings(seed) if findings is None else tuple(f for f in FINDINGS if f in findings)
    patient = _draw_patient(seed, chosen)
    rng = np.random.default_rng([seed, 3])
    axes, origin = _axes(rng, patient, spacing_mm, shape)
    hu, masks = _render(patient, axes, max(0.8, float(np.mean(spacing_mm[:2]))))
    _finish(hu, np.random.default_rng([seed, 4]), spacing_mm, noise)
    values = np.rint(hu).astype(np.int16)
    affine = affines.from_parts(np.diag(spacing_mm), origin)
    grid = Grid((axes[0].size, axes[1].size, axes[2].size), affine)
    order, oriented = grids.reorient(grid, orientation)
    truths = _truths(patient, masks, affine)
    digest = hashlib.sha256(values.tobytes() + oriented.affine_ras.tobytes()).hexdigest()
    array = order.apply(values.transpose(2, 1, 0))
    volume = Volume(array, oriented.affine_ras, Provenance("phantom", digest))
    turned = {label: order.apply(mask.transpose(2, 1, 0)) for label, mask in masks.items()}
    return Phantom(seed, volume, turned, chosen, truths)


def _draw_patient(seed: int, findings: tuple[str, ...]) -> _Patient:
    anatomy = draw_anatomy(np.random.default_rng([seed, 2]), large_heart="cardiomegaly" in findings)
    vessels = grow_vessels(np.random.default_rng([seed, 5]), anatomy)
    sac = effusion_in_sac(np.random.default_rng([seed, 6])) if "pericardial_effusion" in findings else 0.0
    rng = np.random.default_rng([seed, 7])
    origin = (float(rng.uniform(-9, 9)), float(rng.uniform(-9, 9)), float(rng.uniform(-900, 300)))
    lesions = tuple(draw_lesions(seed, anatomy, findings))
    return _Patient(anatomy, vessels, lesions, sac, findings, origin)


def _axes(
    rng: np.random.Generator,
    patient: _Patient,
    spacing_mm: tuple[float, float, float],
    shape: tuple[int, int, int] | None,
) -> tuple[tuple[Voxels, Voxels, Voxels], tuple[float, float, float]]:
    """Coordinates x, y, z in the phantom's frame, and the world point of the first voxel."""
    body_a, _ = patient.anatomy.body
    field_mm = 2.0 * body_a + float(rng.uniform(4.0, 40.0))
    low_z, high_z = float(rng.uniform(-140.0, -118.0)), patient.anatomy.apex_z + float(rng.uniform(6.0, 24.0))
    shift = [float(rng.uniform(-7.0, 7.0)), float(rng.uniform(-10.0, 4.0)), 0.5 * (low_z + high_z)]
    extent = (field_mm, field_mm, high_z - low_z)
    counts = shape or tuple(max(2, round(e / s)) for e, s in zip(extent, spacing_mm, strict=True))
    axes, origin = [], []
    for n, step, middle, offset in zip(counts, spacing_mm, shift, patient.origin_mm, strict=True):
        first = middle - 0.5 * (n - 1) * step
        axes.append((first + step * np.arange(n)).astype(np.float32))
        origin.append(first + offset)
    return (axes[0], axes[1], axes[2]), (origin[0], origin[1], origin[2])


def _render(
    patient: _Patient, axes: tuple[Voxels, Voxels, Voxels], edge_mm: float
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.bool_]]]:
    """HU [z, y, x] without noise, and the masks."""
    x, y, z = axes
    shape = (z.size, y.size, x.size)
    hu = np.full(shape, AIR_HU, dtype=np.float32)
    masks = {label: np.zeros(shape, dtype=np.bool_) for label in patient.findings}
    step = max(1, _SLAB_VOXELS // (x.size * y.size))
    for start in range(0, z.size, step):
        part = slice(start, start + step)
        lung = np.zeros_like(hu[part])
        slab = Slab(x, y, z[part], hu[part], lung, {k: m[part] for k, m in masks.items()}, edge_mm)
        _paint(slab, patient)
    return hu, masks


def _paint(slab: Slab, patient: _Patient) -> None:
    anatomy = patient.anatomy
    paint_body(slab, anatomy)
    paint_cage(slab, anatomy)
    paint_heart(slab, anatomy, patient.effusion_mm)
    paint_mediastinum(slab, anatomy)
    paint_bones(slab, anatomy)
    patient.vessels.paint(slab, anatomy)
    for lesion in patient.lesions:
        lesion.paint(slab, anatomy)


def _finish(
    hu: NDArray[np.float32], rng: np.random.Generator, spacing_mm: tuple[float, float, float], noise: bool
) -> None:
    """Add noise in place, correlated within the slice over about a millimetre, and limit the values to 12 bits."""
    sigma = float(rng.uniform(7.0, 24.0))
    width_mm = float(rng.uniform(0.5, 0.9))
    if noise:
        taps = [np.exp(-0.5 * (np.array([1.0, 0.0, 1.0]) * s / width_mm) ** 2) for s in spacing_mm[:2]]
        kernels = [(t / np.sqrt((t**2).sum())).astype(np.float32) for t in taps]
        _, ny, nx = hu.shape
        falloff = [1.0 - 0.45 * np.linspace(-1.0, 1.0, n) ** 2 for n in (ny, nx)]
        amplitude = (sigma / 104.5) * np.sqrt(np.outer(*falloff)).astype(np.float32)
        for plane in hu:
            grain = rng.integers(0, 256, size=(2, ny + 2, nx + 2), dtype=np.uint8)
            white = grain[0].astype(np.float32) + grain[1] - np.float32(255.0)
            rows = kernels[1][0] * (white[:-2] + white[2:]) + kernels[1][1] * white[1:-1]
            plane += amplitude * (
                kernels[0][0] * (rows[:, :-2] + rows[:, 2:]) + kernels[0][1] * rows[:, 1:-1]
            )
    np.clip(hu, *_HU_RANGE, out=hu)


def _truths(
    patient: _Patient, masks: Mapping[str, NDArray[np.bool_]], affine: Affine
) -> tuple[LesionTruth, ...]:
    """Focal lesions one by one, the others as their whole mask."""
    truths = []
    voxel_ml = float(abs(np.linalg.det(affine[:3, :3]))) / 1000.0
    for label in patient.findings:
        points = np.argwhere(masks[label])[:, ::-1]
        if not len(points):
            continue
        world = affines.apply(affine, points)
        placed = [
            lesion.centre for lesion in patient.lesions if lesion.label == label and lesion.centre is not None
        ]
        centres = np.asarray([np.add(centre, patient.origin_mm) for centre in placed])
        if len(centres) > 1:
            owner = ((world[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
        else:
            owner = np.zeros(len(world), dtype=np.intp)
        for n in range(max(1, len(centres))):
            own = world[owner == n]
            if not len(own):
                continue
            aim = centres[n] if len(centres) else own.mean(axis=0)
            centre = own[((own - aim) ** 2).sum(axis=1).argmin()]
            size = own.max(axis=0) - own.min(axis=0) + affines.spacing_mm(affine)
            truths.append(LesionTruth(label, _triple(centre), _triple(size), len(own) * voxel_ml))
    return tuple(truths)


def _triple(values: Voxels) -> tuple[float, float, float]:
    return (round(float(values[0]), 2), round(float(values[1]), 2), round(float(values[2]), 2))
