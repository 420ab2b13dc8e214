"""What a method is: a formula over activations and gradients, with its name, title and unit.

A [n, C, y, x]: activations of the target at positions along the input's first axis, channels and cells of each
position. G [L, n, C, y, x]: gradients of each label's logit with respect to A. Maps [L, n, y, x] are signed. The engine
takes care of memory, of positions that are equal, and of the certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Method:
    """`name`: in options, file names and summaries; `title`: for people; `unit`: of a map's cells; `formula`: in words.

    `linear(A, weight, groups)`: the maps of all labels in closed form, where a weight [L, C, y, x] over each position
    and the mean over `groups` positions follow, so that G[l, n] = weight[l] / groups; None where G is needed.
    """

    name: str
    title: str
    formula: str
    unit: str = "logits per cell"
    linear: Callable[[Tensor, Tensor, int], Tensor] | None = None
    follows_gradients: ClassVar[bool] = False
    """Whether its maps are made of gradients at the scan itself, and so depend on normalisers held constant."""


@dataclass(frozen=True, kw_only=True)
class CellMethod(Method):
    """A method whose map at a cell depends on that cell alone. `maps(A, G)`: the maps."""

    maps: Callable[[Tensor, Tensor], Tensor]
    follows_gradients: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class ChannelMethod(Method):
    """A method whose map is the sum over channels of a weight times the activation.

    `share(A, G, counts, total)`: what some positions add to figures [..., L, C] over the whole input; `counts` [n] says
    how often each position stands in it, `total` is its number of cells. `weights(sum of the shares)`: [L, C].
    """

    share: Callable[[Tensor, Tensor, Tensor, int], Tensor]
    weights: Callable[[Tensor], Tensor]
    follows_gradients: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class HeadMethod(Method):
    """A method that exists only where a linear layer follows a mean over all cells: `linear` is all of it."""


@dataclass(frozen=True, kw_only=True)
class PathMethod(Method):
    """A method that follows the activation from that of a blank volume, A0, to the scan's.

    `maps(A - A0, G)`: the maps, with G averaged over `steps` points of the way. Where the head is linear G is the same
    everywhere, and `linear` is given A - A0. Its maps account for the logit less the blank volume's.
    """

    maps: Callable[[Tensor, Tensor], Tensor]
    steps: int = 50


@dataclass(frozen=True, kw_only=True)
class AblationMethod(Method):
    """A method whose map is the sum over channels of a weight times the activation, from what each channel does.

    `weights(logits [L], without [L, C])`: the weights [L, C], from the logits without each of the channels.
    """

    weights: Callable[[Tensor, Tensor], Tensor]
