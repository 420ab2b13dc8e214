"""Networks with weights defined by formula, and maps by plain automatic differentiation to compare with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.model.architectures.axialnet import AxialNet, described
from hirescam_cli.prepare.steps.normalise import Normalise
from hirescam_cli.prepare.steps.window import Window

FEED = Feed((Window(((-1000.0, 200.0),)), Normalise(0.449)), "slab:3", 3, "icjk")
SCALE = FEED.tensor
BOTH = ("hirescam", "gradcam")
GROUPS = 5


def unit(n: int, k: int) -> NDArray[np.float64]:
    """n numbers in [0, 1) that look random and depend on k alone."""
    s = np.sin(12.9898 * np.arange(n) + 78.233 * (k + 1)) * 43758.5453
    return s - np.floor(s)


def fill(network: nn.Module) -> None:
    """Set the weights of `network` by the formula of the reference values, tensor by tensor."""
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    for k, (name, tensor) in enumerate(state.items()):
        u = unit(tensor.numel(), k)
        if tensor.ndim == 4:
            values = (2 * u - 1) * np.sqrt(6.0 / tensor[0].numel())
        elif name.endswith("running_var"):
            values = 0.5 + u
        elif name.endswith("weight"):
            values = 0.8 + 0.4 * u
        else:
            values = 0.2 * u - 0.1
        tensor.copy_(torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape))


def tiny(labels: int = 5, width: int = 2) -> AxialNet:
    """AxialNet of the papers' topology (420 pixels, four head convolutions) with a very narrow trunk."""
    network = AxialNet(labels, width, (6, 5, 4, 4))
    fill(network)
    return network.eval()


def groups_of_hu(groups: int, seed: int = 0, side: int = 420) -> NDArray[np.int16]:
    """Made-up HU [groups, 3, side, side], smooth enough that neighbouring cells differ by content."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-1000, 400, size=(groups, 3, side // 20, side // 20))
    return np.repeat(np.repeat(coarse, 20, axis=2), 20, axis=3).astype(np.int16)


def by_autograd(network: AxialNet, values: Tensor, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    """HiResCAM and Grad-CAM maps [L, S, h, w] and logits [L] of values [S, 3, side, side].

    The whole scan at once, one backward pass from each logit through the unchanged network.
    """
    own = copy.deepcopy(network).eval()
    for module in own.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    kept: list[Tensor] = []
    own.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    logits = own(values[None])[0]
    (activation,) = kept
    fine, coarse = [], []
    for logit in logits:
        (gradient,) = torch.autograd.grad(logit, activation, retain_graph=True)
        alpha = gradient.mean(dim=(0, 2, 3))
        fine.append((gradient * activation).sum(dim=1).detach())
        coarse.append((alpha[None, :, None, None] * activation).sum(dim=1).detach())
    return torch.stack(fine), torch.stack(coarse), logits.detach()


def engine_of(network: AxialNet, layer: str, **options: Any) -> Engine:
    """An engine for a network; `options` are the engine's."""
    return Engine(described(network), FEED, target_layer=layer, **options)


def run(
    network: AxialNet,
    hu: NDArray[np.int16],
    layer: str = "conv2d.7",
    *,
    padding: Sequence[bool] | None = None,
    methods: Sequence[str] = BOTH,
    **options: Any,
) -> Explanation:
    """Explain groups of HU with an engine of its own; `options` are the engine's."""
    engine = engine_of(network, layer, **options)
    groups = np.zeros(len(hu), dtype=bool) if padding is None else np.asarray(padding)
    return engine.explain(hu, groups, methods)


def assert_close(found: NDArray[Any], expected: NDArray[Any] | Tensor, tolerance: float = 1e-5) -> None:
    """Equal shapes, and no difference above `tolerance` of the largest expected value."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
