"""Abnormalities drawn from a seed so that they fit an anatomy and do not collide.

Frame and units as in `phantom.anatomy`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hirescam_cli.geometry.types import Voxels
from hirescam_cli.phantom.anatomy import Anatomy
from hirescam_cli.phantom.lesions import (
    FINDINGS,
    Consolidation,
    Device,
    Effusion,
    Focal,
    Lesion,
    Pneumothorax,
)
from hirescam_cli.phantom.render import (
    Ellipsoid,
    Point,
    Tube,
    polyline,
)


def effusion_in_sac(rng: np.random.Generator) -> float:
    """Thickness in mm of a pericardial effusion."""
    return float(rng.uniform(9.0, 22.0))


def draw_lesions(seed: int, anatomy: Anatomy, findings: Sequence[str]) -> list[Lesion]:
    """The abnormalities of `findings` that are not part of the heart, in the order of painting.

    Each label has a random stream of its own, so that one label's lesions stay where they are when others are added,
    unless they would collide.
    """
    streams = {label: np.random.default_rng([seed, 100 + n]) for n, label in enumerate(FINDINGS)}
    layers: list[Effusion | Pneumothorax] = []
    if "pleural_effusion" in findings:
        layers += _effusions(streams["pleural_effusion"], anatomy)
    if "pneumothorax" in findings:
        layers.append(_pneumothorax(streams["pneumothorax"], anatomy, layers))
    taken: list[tuple[Point, float]] = []
    focal: list[Lesion] = []
    if "consolidation" in findings:
        focal.append(_consolidation(streams["consolidation"], anatomy, layers, taken))
    if "mass" in findings:
        focal.append(_mass(streams["mass"], anatomy, layers, taken))
    if "nodule" in findings:
        for _ in range(int(streams["nodule"].integers(1, 4))):
            focal.append(_nodule(streams["nodule"], anatomy, layers, taken))
    devices: list[Lesion] = []
    if "pacemaker_or_defib" in findings:
        devices.append(_device(streams["pacemaker_or_defib"], anatomy))
    return [*focal, *layers, *devices]


def _effusions(rng: np.random.Generator, anatomy: Anatomy) -> list[Effusion | Pneumothorax]:
    first = -1.0 if rng.random() < 0.5 else 1.0
    sides = [first, -first] if rng.random() < 0.35 else [first]
    b = anatomy.cavity_b
    return [
        Effusion(
            label="pleural_effusion",
            side=side,
            thickness_mm=float(rng.uniform(16.0, 50.0)),
            top_z=float(rng.uniform(-20.0, 60.0)),
            front_y=float(rng.uniform(-0.3 * b, 0.35 * b)),
        )
        for side in sides
    ]


def _pneumothorax(
    rng: np.random.Generator, anatomy: Anatomy, layers: Sequence[Effusion | Pneumothorax]
) -> Pneumothorax:
    side = -1.0 if rng.random() < 0.5 else 1.0
    wet = {layer.side for layer in layers}
    if len(wet) == 1 and rng.random() < 0.7:
        side = -wet.pop()
    return Pneumothorax(
        label="pneumothorax",
        side=side,
        thickness_mm=float(rng.uniform(12.0, 42.0)),
        back_y=float(rng.uniform(-0.35, 0.25)) * anatomy.cavity_b,
        low_z=float(rng.uniform(-90.0, 20.0)),
    )


def _place(
    rng: np.random.Generator,
    anatomy: Anatomy,
    layers: Sequence[Effusion | Pneumothorax],
    taken: list[tuple[Point, float]],
    radius: float,
    clearance: float,
) -> Point:
    """A random point in the lungs, `clearance` mm from their surface, the heart, layers and other lesions.

    Falls back on the candidate with most room.
    """
    low = (-anatomy.cavity_a, -anatomy.cavity_b, -125.0)
    high = (anatomy.cavity_a, anatomy.cavity_b, anatomy.apex_z)
    x, y, z = rng.uniform(low, high, size=(4000, 3)).T
    room = anatomy.lung_depth(x, y, z)
    wall = anatomy.cavity_depth(x, y, z)
    for layer in layers:
        room = np.minimum(room, wall - layer.thickness(x, y, z, anatomy))
    room = np.minimum(room, -anatomy.heart().grown(26.0).depth(x, y, z))
    room -= clearance
    for (cx, cy, cz), r in taken:
        room = np.minimum(room, np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) - r - radius)
    fits = np.flatnonzero(room > 0.0)
    best = int(fits[0]) if fits.size else int(room.argmax())
    point = (float(x[best]), float(y[best]), float(z[best]))
    taken.append((point, radius))
    return point


def _direction(rng: np.random.Generator) -> Voxels:
    v = rng.normal(size=3)
    return v / np.linalg.norm(v)


def _blob(rng: np.random.Generator, centre: Point, radius: float, shift: float) -> Ellipsoid:
    x, y, z = (float(c + shift * d) for c, d in zip(centre, _direction(rng), strict=True))
    a, b, c = (radius * float(rng.uniform(0.85, 1.15)) for _ in range(3))
    return Ellipsoid((x, y, z), (a, b, c))


def _nodule(
    rng: np.random.Generator,
    anatomy: Anatomy,
    layers: Sequence[Effusion | Pneumothorax],
    taken: list[tuple[Point, float]],
) -> Focal:
    radius = float(rng.uniform(5.5, 13.5))
    centre = _place(rng, anatomy, layers, taken, radius + 6.0, 0.9 * radius)
    blobs = [_blob(rng, centre, radius, 0.0)]
    blobs += [_blob(rng, centre, 0.7 * radius, 0.45 * radius) for _ in range(int(rng.integers(0, 3)))]
    return Focal("nodule", centre, tuple(blobs), (), float(rng.uniform(15.0, 70.0)))


def _mass(
    rng: np.random.Generator,
    anatomy: Anatomy,
    layers: Sequence[Effusion | Pneumothorax],
    taken: list[tuple[Point, float]],
) -> Focal:
    radius = float(rng.uniform(17.0, 30.0))
    centre = _place(rng, anatomy, layers, taken, radius + 8.0, 0.75 * radius)
    blobs = [_blob(rng, centre, 0.86 * radius, 0.0)]
    blobs += [_blob(rng, centre, 0.6 * radius, 0.5 * radius) for _ in range(int(rng.integers(3, 6)))]
    spicules = []
    for _ in range(int(rng.integers(0, 14))):
        v = _direction(rng)
        near, far = 0.8 * radius, radius * float(rng.uniform(1.2, 1.55))
        start, stop = (tuple(float(c + r * d) for c, d in zip(centre, v, strict=True)) for r in (near, far))
        spicules.append(Tube((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), 1.4, 0.5))
    return Focal("mass", centre, tuple(blobs), tuple(spicules), float(rng.uniform(25.0, 65.0)))


def _consolidation(
    rng: np.random.Generator,
    anatomy: Anatomy,
    layers: Sequence[Effusion | Pneumothorax],
    taken: list[tuple[Point, float]],
) -> Consolidation:
    radii = [float(v) for v in rng.uniform(26.0, 46.0, 3)]
    centre = _place(rng, anatomy, layers, taken, 0.8 * max(radii), 0.28 * min(radii))
    right, left = anatomy.hila()
    hilum = np.asarray(right if centre[0] > anatomy.mediastinum_x else left)
    outward = np.asarray(centre) - hilum
    outward /= max(float(np.linalg.norm(outward)), 1.0)
    root = np.asarray(centre) - 0.75 * min(radii) * outward
    bronchi = []
    for _ in range(int(rng.integers(3, 7))):
        tip = root + float(rng.uniform(25.0, 50.0)) * (outward + 0.55 * _direction(rng))
        bronchi.append(Tube(_point(root), _point(tip), float(rng.uniform(1.6, 2.6)), 0.9))
    outline = Ellipsoid(centre, (radii[0], radii[1], radii[2]))
    hu, wave = float(rng.uniform(-40.0, 45.0)), float(rng.uniform(30.0, 48.0))
    return Consolidation("consolidation", centre, outline, tuple(bronchi), hu, wave)


def _point(values: Voxels) -> Point:
    return (float(values[0]), float(values[1]), float(values[2]))


def _device(rng: np.random.Generator, anatomy: Anatomy) -> Device:
    side = 1.0 if rng.random() < 0.15 else -1.0
    x = side * float(rng.uniform(0.56, 0.68)) * anatomy.cavity_a
    z = anatomy.apex_z - float(rng.uniform(38.0, 62.0))
    under = min(anatomy.fat_mm, float(rng.uniform(7.0, 13.0)))
    y = anatomy.skin_y(x, z, under)
    slope = (anatomy.skin_y(x + 6.0, z, under) - anatomy.skin_y(x - 6.0, z, under)) / 12.0
    across = np.array([1.0, slope, 0.0]) / math.hypot(1.0, slope)
    normal = np.cross((0.0, 0.0, 1.0), across)
    turn = (_point(across), _point(normal), (0.0, 0.0, 1.0))
    half = (float(rng.uniform(20.0, 27.0)), float(rng.uniform(3.5, 6.0)), float(rng.uniform(20.0, 26.0)))
    path = anatomy.caval_path()
    if side > 0:
        path[:2] = [(-px, py, pz) for px, py, pz in path[:2]]
    leads = polyline([(x, y, z + half[2]), *path], float(rng.uniform(1.0, 1.6)))
    if rng.random() < 0.6:
        leads += polyline([(x, y, z + half[2]), *path[:4]], 1.0)
    return Device("pacemaker_or_defib", (x, y, z), half, turn, tuple(leads))
