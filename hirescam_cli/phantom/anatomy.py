"""The anatomy of one synthetic chest: its measures, drawn from a seed, and the distance fields that define its lungs.

Lengths in mm in the phantom's own frame (x to the right, y to the front, z to the head; the middle of the thoracic
cavity is the origin). Measures are those of adults on chest CT, roughly; nothing here is a model of a real person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hirescam_cli.geometry.types import Voxels
from hirescam_cli.phantom.render import Ellipsoid, Point, Tube

_CAVITY_POWER = 2.3
_BODY_POWER = 2.5
SHELL_MM = 9.0


@dataclass(frozen=True)
class Anatomy:
    """Measures of one chest. Half widths are across (`_a`) and front to back (`_b`)."""

    cavity_a: float
    cavity_b: float
    muscle_mm: float
    fat_mm: float
    apex_z: float
    widest_z: float
    dome_z: tuple[float, float]
    mediastinum_x: float
    mediastinum_mm: float
    lung_hu: float
    gradient_hu: float
    vessel_hu: float
    blood_hu: float
    bone_hu: float
    rib_pitch_mm: float
    rib_phase_mm: float
    rib_tilt: float
    spine_x: float
    spine_mm: float
    disc_phase_mm: float
    heart_scale: float
    heart_centre: Point
    heart_turn_deg: tuple[float, float]
    epicardial_mm: float
    breast_mm: float
    table: bool
    gas: bool
    catheter: bool
    calcified_aorta: bool
    ripple: tuple[float, ...]

    @property
    def spine_y(self) -> float:
        """Front-to-back place of the vertebral bodies' centres."""
        return -0.70 * self.cavity_b

    @property
    def body(self) -> tuple[float, float]:
        """Half width and half depth of the skin's outline at its widest."""
        wall = SHELL_MM + self.muscle_mm + self.fat_mm
        return self.cavity_a + wall, self.cavity_b + wall

    def taper(self, z: Voxels | float) -> Voxels:
        """Scale of the body's outline at height z: it narrows towards the neck."""
        t = np.clip((z - 95.0) / 90.0, 0.0, 1.0)
        return np.asarray(1.0 - 0.22 * t * t * (3.0 - 2.0 * t))

    def body_depth(self, x: Voxels, y: Voxels, z: Voxels, inset_mm: float = 0.0) -> Voxels:
        """Signed depth below the skin (or `inset_mm` below it)."""
        a, b = (half - inset_mm for half in self.body)
        plane = np.sqrt((np.abs(x) / a) ** _BODY_POWER + (np.abs(y + 4.0) / b) ** _BODY_POWER)
        return (1.0 - plane * self.taper(z) ** (-_BODY_POWER / 2)) * (0.5 * (a + b) * 2.0 / _BODY_POWER)

    def skin_y(self, x: float, z: float, inset_mm: float = 0.0) -> float:
        """Front of the body (or of the layer `inset_mm` below the skin) at x and z."""
        a, b = ((half - inset_mm) * float(self.taper(z)) for half in self.body)
        rest = max(0.0, 1.0 - (abs(x) / a) ** _BODY_POWER)
        return float(b * rest ** (1.0 / _BODY_POWER)) - 4.0

    def cavity_depth(self, x: Voxels, y: Voxels, z: Voxels) -> Voxels:
        """Signed depth in mm below the inner wall of the rib cage, which closes as a dome at the apex."""
        plane = np.sqrt(
            (np.abs(x) / self.cavity_a) ** _CAVITY_POWER + (np.abs(y) / self.cavity_b) ** _CAVITY_POWER
        )
        t = np.clip((z - self.widest_z) / (self.apex_z - self.widest_z), 0.0, 0.995)
        scale = (1.0 - t**2.6) ** (1.0 / 2.6)
        depth = (1.0 - plane * scale ** (-_CAVITY_POWER / 2)) * (
            0.5 * (self.cavity_a + self.cavity_b) * 2.0 / _CAVITY_POWER
        )
        return np.minimum(depth, self.apex_z - z)

    def mediastinum_depth(self, x: Voxels, y: Voxels, z: Voxels) -> Voxels:
        """Signed depth in mm inside the space between the lungs (without the heart)."""
        height = np.clip((z - 40.0) / 50.0, 0.0, 1.0)
        half = self.mediastinum_mm * (0.34 + 0.66 * np.exp(-(((y + 14.0) / 46.0) ** 2))) + 4.0 * height
        behind = np.clip((-y - 0.55 * self.cavity_b) / 20.0, 0.0, 1.0)
        half = np.maximum(half, behind * (self.spine_mm + 3.0))
        return half - np.abs(x - self.mediastinum_x)

    def dome(self, x: Voxels, y: Voxels) -> Voxels:
        """Height of the diaphragm under (x, y): a dome on each side."""
        right, left = self.dome_z
        a, b = self.cavity_a, self.cavity_b
        back = ((y - 0.12 * b) / (0.9 * b)) ** 2 * 52.0
        surface_right = right - ((x - 0.50 * a) / (0.5 * a)) ** 2 * 26.0 - back
        surface_left = left - ((x + 0.52 * a) / (0.5 * a)) ** 2 * 26.0 - back
        return np.maximum(surface_right, surface_left)

    def lung_depth(self, x: Voxels, y: Voxels, z: Voxels) -> Voxels:
        """Signed depth in mm inside the lungs, the heart left out."""
        sides = np.minimum(self.cavity_depth(x, y, z), -self.mediastinum_depth(x, y, z))
        return np.asarray(np.minimum(sides, z - self.dome(x, y)))

    def heart(self) -> Ellipsoid:
        """The heart's muscle and chambers; its long axis points to the left, the front and the feet."""
        down, forward = (math.radians(angle) for angle in self.heart_turn_deg)
        long_axis = np.array(
            [-math.cos(down) * math.cos(forward), math.cos(down) * math.sin(forward), -math.sin(down)]
        )
        across = np.cross(long_axis, (0.0, 0.0, 1.0))
        across /= np.linalg.norm(across)
        third = np.cross(long_axis, across)
        rows = [tuple(float(v) for v in row) for row in (long_axis, across, third)]
        s, a = self.heart_scale, self.cavity_a
        radii = (s * 0.46 * a, min(s * 0.37 * a, 0.80 * self.cavity_b), s * 0.36 * a)
        x, y, z = self.heart_centre
        swelling = self.heart_scale - 1.0
        centre = (x - 10.0 * swelling, y, z + 8.0 * swelling)
        return Ellipsoid(centre, radii, (rows[0], rows[1], rows[2]))  # type: ignore[arg-type]

    def aorta(self) -> list[Tube]:
        """Ascending aorta, arch and descending aorta."""
        x, y, _ = self.heart_centre
        down_x, down_y = self.spine_x - self.spine_mm - 5.0, self.spine_y + 12.0
        arch: list[Point] = [(x + 26.0, y, -10.0), (x + 30.0, y + 6.0, 32.0), (x + 20.0, y - 2.0, 54.0)]
        arch += [(0.5 * (x + 20.0 + down_x), 0.5 * (y + down_y), 60.0), (down_x, down_y + 8.0, 50.0)]
        radius = 13.5 * self.cavity_a / 122.0
        tubes = [Tube(a, b, radius) for a, b in pairwise(arch)]
        tubes.append(Tube((down_x, down_y + 8.0, 50.0), (down_x, down_y, 30.0), radius, 0.92 * radius))
        tubes.append(Tube((down_x, down_y, 30.0), (down_x + 6.0, down_y, -200.0), 0.9 * radius, 0.8 * radius))
        return tubes

    def airways(self) -> list[Tube]:
        """Trachea and main bronchi."""
        x = self.mediastinum_x
        carina = (x, -18.0, 44.0)
        return [
            Tube((x + 1.0, -6.0, 220.0), carina, 9.0),
            Tube(carina, (x + 34.0, -20.0, 16.0), 7.0, 5.0),
            Tube(carina, (x - 36.0, -20.0, 12.0), 6.5, 4.5),
        ]

    def hila(self) -> tuple[Point, Point]:
        """Where the lungs' vessels start, right and left."""
        x, half = self.mediastinum_x, self.mediastinum_mm
        return (x + half - 2.0, -14.0, 12.0), (x - half + 2.0, -14.0, 16.0)

    def pulmonary_arteries(self) -> list[Tube]:
        """Pulmonary trunk and its two branches."""
        x, y, _ = self.heart_centre
        right, left = self.hila()
        fork = (x + 4.0, y - 10.0, 26.0)
        return [
            Tube((x, y + 14.0, -8.0), fork, 12.0),
            Tube(fork, left, 11.0, 8.0),
            Tube(fork, right, 10.0, 8.0),
        ]

    def caval_path(self) -> list[Point]:
        """From the left subclavian vein through the superior vena cava and right atrium to the right ventricle."""
        x, y, z = self.heart_centre
        apex = self.heart().radii[0]
        return [
            (self.mediastinum_x - 0.42 * self.cavity_a, 0.55 * self.cavity_b, self.apex_z - 22.0),
            (self.mediastinum_x - 14.0, 24.0, self.apex_z - 34.0),
            (self.mediastinum_x + 20.0, 12.0, 62.0),
            (x + 38.0, y - 8.0, z + 16.0),
            (x + 26.0, y + 2.0, z - 8.0),
            (x - 0.55 * apex, y + 14.0, z - 20.0),
        ]


