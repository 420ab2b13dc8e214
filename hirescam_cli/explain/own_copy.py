"""The engine's own copy of a borrowed network, made ready to be explained and to be fast."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# On a CPU the front of the trunk takes two positions at a time: the largest activation is 22 MB then, and larger blocks
# go back to the system each time they are freed. Further down, where activations are small and weights are large,
# more positions at a time are faster.
CPU_PIECE = 2
FEW_VALUES_A_GROUP = 1 << 19

_FOLDABLE = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))


def own_copy(module: nn.Module, *, fold: bool, keep_in_place: bool) -> nn.Module:
    """A frozen copy in evaluation mode; `fold`: without batch norms; activations not in place unless that is kept."""
    own = copy.deepcopy(module).eval().requires_grad_(False)
    for part in own.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
        part._backward_hooks.clear()
        if getattr(part, "inplace", False) is True and not keep_in_place:
            vars(part)["inplace"] = False
    if fold:
        _fold_batch_norms(own)
    return own


def _fold_batch_norms(module: nn.Module) -> None:
    """Replace each convolution directly followed by a batch norm by one convolution (and an identity)."""
    children = list(module.named_children())
    for (name, conv), (after, norm) in pairwise(children):
        for kind, kind_of_norm in _FOLDABLE:
            if isinstance(conv, kind) and isinstance(norm, kind_of_norm):
                setattr(module, name, fuse_conv_bn_eval(conv.double(), norm.double()).float())
                setattr(module, after, nn.Identity())
    for _, child in module.named_children():
        _fold_batch_norms(child)


class InPieces(nn.Module):
    """A sequence whose first modules see CPU_PIECE positions at a time, until what they give is small."""

    def __init__(self, sequence: nn.Sequential) -> None:
        super().__init__()
        self.sequence = sequence
        self._front: int | None = None

    def forward(self, positions: Tensor) -> Tensor:
        """What the sequence gives for all positions."""
        if self._front is None:
            self._front = self._measure(positions[:1].clone())
        front, back = self.sequence[: self._front], self.sequence[self._front :]
        pieces = [front(piece) for piece in torch.split(positions, CPU_PIECE)]
        whole: Tensor = back(torch.cat(pieces))
        return whole

    def _measure(self, position: Tensor) -> int:
        """How many modules there are up to the last one that gives much."""
        front = 0
        for n, module in enumerate(self.sequence, 1):
            position = module(position)
            if position.numel() > FEW_VALUES_A_GROUP:
                front = n
        return front


def take_in_pieces(module: nn.Module, trunk: str) -> None:
    """Let the trunk, if it is a sequence, work on pieces of what it is given."""
    part = module.get_submodule(trunk)
    if isinstance(part, nn.Sequential):
        parent, _, name = trunk.rpartition(".")
        setattr(module.get_submodule(parent), name, InPieces(part))


def halve(trunk: Sequence[nn.Module], dtype: torch.dtype) -> None:
    """Run the modules of a trunk in `dtype`: what they take is cast, what leaves the last one is in fp32 again."""
    for module in trunk:
        module.to(dtype)
        module.register_forward_pre_hook(lambda _m, inputs: (inputs[0].to(dtype),))
    trunk[-1].register_forward_hook(lambda _m, _i, output: output.float())
