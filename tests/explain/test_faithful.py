"""Whatever a network does in its forward, the engine's copy does too: against autograd on the network itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from hirescam_cli.errors import ModelError
from hirescam_cli.explain import trial
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.feed import Feed
from hirescam_cli.model.contract import Cells, Network
from hirescam_cli.prepare.steps.normalise import Normalise
from tests.explain.networks import assert_close

SHAPE, LABELS, WIDTH = (6, 8, 10), 2, 4
METHODS = ("hirescam", "gradcam")
Values = Any


class Net(nn.Module):
    """Features, what follows them, the mean over cells, a linear layer."""

    def __init__(self, features: nn.Module, tail: nn.Module | None = None) -> None:
        super().__init__()
        self.features, self.tail = features, tail or nn.Identity()
        self.head = nn.Linear(WIDTH, LABELS)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.tail(self.features(x)).flatten(2).mean(dim=2))
        return found


def conv(stride: int = 2, channels: int = 1, kind: Any = nn.Conv3d) -> Any:
    return kind(channels, WIDTH, 3, stride=stride, padding=1)


class Standardised(nn.Conv3d):
    """A convolution with weight standardisation."""

    def forward(self, x: Tensor) -> Tensor:
        axes = (1, 2, 3, 4)
        weight = self.weight - self.weight.mean(axes, keepdim=True)
        weight = weight / (weight.std(axes, keepdim=True) + 1e-5)
        return functional.conv3d(x, weight, self.bias, self.stride, self.padding)


class Scaled(nn.Sequential):
    """A sequence that does more than its modules."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = super().forward(2.0 * x + 0.5)
        return found


def hooked(after: bool) -> nn.Module:
    part = conv()
    if after:
        part.register_forward_hook(lambda _m, _i, output: 2.0 * output - 0.3)
    else:
        part.register_forward_pre_hook(lambda _m, inputs: (3.0 * inputs[0] - 1.0,))
    return nn.Sequential(part, nn.ReLU())


def hooked_target() -> nn.Module:
    features = nn.Sequential(conv(), nn.ReLU())
    features.register_forward_hook(lambda _m, _i, output: 3.0 * output + 0.1)
    return features


def normed(part: nn.Module, **norm: Any) -> nn.Module:
    return nn.Sequential(part, nn.BatchNorm3d(WIDTH, **norm), nn.ReLU())


def twice() -> nn.Module:
    """One convolution in two places, with a batch norm of its own behind each."""
    one, relu = conv(1, WIDTH), nn.ReLU()
    return nn.Sequential(conv(), one, nn.BatchNorm3d(WIDTH), relu, one, nn.BatchNorm3d(WIDTH), relu)


VOLUMES: dict[str, Callable[[], nn.Module]] = {
    "old spectral norm": lambda: Net(nn.Sequential(torch.nn.utils.spectral_norm(conv()), nn.ReLU())),
    "old weight norm": lambda: Net(nn.Sequential(torch.nn.utils.weight_norm(conv()), nn.ReLU())),
    "spectral norm, folded": lambda: Net(normed(parametrizations.spectral_norm(conv()))),
    "weight norm, folded": lambda: Net(normed(parametrizations.weight_norm(conv()))),
    "hook before": lambda: Net(hooked(after=False)),
    "hook after": lambda: Net(hooked(after=True)),
    "hook of a folded convolution": lambda: Net(normed(hooked(after=True)[0])),  # type: ignore[index]
    "hook of the target": lambda: Net(hooked_target(), nn.Sequential(conv(1, WIDTH), nn.ReLU())),
    "weight standardisation": lambda: Net(normed(Standardised(1, WIDTH, 3, 2, 1))),
    "norm of the batch": lambda: Net(normed(conv(), track_running_stats=False)),
    "norm without parameters": lambda: Net(normed(conv(), affine=False)),
    "one convolution twice": lambda: Net(twice()),
    "norm": lambda: Net(normed(conv())),
}


