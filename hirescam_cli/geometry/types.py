"""Names for kinds of arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Voxels: TypeAlias = NDArray[Any]
"""An array of numbers of any type: the voxels of a scan as a file stores them."""

DType: TypeAlias = np.dtype[Any]
"""The type of such numbers."""
