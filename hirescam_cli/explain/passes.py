"""What holds while a network is run for an explanation: the target's outputs are kept, algorithms are deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def captured(layer: nn.Module, *, leaf: bool) -> Iterator[list[Tensor]]:
    """Collect the outputs of `layer`; as `leaf`, only what follows it is recorded for gradients."""
    outputs: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        outputs.append(output.detach().requires_grad_() if leaf else output)
        return outputs[-1] if leaf else None

    handle = layer.register_forward_hook(hook)
    try:
        yield outputs
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
