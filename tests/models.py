"""Model descriptions for tests, and what goes into them."""

from __future__ import annotations

from collections.abc import Sequence

from hirescam_cli.prepare import Preparation, radchest


def radchest_toml(
    spacing_mm: Sequence[float],
    shape: Sequence[int],
    hu_window: Sequence[float] = (-1000, 200),
    *,
    hu_clip: Sequence[float] = (-1000, 1000),
    interpolation: str = "bspline",
    subtract: float = 0.449,
    slab: int = 3,
) -> str:
    """[input] and [[preparation]] of RAD-ChestCT's steps."""
    low, high = hu_clip
    return f"""
[input]
axes = "IPL"
channels = "slab:{slab}"
[[preparation]]
step = "resample"
spacing_mm = {list(spacing_mm)}
interpolation = "{interpolation}"
[[preparation]]
step = "window"
hu = [{low}, {high}]
to = [{low}, {high}]
levels = {int(high - low) + 1}
[[preparation]]
step = "pad_crop"
shape = {list(shape)}
[[preparation]]
step = "window"
hu = {list(hu_window)}
[[preparation]]
step = "normalise"
subtract = {subtract}
"""


def axial(
    spacing_mm: tuple[float, float, float] = (0.8, 0.8, 0.8),
    slices: int = 6,
    side: int = 420,
    hu_window: tuple[float, float] = (-1000.0, 200.0),
    **more: object,
) -> Preparation:
    """RAD-ChestCT's preparation of square slices."""
    return radchest(spacing_mm, (slices, side, side), hu_window, **more)  # type: ignore[arg-type]