def filled(module: nn.Module) -> nn.Module:
    """The module with weights and statistics of random numbers, always the same."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0.0, 0.3)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("weight", "weight_orig", "original0", "original1")) and tensor.ndim > 1:
                tensor.normal_(0.0, 0.4)
    return module.eval()


def volume(module: nn.Module, **changes: Any) -> Network:
    """The contract of a 3-D network whose target is `features`."""
    found = Network(
        filled(module),
        "ncijk",
        "features",
        lambda _layer: "ncijk",
        lambda _layer, _shape: Cells((2.0, 2.0, 2.0), (0.0, 0.0, 0.0)),
        norms_follow=True,
    )
    return replace(found, **changes)


def slices(module: nn.Module, **changes: Any) -> Network:
    """The contract of a 2-D network that scores slices."""
    axes = {"inputs": "icjk", "answer": "slice_scores", "activation": lambda _layer: "icjk"}
    return replace(volume(module), **{**axes, "trunk": ("features",), **changes})


def feed(described: Network) -> Feed:
    return Feed((Normalise(0.0, 500.0),), "one", 1, described.inputs)


def chosen(described: Network, **options: Any) -> Engine:
    """An engine as a session chooses it."""
    engine = Engine(described, feed(described), **options)

    def plain() -> Engine:
        return Engine(described, feed(described), rewriting=False, **options)

    trial.dry_run(engine, SHAPE, LABELS)
    engine = engine if trial.rewriting_holds(engine, plain, SHAPE) else plain()
    trial.run(engine, SHAPE, LABELS)
    return engine


def scan(seed: int = 1) -> Any:
    i, j, k = SHAPE
    return np.random.default_rng(seed).integers(-1000, 1000, size=(i, 1, j, k)).astype(np.int16)


def explained(engine: Engine, seed: int = 1, methods: tuple[str, ...] = METHODS) -> Any:
    return engine.explain(scan(seed), np.zeros(SHAPE[0], dtype=bool), methods)


def by_autograd(described: Network, seed: int = 1, at: str = "output") -> tuple[Values, Values]:
    """Logits [L] and HiResCAM maps [L, i, j, k], straight from the network itself."""
    module, kept = described.module, []

    def keep(value: Tensor) -> Tensor:
        kept.append(value.detach().clone().requires_grad_())
        return kept[-1].clone()

    layer = module.get_submodule(described.target_layer)
    if at == "output":
        handle = layer.register_forward_hook(lambda _m, _i, output: keep(output))
    else:
        handle = layer.register_forward_pre_hook(lambda _m, inputs: (keep(inputs[0]), *inputs[1:]))
    values = feed(described).tensor(torch.from_numpy(scan(seed)))
    try:
        logits = described.run(module, values).mean(dim=0)
    finally:
        handle.remove()
    gradients = [torch.autograd.grad(logit, kept[0], retain_graph=True)[0] for logit in logits]
    maps = torch.stack([(gradient * kept[0]).sum(dim=1) for gradient in gradients]).detach()
    return logits.detach(), maps.reshape(LABELS, -1, *maps.shape[-2:])


def assert_faithful(described: Network, at: str = "output", **options: Any) -> Engine:
    before = copy.deepcopy({name: value.clone() for name, value in described.module.state_dict().items()})
    engine = chosen(described, at=at, **options)
    found = explained(engine)
    after = described.module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    logits, maps = by_autograd(described, at=at)
    assert_close(found.logits, logits)
    assert_close(found.cams["hirescam"], maps)
    return engine


@pytest.mark.parametrize("name", VOLUMES)
def test_a_network_is_explained_as_it_computes(name: str) -> None:
    engine = assert_faithful(volume(VOLUMES[name]()))
    assert engine.rewriting


@pytest.mark.parametrize("name", ["hook before", "hook after", "hook of the target", "old spectral norm"])
def test_replays_count_hooks_once(name: str) -> None:
    engine = chosen(volume(VOLUMES[name]()))
    found = explained(engine, methods=("layer-ig",))
    sums = found.cams["layer-ig"].astype(np.float64).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums + found.biases_of("layer-ig"), found.logits, rtol=0, atol=0.02)


def test_a_batch_norm_whose_input_is_explained_is_not_folded() -> None:
    described = volume(Net(normed(conv())), target_layer="features.1")
    assert_faithful(described, at="input")


class Flat(Net):
    """The head over all cells of a slice, by a `view`."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__(features)
        self.head = nn.Linear(WIDTH * 4 * 5, LABELS)

    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        scores: Tensor = self.head(found.view(found.size(0), -1))
        return scores


class Indexed(Net):
    """A network that takes its trunk apart."""

    def forward(self, x: Tensor) -> Tensor:
        for module in self.features:  # type: ignore[attr-defined]
            x = module(x)
        x = self.tail(x + 0.0 * self.features[0].bias.sum())  # type: ignore[index]
        found: Tensor = self.head(x.mean(dim=(2, 3)))
        return found


def plane(channels: int = 1, stride: int = 2) -> nn.Module:
    return nn.Sequential(conv(stride, channels, nn.Conv2d), nn.ReLU())


