"""A head that is linear in the target: its weights as maps, from which maps follow in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

_LINEAR = (nn.Linear.forward, nn.Conv2d.forward, nn.Conv3d.forward)


@dataclass(frozen=True, eq=False)
class LinearHead:
    """score[l] of a position = sum over c, y, x of `weight` [L, C, y, x] * A + `bias` [L]; the logit is their mean.

    Behind a mean over cells `weight` is a view that holds each number once, however many cells there are.
    """

    weight: Tensor
    bias: Tensor


def is_linear_head(module: nn.Module) -> bool:
    """Whether `linear_head` knows what to do with a module."""
    if type(module).forward not in _LINEAR or module._forward_hooks or module._forward_pre_hooks:
        # A forward or hooks of its own: what it does with its weights is not known.
        return False
    covering = isinstance(module, nn.Conv2d) and module.groups == 1
    return covering or behind_a_mean(module)


def linear_head(module: nn.Module, channels: int, cells: tuple[int, int]) -> LinearHead | None:
    """The head `module` over maps of `channels` and `cells` a position; None if it does not fit them.

    A convolution that covers the map, or a linear layer or 1 x 1 convolution behind a mean over all cells.
    """
    # By attribute: a weight that is worked out from others is no parameter.
    weight, bias = cast(Tensor, module.weight).detach().float(), getattr(module, "bias", None)
    if weight.shape[1] != channels:
        return None
    added = torch.zeros(len(weight)) if bias is None else bias.detach().float().cpu()
    if isinstance(module, nn.Conv2d) and tuple(weight.shape[2:]) == cells:
        return LinearHead(weight, added)
    if behind_a_mean(module):
        mean = weight.reshape(*weight.shape[:2], 1, 1) / (cells[0] * cells[1])
        return LinearHead(mean.expand(-1, -1, *cells), added)
    return None


def one_for_all_cells(weight: Tensor) -> bool:
    """Whether a head's weight [L, C, y, x] is the same at all cells, as its memory tells."""
    return weight.stride()[2:] == (0, 0)


def behind_a_mean(module: nn.Module) -> bool:
    """Whether a module weighs channels and knows no places: so it stands behind a mean over all cells."""
    if isinstance(module, nn.Linear):
        return True
    return isinstance(module, nn.Conv2d | nn.Conv3d) and set(module.kernel_size) == {1} and module.groups == 1
