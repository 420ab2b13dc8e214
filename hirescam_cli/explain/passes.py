"""What holds while a network is run for an explanation: the target is kept, algorithms are deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def captured(layer: nn.Module, at: str, *, leaf: bool) -> Iterator[list[Tensor]]:
    """Collect the outputs, or with `at` "input" the first inputs, of `layer`.

    As `leaf` each is one from which gradients are recorded, and nothing before it is; what follows gets a copy,
    which it may overwrite. So is each where something before the target still holds it, as it may overwrite it too.
    """
    kept: list[Tensor] = []

    def keep(value: Tensor, shared: bool) -> Tensor | None:
        if not leaf:
            # What follows may overwrite it.
            kept.append(value.clone() if isinstance(value, Tensor) else value)
            return None
        own = value.detach().clone() if shared else value.detach()
        kept.append(own.requires_grad_())
        torch.set_grad_enabled(True)
        return kept[-1].clone()

    def after(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return keep(output, any(_share_memory(value, output) for value in inputs))

    def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        first = keep(inputs[0], True)
        return None if first is None else (first, *inputs[1:])

    handle = layer.register_forward_hook(after) if at == "output" else layer.register_forward_pre_hook(before)
    # Recording begins at the target: the trunk below it keeps nothing.
    with torch.no_grad():
        try:
            yield kept
        finally:
            handle.remove()


def _share_memory(a: object, b: object) -> bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)) or a.is_meta or b.is_meta:
        return False
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


@contextmanager
def deterministic() -> Iterator[None]:
    """Algorithms that give the same bits each time, and no TF32; the global settings are put back."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = False, True, False, False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before