@pytest.mark.parametrize(
    ("make", "changes", "rewriting"),
    [
        (lambda: Net(plane()), {}, True),
        (lambda: Net(Scaled(*plane())), {}, True),  # type: ignore[misc]
        (lambda: Flat(plane()), {}, False),
        (lambda: Indexed(plane(), plane(WIDTH, 1)), {"target_layer": "tail"}, True),
    ],
    ids=["plain", "sequence with a forward of its own", "view", "taken apart"],
)
def test_slices_are_explained_as_the_network_computes(
    make: Callable[[], nn.Module], changes: dict[str, Any], rewriting: bool
) -> None:
    assert assert_faithful(slices(make(), **changes)).rewriting is rewriting


class Apart(nn.Module):
    """A convolution and a norm of as many channels that do not follow each other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = conv(), conv(1, WIDTH), nn.BatchNorm3d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(functional.relu(self.norm(self.stem(x))))
        return found


def test_where_norms_do_not_follow_the_copy_goes_without_rewriting() -> None:
    assert not assert_faithful(volume(Net(Apart()))).rewriting


class Forgetful(nn.Module):
    """A module whose copy is another."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = 2.0

    def __deepcopy__(self, _memo: object) -> Forgetful:
        other = Forgetful()
        other.factor = 1.0
        return other

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Locked(nn.Module):
    """A module that cannot be copied."""

    def __deepcopy__(self, _memo: object) -> Locked:
        raise TypeError("cannot pickle '_thread.lock' object")

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    ("tail", "said"),
    [(Forgetful, "answers otherwise"), (Locked, "cannot be copied: TypeError: cannot pickle")],
)
def test_a_copy_that_is_another_network_is_refused(tail: type[nn.Module], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        chosen(volume(Net(nn.Sequential(conv(), nn.ReLU()), tail())))
    assert (caught.value.code, caught.value.exit_code) == ("model-copy", 2)


def test_a_compiled_module_is_refused() -> None:
    described = volume(Net(nn.Sequential(conv(), nn.ReLU()), torch.jit.script(nn.ReLU())))
    with pytest.raises(ModelError, match=r"'tail' is compiled by torch\.jit") as caught:
        Engine(described, feed(described))
    assert caught.value.code == "model-scripted"


class Residual(Net):
    """What follows the target's input is written into that very tensor."""

    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        found += self.tail(found)
        logits: Tensor = self.head(functional.relu(found).mean(dim=(2, 3, 4)))
        return logits


class Passing(Net):
    """A target that gives what it was given, which is overwritten afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        same = self.tail(found)
        found.mul_(0.0)
        logits: Tensor = self.head(same.mean(dim=(2, 3, 4)))
        return logits


def test_an_input_that_is_overwritten_afterwards_is_kept() -> None:
    module = Residual(nn.Sequential(conv(), nn.ReLU()), conv(1, WIDTH))
    assert_faithful(volume(module, target_layer="tail"), at="input")


def test_an_output_that_is_its_input_is_kept() -> None:
    """With a copy of its own, as the target's output is explained; autograd's reference has the same."""
    described = volume(Passing(nn.Sequential(conv(), nn.ReLU()), nn.Identity()), target_layer="tail")
    found = explained(Engine(described, feed(described)))
    logits, maps = by_autograd(described)
    assert_close(found.logits, logits)
    assert_close(found.cams["hirescam"], maps)
    assert np.abs(found.cams["hirescam"]).max() > 0


class Averaging(Net):
    """Running means in a buffer, a list, a number and a tensor, without asking for the mode."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(conv(), nn.ReLU()))
        self.register_buffer("mean", torch.zeros(1))
        self.bank: list[float] = []
        self.count, self.offset = 0, torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.5).add_(0.5 * x.detach().mean())
        self.bank.append(float(self.mean))
        self.count += 1
        self.offset = self.offset + self.mean * self.count
        return super().forward(x - self.mean - self.offset - sum(self.bank))


def test_a_scan_does_not_depend_on_those_before_it() -> None:
    described = volume(Averaging())
    engine = assert_faithful(described)
    alone = explained(chosen(volume(Averaging())), seed=3)
    explained(engine, seed=2)
    after = explained(engine, seed=3)
    assert alone.logits.tobytes() == after.logits.tobytes()
    assert alone.cams["hirescam"].tobytes() == after.cams["hirescam"].tobytes()
    assert isinstance(described.module, Averaging)
    assert (described.module.count, described.module.bank) == (
        1,
        [float(described.module.mean)],
    )  # autograd's


class Caching(Net):
    """A tensor made at the first forward."""

    cache: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        found = self.features(x)
        if self.cache is None:
            self.cache = torch.linspace(0.5, 1.5, found.numel(), device=x.device).reshape(found.shape)
        logits: Tensor = self.head((found * self.cache).mean(dim=(2, 3, 4)))
        return logits


