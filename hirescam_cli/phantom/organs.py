"""Painting the anatomy: body, cage, lungs, mediastinum, heart, airways, vessels, bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hirescam_cli.geometry.types import Voxels
from hirescam_cli.phantom.anatomy import SHELL_MM, Anatomy
from hirescam_cli.phantom.render import AIR_HU, Ellipsoid, Point, Slab, Tube, Values, paint_shape, polyline

FAT_HU, MUSCLE_HU, FLUID_HU = -100.0, 52.0, 11.0
_ALL = (slice(None), slice(None), slice(None))


def ripple(anatomy: Anatomy, x: Voxels, y: Voxels, z: Voxels, wave_mm: float, which: int = 0) -> Voxels:
    """A smooth random texture of zero mean and amplitude about 1, the sum of two products of waves."""
    p = anatomy.ripple[6 * which : 6 * which + 6]
    k = 2.0 * np.pi / wave_mm
    first = np.sin(k * x + p[0]) * np.sin(0.9 * k * y + p[1]) * np.sin(1.1 * k * z + p[2])
    return np.asarray(first + np.sin(0.6 * k * (x + 0.5 * y) + p[3]) * np.sin(0.5 * k * (z - 0.4 * y) + p[4]))


def paint_body(slab: Slab, anatomy: Anatomy) -> None:
    """Fat, muscle, breasts and table; what lies inside the cage follows."""
    x, y, z = slab.axes
    if anatomy.table:
        top = -4.0 - anatomy.body[1] - 1.0
        found = slab.box((-210.0, top - 24.0, slab.z[0]), (210.0, top, slab.z[-1]))
        if found is not None:
            box, (_, ys, _) = found
            middle = np.abs(ys - (top - 12.0))
            slab.paint(
                box, slab.share(12.0 - middle), np.where(middle > 10.0, -250.0, -930.0).astype(np.float32)
            )
    for side in (-1.0, 1.0) if anatomy.breast_mm else ():
        cx = side * 0.55 * anatomy.cavity_a
        front = anatomy.skin_y(cx, -5.0)
        breast = Ellipsoid((cx, front - 8.0, -8.0), (55.0, 10.0 + anatomy.breast_mm, 58.0))
        paint_shape(slab, breast, FAT_HU)
        gland = Ellipsoid(
            (cx, front + 0.25 * anatomy.breast_mm, -12.0), (26.0, 0.35 * anatomy.breast_mm + 2.0, 24.0)
        )
        paint_shape(slab, gland, 20.0, edge_mm=6.0)
    slab.paint(_ALL, slab.share(anatomy.body_depth(x, y, z)), FAT_HU)
    slab.paint(_ALL, slab.share(anatomy.body_depth(x, y, z, anatomy.fat_mm)), MUSCLE_HU)


def paint_cage(slab: Slab, anatomy: Anatomy) -> None:
    """Ribs, and the lungs inside the cage; keeps the depth below the inner wall in `slab.depth`."""
    x, y, z = slab.axes
    depth = np.asarray(anatomy.cavity_depth(x, y, z), dtype=np.float32)
    slab.depth = depth
    phase = (z + anatomy.rib_tilt * y + anatomy.rib_phase_mm) / anatomy.rib_pitch_mm
    level = np.abs(phase - np.round(phase)) * anatomy.rib_pitch_mm
    along = slab.share(5.5 - level)
    core = np.clip((3.0 - np.abs(level)) / 2.0, 0.0, 1.0)
    bone = np.where(y < 0.62 * anatomy.cavity_b, anatomy.bone_hu * (520.0 - 280.0 * core), 105.0).astype(
        np.float32
    )
    shell = slab.share((SHELL_MM - 2.0) * 0.5 - np.abs(depth + SHELL_MM * 0.5))
    slab.paint(_ALL, shell * along, bone)
    inside = slab.share(depth)
    slab.paint(_ALL, inside, FAT_HU + 8.0)
    dome = anatomy.dome(x, y)
    if slab.z[0] < float(dome.max()) + 5.0:
        paint_abdomen(slab, anatomy, inside * slab.share(dome - z))
    lung = inside * slab.share(-anatomy.mediastinum_depth(x, y, z)) * slab.share(z - dome)
    tissue = anatomy.lung_hu - anatomy.gradient_hu * (y / anatomy.cavity_b)
    tissue = tissue + 14.0 * ripple(anatomy, x, y, z, 31.0)
    slab.hu += lung * (tissue - slab.hu)
    slab.lung[...] = lung


def paint_abdomen(slab: Slab, anatomy: Anatomy, below: Values) -> None:
    """Liver on the right, spleen and stomach on the left, under the diaphragm."""
    x, _, _ = slab.axes
    liver = slab.share(x + 18.0, 12.0)
    slab.hu += below * (48.0 + 14.0 * liver - slab.hu)
    if anatomy.gas:
        top = anatomy.dome_z[1] - 24.0
        found = slab.box((-90.0, -20.0, top - 34.0), (-18.0, 60.0, top + 22.0))
        if found is not None:
            box, axes = found
            stomach = Ellipsoid((-54.0, 20.0, top - 6.0), (34.0, 38.0, 24.0))
            share = slab.share(stomach.depth(*axes)) * below[box]
            content = np.where(axes[1] > 24.0, AIR_HU + 20.0, 25.0).astype(np.float32)
            slab.paint(box, share, content)


def paint_mediastinum(slab: Slab, anatomy: Anatomy) -> None:
    """Great vessels, oesophagus, airways."""
    for tube in anatomy.aorta():
        paint_shape(slab, tube, anatomy.blood_hu)
    for tube in anatomy.pulmonary_arteries():
        paint_shape(slab, tube, anatomy.vessel_hu)
    cava = anatomy.caval_path()
    paint_shape(slab, Tube((cava[2][0], cava[2][1], 95.0), cava[3], 9.0), anatomy.blood_hu)
    for side in (-1.0, 1.0):
        neck = Tube((side * 11.0, 4.0, 72.0), (side * 20.0, 6.0, 220.0), 5.0)
        paint_shape(slab, neck, anatomy.blood_hu)
    gullet_x = anatomy.mediastinum_x - 6.0
    paint_shape(slab, Tube((gullet_x, -32.0, 220.0), (gullet_x - 4.0, -34.0, -120.0), 7.0), 35.0)
    for tube in anatomy.airways():
        paint_shape(
            slab,
            Tube(tube.start, tube.stop, tube.radius + 1.6, (tube.radius_stop or tube.radius) + 1.4),
            20.0,
        )
    for tube in anatomy.airways():
        paint_shape(slab, tube, AIR_HU)
    if anatomy.calcified_aorta:
        for tube in anatomy.aorta()[1::2]:
            spot = Ellipsoid((tube.start[0] + 12.0, tube.start[1], tube.start[2]), (2.0, 4.0, 5.0))
            paint_shape(slab, spot, 600.0)
    if anatomy.catheter:
        path: list[Point] = [(-x, y, z) for x, y, z in cava[:2]] + cava[2:4]
        for tube in polyline(path, 1.1):
            paint_shape(slab, tube, 420.0)


def paint_heart(slab: Slab, anatomy: Anatomy, effusion_mm: float) -> None:
    """The heart in its fat and sac; `effusion_mm` of fluid (0: none) in the sac. Marks both abnormalities' masks."""
    heart = anatomy.heart()
    sac = heart.grown(
        anatomy.epicardial_mm + 2.0 + effusion_mm, (0.0, -0.18 * effusion_mm, -0.1 * effusion_mm)
    )
    found = slab.box(*sac.reach())
    if found is None:
        return
    box, axes = found
    cavity = slab.share(np.minimum(slab.depth[box] + 1.0, axes[2] - anatomy.dome(axes[0], axes[1]) + 14.0))
    slab.paint(box, slab.share(sac.depth(*axes)) * cavity, 32.0)
    fat = slab.share(heart.grown(anatomy.epicardial_mm).depth(*axes)) * cavity
    if effusion_mm > 0.0:
        fluid = slab.share(sac.grown(-1.0).depth(*axes)) * cavity
        label = "pericardial_effusion" if "pericardial_effusion" in slab.masks else None
        slab.paint(box, fluid, FLUID_HU)
        if label is not None:
            slab.mark(label, box, (fluid > 0.5) & (fat < 0.5))
    slab.paint(box, fat, FAT_HU)
    label = "cardiomegaly" if "cardiomegaly" in slab.masks else None
    slab.paint(box, slab.share(heart.depth(*axes)) * cavity, MUSCLE_HU, label=label)
    a, b, c = heart.radii
    long_axis = (1.0, 0.0, 0.0) if heart.turn is None else heart.turn[0]
    for shift, scale in ((-0.34, 0.34), (0.40, 0.38)):
        x, y, z = (at + shift * a * way for at, way in zip(heart.centre, long_axis, strict=True))
        chamber = Ellipsoid((x, y, z), (scale * a, 0.52 * b, 0.56 * c), heart.turn)
        inner = slab.box(*chamber.reach())
        if inner is not None:
            part, part_axes = inner
            slab.paint(part, slab.share(chamber.depth(*part_axes)), anatomy.blood_hu)


