"""Small 3-D networks with all kinds of heads, and their contracts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.contract import Cells, Network
from hirescam_cli.prepare.steps.normalise import Normalise

LABELS, CHANNELS = 3, 4
SHAPE = (8, 10, 12)
FEED = Feed((Normalise(0.0, 500.0),), "one", 1, "ncijk")


class Trunk(nn.Module):
    """Two convolutions with a stride of 2; functional and in-place ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, CHANNELS, 3, padding=1)
        self.norm = nn.BatchNorm3d(CHANNELS)
        self.second = nn.Conv3d(CHANNELS, CHANNELS, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(functional.relu_(self.norm(self.first(x))))
        return found


class Headed(nn.Module):
    """A trunk and a head, which takes a map [1, C, 4, 5, 6]."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = Trunk(), head

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.trunk(x))
        return found


class Tokens(nn.Module):
    """[1, C, z, y, x] as [1, cells, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


class AttentionPool(nn.Module):
    """A weighted mean over cells, the weights by softmax, as Sybil's."""

    def __init__(self, functionally: bool) -> None:
        super().__init__()
        self.score, self.softmax = nn.Linear(CHANNELS, 1), nn.Softmax(dim=1)
        self.functionally = functionally

    def forward(self, tokens: Tensor) -> Tensor:
        scores = 3 * self.score(tokens)
        weights = functional.softmax(scores, dim=1) if self.functionally else self.softmax(scores)
        return (weights * tokens).sum(dim=1)


class SelfAttention(nn.Module):
    """torch's own multi-head attention, then the mean over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(CHANNELS, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed, _ = self.attention(tokens, tokens, tokens)
        found: Tensor = mixed.mean(dim=1)
        return found


class DotProduct(nn.Module):
    """Attention by the function for it, then the mean over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.all = nn.Linear(CHANNELS, 3 * CHANNELS)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.all(2 * tokens).chunk(3, dim=2)
        return functional.scaled_dot_product_attention(query, key, value).mean(dim=1)


class Unit(nn.Module):
    """The mean over cells on the unit sphere, as heads by cosine have it."""

    def __init__(self, functionally: bool) -> None:
        super().__init__()
        self.functionally = functionally

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3, 4))
        if self.functionally:
            return functional.normalize(pooled, dim=1)
        return pooled / pooled.norm(dim=1, keepdim=True)


class OverwritingReLU(nn.Module):
    """A ReLU that overwrites what it is given, without being a module that says so."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu_(x)


class Shortcut(nn.Module):
    """A residual block whose shortcut leaves autograd, as type A in MONAI and MedicalNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = functional.relu(self.conv(x) + x.data)
        return found


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(CHANNELS, 5), nn.ReLU(inplace=True), nn.Linear(5, LABELS))


def pooled(*before: nn.Module) -> nn.Module:
    """Modules, the mean over cells and a linear layer."""
    return nn.Sequential(*before, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(CHANNELS, LABELS))


def linear() -> nn.Module:
    """A linear layer over all cells."""
    return nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 4 * 5 * 6, LABELS))


def piecewise() -> nn.Module:
    """Convolution, ReLU that overwrites, max pool, batch norms (one without parameters), MLP."""
    return nn.Sequential(
        OverwritingReLU(),
        nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1),
        nn.BatchNorm3d(CHANNELS),
        nn.LeakyReLU(0.1, inplace=True),
        nn.BatchNorm3d(CHANNELS, affine=False),
        nn.MaxPool3d(2),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        _mlp(),
    )


FROZEN: dict[str, tuple[str, Any]] = {
    "softmax": ("softmax", lambda: nn.Sequential(Tokens(), AttentionPool(False), _mlp())),
    "functional softmax": ("softmax", lambda: nn.Sequential(Tokens(), AttentionPool(True), _mlp())),
    "multi-head": ("softmax", lambda: nn.Sequential(Tokens(), SelfAttention(), _mlp())),
    "dot product": ("softmax", lambda: nn.Sequential(Tokens(), DotProduct(), _mlp())),
    "layer norm": (
        "layer-norm",
        lambda: nn.Sequential(
            Tokens(), nn.LayerNorm(CHANNELS), nn.Flatten(), nn.Linear(CHANNELS * 120, LABELS)
        ),
    ),
    "rms norm": (
        "rms-norm",
        lambda: nn.Sequential(
            Tokens(), nn.RMSNorm(CHANNELS), nn.Flatten(), nn.Linear(CHANNELS * 120, LABELS)
        ),
    ),
    "group norm": ("group-norm", lambda: pooled(nn.GroupNorm(2, CHANNELS), nn.ReLU())),
    "instance norm": ("instance-norm", lambda: pooled(nn.InstanceNorm3d(CHANNELS, affine=True), nn.ReLU())),
    "l2 norm": ("l2-norm", lambda: nn.Sequential(Unit(True), nn.Linear(CHANNELS, LABELS))),
    "division by a norm": ("l2-norm", lambda: nn.Sequential(Unit(False), nn.Linear(CHANNELS, LABELS))),
}


def fill(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with weights that depend on nothing but the seed, statistics that are not 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        values = torch.rand(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + values)
        elif tensor.ndim > 1:
            tensor.copy_((2 * values - 1) * (6.0 / tensor[0].numel()) ** 0.5)
        else:
            tensor.copy_(values - 0.3)
    return module.eval()


def network(head: nn.Module, seed: int = 0, **changes: Any) -> Network:
    """A trunk with a head; its target is what the trunk gives."""

    def cells(_layer: str, _shape: Shape3) -> Cells:
        return Cells((2.0, 2.0, 2.0), (0.0, 0.0, 0.0))

    found = Network(
        fill(Headed(head), seed), "ncijk", "trunk", lambda _layer: "ncijk", cells, norms_follow=True
    )
    return replace(found, **changes)


def scan(seed: int = 1, shape: Shape3 = SHAPE) -> Any:
    """Made-up HU as positions [8, 1, 10, 12]."""
    return np.random.default_rng(seed).integers(-1000, 1000, size=(shape[0], 1, *shape[1:])).astype(np.int16)


def explain(
    described: Network, methods: Sequence[str] = ("hirescam",), *, seed: int = 1, **options: Any
) -> Explanation:
    """The explanation of a made-up scan."""
    engine = Engine(described, FEED, **options)
    return engine.explain(scan(seed), np.zeros(SHAPE[0], dtype=bool), methods)


def residuals(found: Explanation, method: str = "hirescam") -> Any:
    """|sum + bias - logit| / max(1, |logit|) of every label."""
    sums = found.cams[method].astype(np.float64).sum(axis=(1, 2, 3))
    return np.abs(sums + found.biases_of(method) - found.logits) / np.maximum(1.0, np.abs(found.logits))
