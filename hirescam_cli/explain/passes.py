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
    which it may overwrite.
    """
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor | None:
        if not leaf:
            # What follows may overwrite it.
            kept.append(value.clone() if isinstance(value, Tensor) else value)
            return None
        kept.append(value.detach().requires_grad_())
        torch.set_grad_enabled(True)
        return kept[-1].clone()

    def after(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        return keep(output)

    def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        first = keep(inputs[0])
        return None if first is None else (first, *inputs[1:])

    handle = layer.register_forward_hook(after) if at == "output" else layer.register_forward_pre_hook(before)
    # Recording begins at the target: the trunk below it keeps nothing.
    with torch.no_grad() if leaf else torch.inference_mode():
        try:
            yield kept
        finally:
            handle.remove()


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
