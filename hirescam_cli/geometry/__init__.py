"""Geometry of voxel grids: affines, derived grids, resampling. Pure functions of NumPy arrays.

Conventions: world points are RAS millimetres, an affine maps voxel indices (centres) to world points, and
every function that maps says from where to where.
"""

from hirescam_cli.geometry.affine import Affine
from hirescam_cli.geometry.grid import AxisOrder, Grid, PadCrop, pad_crop, reorient, resampled

__all__ = ["Affine", "AxisOrder", "Grid", "PadCrop", "pad_crop", "reorient", "resampled"]
