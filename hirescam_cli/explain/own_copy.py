"""The engine's own copy of a borrowed network, made ready to be explained and to be fast."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hirescam_cli.errors import ModelError, first_line

# On a CPU the front of the trunk takes two positions at a time: the largest activation is 22 MB then, and larger blocks
# go back to the system each time they are freed. Further down, where activations are small and weights are large,
# more positions at a time are faster.
CPU_PIECE = 2
FEW_VALUES_A_GROUP = 1 << 19

_FOLDABLE = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))


def own_copy(module: nn.Module, *, fold: bool, keep_in_place: bool) -> nn.Module:
    """A frozen copy in evaluation mode; `fold`: without batch norms; activations not in place unless that is kept.

    Hooks that a network has of its own belong to what it computes, and stay; those of backward passes do not.
    Raises ModelError for a network that cannot be copied.
    """
    own = copied(module).eval().requires_grad_(False)
    for part in own.modules():
        part._backward_hooks.clear()
        part._backward_pre_hooks.clear()
        if getattr(part, "inplace", False) is True and not keep_in_place:
            vars(part)["inplace"] = False
    if fold:
        _fold_batch_norms(own)
    return own


def copied(module: nn.Module, instead: Mapping[Tensor, Tensor] | None = None) -> nn.Module:
    """A deep copy, also of modules that keep what they have computed; `instead`: what stands for a tensor in it.

    Raises ModelError for a network that cannot be copied.
    """
    memo: dict[int, Tensor] = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    memo |= {id(tensor): other for tensor, other in (instead or {}).items()}
    try:
        with torch.no_grad():
            return copy.deepcopy(module, memo)
    except Exception as error:
        raise ModelError(
            f"The network cannot be copied: {first_line(error)}",
            hint="hirescam works on a copy; let its modules hold nothing that copy.deepcopy refuses.",
            code="model-copy",
        ) from error


def _fold_batch_norms(module: nn.Module) -> None:
    """Replace each convolution directly followed by a batch norm by one convolution (and an identity)."""
    for (name, conv), (after, norm) in pairwise(list(module._modules.items())):
        if isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, _BatchNorm) and _are_one(conv, norm):
            # Copies: one module may stand in several places.
            one = fuse_conv_bn_eval(copy.deepcopy(conv).double(), copy.deepcopy(norm).double())
            setattr(module, name, one.float())
            setattr(module, after, nn.Identity())
    for _, child in module.named_children():
        _fold_batch_norms(child)


def _are_one(conv: nn.Module, norm: _BatchNorm) -> bool:
    """Whether torch's own convolution and batch norm follow each other, and nothing else happens in them."""
    known = (type(conv), type(norm)) in _FOLDABLE
    plain = known and not any(part._forward_hooks or part._forward_pre_hooks for part in (conv, norm))
    return plain and norm.running_mean is not None and norm.running_var is not None


class InPieces(nn.Sequential):
    """A sequence whose first modules see CPU_PIECE positions at a time, until what they give is small."""

    def __init__(self, sequence: nn.Sequential) -> None:
        super().__init__(OrderedDict(sequence._modules))
        self._front: int | None = None

    def forward(self, positions: Tensor) -> Tensor:
        """What the sequence gives for all positions."""
        if self._front is None:
            self._front = self._measure(positions[:1].clone())
        modules = list(self)
        front, back = nn.Sequential(*modules[: self._front]), nn.Sequential(*modules[self._front :])
        pieces = [front(piece) for piece in torch.split(positions, CPU_PIECE)]
        whole: Tensor = back(torch.cat(pieces))
        return whole

    def _measure(self, position: Tensor) -> int:
        """How many modules there are up to the last one that gives much."""
        front = 0
        for n, module in enumerate(self, 1):
            position = module(position)
            if position.numel() > FEW_VALUES_A_GROUP:
                front = n
        return front


def take_in_pieces(module: nn.Module, trunk: str) -> None:
    """Let the trunk, if it is a plain sequence, work on pieces of what it is given."""
    part = module.get_submodule(trunk)
    if type(part) is nn.Sequential and not part._forward_hooks and not part._forward_pre_hooks:
        parent, _, name = trunk.rpartition(".")
        setattr(module.get_submodule(parent), name, InPieces(part))


def halve(trunk: Sequence[nn.Module], dtype: torch.dtype) -> None:
    """Run the modules of a trunk in `dtype`: what they take is cast, what leaves the last one is in fp32 again."""
    for module in trunk:
        module.to(dtype)
        module.register_forward_pre_hook(lambda _m, inputs: (inputs[0].to(dtype),))
    trunk[-1].register_forward_hook(lambda _m, _i, output: output.float())
