"""The two rules for where the cells of a map lie on a network's input."""

from __future__ import annotations

from typing import Literal, get_args

At = Literal["output", "input"]
"""Which end of a layer is explained."""

Placement = Literal["stretch", "receptive-field"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)