def test_what_a_forward_caches_may_be_used() -> None:
    described = volume(Caching(nn.Sequential(conv(), nn.ReLU())))
    engine = chosen(described)
    assert vars(described.module).get("cache") is None
    found = explained(engine)
    logits, maps = by_autograd(described)
    assert_close(found.logits, logits)
    assert_close(found.cams["hirescam"], maps)


class Late(Net):
    """The pool before the trunk is registered after it."""

    def __init__(self, first: bool) -> None:
        super().__init__(nn.Sequential(conv(1, WIDTH), nn.ReLU()))
        stem = nn.Sequential(conv(), nn.ReLU())
        if first:
            trunk = self.features
            del self.features
            self.stem, self.features = stem, trunk
        else:
            self.stem = stem

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.stem(x))


@pytest.mark.parametrize("first", [True, False])
def test_a_trunk_above_the_target_stays_in_fp32(first: bool) -> None:
    described = volume(Late(first), target_layer="stem", trunk=("features",))
    engine = Engine(described, feed(described), precision="bf16")
    exact = Engine(described, feed(described))
    assert trial.trunk_follows(exact, SHAPE)
    if first:  # the order of registration tells; else the trial does
        assert engine.precision == "fp32"
        assert engine.fallbacks == ("precision fp32 instead of bf16: stem comes before the end of the trunk",)
        assert explained(engine).logits.tobytes() == explained(exact).logits.tobytes()
    below = replace(described, trunk=("stem",), target_layer="features")
    assert not trial.trunk_follows(Engine(below, feed(below)), SHAPE)


class Odd(Net):
    """Networks that cannot be explained, by what their forward does."""

    def __init__(self, kind: str) -> None:
        super().__init__(nn.Sequential(conv(), nn.ReLU()), nn.Sequential(conv(1, WIDTH), nn.ReLU()))
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "KeyError":
            return {"answer": super().forward(x)}["logits"]
        if self.kind == "no_grad":
            with torch.no_grad():
                return super().forward(x)
        if self.kind == "inference_mode":
            with torch.inference_mode():
                return super().forward(x)
        if self.kind == "checkpoint":
            from torch.utils.checkpoint import checkpoint

            found = checkpoint(self.tail, self.features(x), use_reentrant=True)
            logits: Tensor = self.head(found.mean(dim=(2, 3, 4)))
            return logits
        return super().forward(torch.cat([x, x.flip(2)])).mean(dim=0, keepdim=True)


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("KeyError", "model-input", "KeyError: 'logits'"),
        ("no_grad", "gradient-cut", "has no gradients"),
        ("inference_mode", "gradient-cut", "has no gradients"),
        ("checkpoint", "gradient-cut", "use_reentrant"),
        ("batch", "target-layer", "a batch of 2 for one scan"),
    ],
)
def test_what_cannot_be_explained_is_refused_at_load(kind: str, code: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        chosen(volume(Odd(kind)))
    assert (caught.value.code, caught.value.exit_code) == (code, 2)


def test_a_linear_head_with_a_weight_that_is_worked_out() -> None:
    module = Net(nn.Sequential(conv(), nn.ReLU()))
    module.head = parametrizations.weight_norm(module.head)
    assert assert_faithful(volume(module, linear_head="head")).closed_form


def test_a_linear_head_with_hooks_of_its_own_is_not_taken_for_linear() -> None:
    module = Net(nn.Sequential(conv(), nn.ReLU()))
    module.head.register_forward_hook(lambda _m, _i, output: 2.0 * output)
    assert not assert_faithful(volume(module, linear_head="head")).closed_form


def test_a_linear_head_behind_a_flatten_is_refused() -> None:
    class Flattened(Net):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.head(self.features(x).flatten(1))
            return found

    module = Flattened(nn.Sequential(conv(), nn.ReLU()))
    module.head = nn.Linear(WIDTH * 3 * 4 * 5, LABELS)
    with pytest.raises(ModelError, match="head is not linear in the 4 channels and 4 x 5 cells") as caught:
        chosen(volume(module, linear_head="head"))
    assert caught.value.code == "model-parameters"


class Unbatched(nn.Module):
    """Attention over tokens without a batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)[0].T
        found, _ = self.attention(tokens, tokens, tokens)
        mixed: Tensor = found.T[None]
        return mixed


def test_attention_without_a_batch_is_held() -> None:
    engine = chosen(volume(Net(nn.Sequential(conv(), nn.ReLU()), Unbatched())), freeze=("softmax",))
    found = explained(engine)
    assert found.frozen == ("softmax",)
    sums = found.cams["hirescam"].astype(np.float64).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums + found.biases, found.logits, rtol=0, atol=1e-5)