def draw_anatomy(rng: np.random.Generator, *, large_heart: bool) -> Anatomy:
    """Anatomy drawn from `rng`; the same draws are used up whether or not the heart is large."""

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    size = float(np.clip(rng.normal(1.0, 0.06), 0.88, 1.12))
    a, b = 121.0 * size * between(0.94, 1.06), 83.0 * size * between(0.92, 1.10)
    right_dome = between(-74.0, -46.0)
    normal, large = between(0.80, 1.0), between(1.26, 1.46)
    contrast = between(0.0, 1.0) < 0.4
    enhanced, plain = between(140.0, 320.0), between(34.0, 48.0)
    return Anatomy(
        cavity_a=a,
        cavity_b=b,
        muscle_mm=between(9.0, 20.0),
        fat_mm=between(6.0, 28.0),
        apex_z=128.0 * size * between(0.95, 1.05),
        widest_z=between(-10.0, 25.0),
        dome_z=(right_dome, right_dome - between(2.0, 16.0)),
        mediastinum_x=between(-5.0, 5.0),
        mediastinum_mm=between(27.0, 37.0),
        lung_hu=between(-890.0, -800.0),
        gradient_hu=between(20.0, 90.0),
        vessel_hu=enhanced * 0.8 if contrast else plain,
        blood_hu=enhanced if contrast else plain,
        bone_hu=between(0.75, 1.2),
        rib_pitch_mm=between(24.0, 30.0),
        rib_phase_mm=between(0.0, 30.0),
        rib_tilt=between(0.35, 0.65),
        spine_x=between(-4.0, 4.0),
        spine_mm=between(15.0, 19.0) * size,
        disc_phase_mm=between(0.0, 27.0),
        heart_scale=large if large_heart else normal,
        heart_centre=(between(-22.0, -13.0), between(8.0, 22.0), between(-44.0, -28.0)),
        heart_turn_deg=(between(15.0, 40.0), between(15.0, 45.0)),
        epicardial_mm=between(3.0, 6.0),
        breast_mm=between(12.0, 34.0) if between(0.0, 1.0) < 0.5 else 0.0,
        table=between(0.0, 1.0) < 0.7,
        gas=between(0.0, 1.0) < 0.6,
        catheter=between(0.0, 1.0) < 0.2,
        calcified_aorta=between(0.0, 1.0) < 0.3,
        ripple=tuple(float(v) for v in rng.uniform(0.0, 2.0 * math.pi, 12)),
    )
