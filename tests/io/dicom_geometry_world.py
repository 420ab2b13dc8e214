"""What the tests of dicom geometry share."""

from __future__ import annotations

import numpy as np

ORIGIN = np.array([-100.0, -120.0, -300.0])


def at(x: float, y: float, z: float) -> np.ndarray:
    """A position (LPS) relative to the origin."""
    return ORIGIN + np.array([x, y, z])


def positions(distances: list[float] | np.ndarray) -> list[np.ndarray]:
    """Axial positions at these distances from the origin."""
    return [at(0.0, 0.0, d) for d in distances]


def ramp(distances: list[float] | np.ndarray) -> np.ndarray:
    """Slices whose HU rise with their distance by 10 HU a millimetre, and along i, j by whole HU."""
    i, j = np.meshgrid(np.arange(24), np.arange(20), indexing="ij")
    return np.stack([np.rint(-900 + 10 * d) + 3 * i + 2 * j for d in distances], axis=-1).astype(np.int16)