def paint_bones(slab: Slab, anatomy: Anatomy) -> None:
    """Vertebrae with discs and canal, sternum."""
    cx, cy, r = anatomy.spine_x, anatomy.spine_y, anatomy.spine_mm
    found = slab.box((cx - 34.0, cy - 58.0, slab.z[0]), (cx + 34.0, cy + r + 2.0, slab.z[-1]))
    if found is not None:
        box, (x, y, z) = found
        phase = (z + anatomy.disc_phase_mm) / 27.0
        disc = slab.share(2.6 - np.abs(phase - np.round(phase)) * 27.0)
        body = (1.0 - np.sqrt(((x - cx) / (1.15 * r)) ** 2 + ((y - cy) / r) ** 2)) * r
        bone = anatomy.bone_hu * np.where(body < 2.2, 480.0, 190.0)
        slab.paint(box, slab.share(body), bone + disc * (75.0 - bone))
        arch = np.minimum(7.0 - np.abs(y - (cy - r - 13.0)), 26.0 - np.abs(x - cx))
        spinous = np.minimum(4.0 - np.abs(x - cx), 19.0 - np.abs(y - (cy - r - 26.0)))
        behind = slab.share(np.maximum(arch, spinous)) * (1.0 - 0.8 * disc)
        slab.paint(box, behind, anatomy.bone_hu * 330.0)
        canal = (1.0 - np.sqrt(((x - cx) / 10.0) ** 2 + ((y - (cy - r - 6.5)) / 8.0) ** 2)) * 8.0
        slab.paint(box, slab.share(canal), 25.0)
    front = anatomy.cavity_b + 3.0
    sternum = Ellipsoid((anatomy.mediastinum_x * 0.4, front, 8.0), (18.0, 6.5, 82.0))
    found = slab.box(*sternum.reach())
    if found is not None:
        box, axes = found
        depth = sternum.depth(*axes)
        slab.paint(
            box, slab.share(depth), anatomy.bone_hu * np.where(depth < 1.5, 380.0, 150.0).astype(np.float32)
        )


@dataclass(frozen=True)
class VesselTree:
    """Vessels of both lungs: segments [n, 8] of start (x, y, z), stop (x, y, z), radius at start and stop in mm."""

    segments: Values

    def paint(self, slab: Slab, anatomy: Anatomy) -> None:
        """Paint the segments that reach into the slab, in the lungs only."""
        zs = self.segments[:, [2, 5]]
        reach = self.segments[:, 6:].max(axis=1) + slab.edge_mm
        near = (zs.min(axis=1) - reach <= slab.z[-1]) & (zs.max(axis=1) + reach >= slab.z[0])
        for s in self.segments[near].tolist():
            tube = Tube((s[0], s[1], s[2]), (s[3], s[4], s[5]), s[6], s[7])
            paint_shape(slab, tube, anatomy.vessel_hu, in_lung=True)


def grow_vessels(rng: np.random.Generator, anatomy: Anatomy, ends: int = 85) -> VesselTree:
    """A tree per lung: each of `ends` random points in the lung joins the nearest point closer to the hilum.

    A segment's radius follows the number of ends that it feeds (about the 0.38th power of it).
    """
    segments: list[list[float]] = []
    for side, hilum in zip((1.0, -1.0), anatomy.hila(), strict=True):
        points = _points_in_lung(rng, anatomy, side, ends)
        nodes = np.vstack([np.asarray(hilum)[None], points])
        order = np.argsort(((nodes - nodes[0]) ** 2).sum(axis=1))
        nodes = nodes[order]
        away = np.sqrt(((nodes - nodes[0]) ** 2).sum(axis=1))
        parent = np.zeros(len(nodes), dtype=np.intp)
        for n in range(1, len(nodes)):
            cost = np.sqrt(((nodes[:n] - nodes[n]) ** 2).sum(axis=1)) + 0.25 * away[:n]
            parent[n] = int(cost.argmin())
        fed = np.ones(len(nodes))
        for n in range(len(nodes) - 1, 0, -1):
            fed[parent[n]] += fed[n]
        radius = 0.75 + 0.42 * (fed - 1.0) ** 0.38 + rng.uniform(0.0, 0.25, len(nodes))
        for n in range(1, len(nodes)):
            start = min(radius[parent[n]], radius[n] * 1.3) if parent[n] else radius[n]
            segments.append([*nodes[parent[n]], *nodes[n], start, radius[n]])
    return VesselTree(np.asarray(segments, dtype=np.float32))


def _points_in_lung(rng: np.random.Generator, anatomy: Anatomy, side: float, count: int) -> Voxels:
    low = np.array([-anatomy.cavity_a, -anatomy.cavity_b, -140.0])
    high = np.array([anatomy.cavity_a, anatomy.cavity_b, anatomy.apex_z])
    points = rng.uniform(low, high, size=(count * 14, 3))
    inside = anatomy.lung_depth(*points.T) > 4.0
    inside &= anatomy.heart().grown(8.0).depth(*points.T) < 0.0
    inside &= side * (points[:, 0] - anatomy.mediastinum_x) > 0
    return points[inside][:count]
