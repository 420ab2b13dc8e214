"""The engine where memory is short, networks are odd or fail, and what it must leave alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hirescam_cli.errors import HirescamError, MemoryUnavailableError, ModelError
from hirescam_cli.explain import parts as parts_module
from hirescam_cli.explain.engine import Engine
from hirescam_cli.model.architectures.axialnet import AxialNet, described
from tests.explain.networks import (
    BOTH,
    FEED,
    GROUPS,
    SCALE,
    assert_close,
    by_autograd,
    engine_of,
    fill,
    run,
    tiny,
)


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.3"])
@pytest.mark.parametrize("failing", [1, 2])
def test_a_chunk_that_ran_out_of_memory_is_computed_again_in_halves(
    monkeypatch: pytest.MonkeyPatch, hu: Any, layer: str, failing: int
) -> None:
    """The failure strikes inside a chunk, after some of its labels are done."""
    network = tiny(labels=37)
    expected = run(network, hu, layer)
    engine = engine_of(network, layer, chunk=4)
    calls = 0
    name = "_gradients" if layer == "conv2d.3" else "scores"
    owner = parts_module.Gradients if layer == "conv2d.3" else engine.network
    original = getattr(owner, name)

    def exhausted(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise torch.cuda.OutOfMemoryError("no memory")
        result: Tensor = original(*arguments)
        return result

    monkeypatch.setattr(owner, name, exhausted)
    found = engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
    for method in BOTH:
        assert_close(found.cams[method], expected.cams[method])
    assert_close(found.logits, expected.logits)
    assert engine.chunk == 2
    said = ("out of memory: chunks of 2 slice groups instead of 4",)
    assert found.fallbacks == said
    # The next scan is computed in the smaller chunks too, and says so.
    assert engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH).fallbacks == said


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("no memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_does_not_suffice_for_one_group_is_named(
    monkeypatch: pytest.MonkeyPatch, network: AxialNet, hu: Any, error: Exception
) -> None:
    engine = engine_of(network, "conv2d.7", chunk=4)

    def exhausted(_groups: Tensor) -> Tensor:
        raise error

    monkeypatch.setattr(engine.network, "scores", exhausted)
    with pytest.raises(MemoryUnavailableError, match="not enough free memory on this machine") as caught:
        engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
    assert (caught.value.code, caught.value.exit_code) == ("out-of-memory", 69)


def test_other_errors_of_the_network_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch, network: AxialNet, hu: Any
) -> None:
    engine = engine_of(network, "conv2d.7", chunk=4)

    def broken(_groups: Tensor) -> Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(engine.network, "scores", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)


def test_batch_norms_are_folded_only_where_the_network_says_that_they_follow(hu: Any) -> None:
    """A network that registers a norm after a convolution but applies it before."""

    class Before(AxialNet):
        def __init__(self) -> None:
            super().__init__(5, 2, (6, 5, 4, 4))
            self.stem = nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)

        def scores(self, groups: Tensor) -> Tensor:
            return super().scores(self.stem(self.norm(groups)))

    network = Before()
    fill(network)
    contract = replace(described(network.eval()), norms_follow=False)
    explanation = Engine(contract, FEED).explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
    expected = by_autograd(network, SCALE(torch.from_numpy(hu)), "conv2d.7")[2]
    assert_close(explanation.logits, expected)


def test_the_last_layer_needs_no_gradients(
    monkeypatch: pytest.MonkeyPatch, network: AxialNet, hu: Any
) -> None:
    def refuse(*_args: Any, **_options: Any) -> None:
        raise AssertionError("a backward pass")

    monkeypatch.setattr(torch.autograd, "grad", refuse)
    monkeypatch.setattr(Tensor, "backward", refuse)
    assert run(network, hu).cams["hirescam"].shape == (5, GROUPS, 6, 6)


def state_of(network: nn.Module) -> dict[str, Any]:
    """All that a borrower could change."""
    return {
        "weights": {k: v.numpy().tobytes() for k, v in network.state_dict().items()},
        "modules": [(name, type(module)) for name, module in network.named_modules()],
        "training": [module.training for module in network.modules()],
        "requires_grad": [p.requires_grad for p in network.parameters()],
        "grads": [None if p.grad is None else p.grad.numpy().tobytes() for p in network.parameters()],
        "formats": [p.stride() for p in network.parameters()],
        "inplace": [m.inplace for m in network.modules() if isinstance(m, nn.ReLU)],
        "hooks": [
            (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
            for m in network.modules()
        ],
        "global": (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32,
            torch.is_grad_enabled(),
        ),
    }


def borrowed() -> AxialNet:
    """A network in the middle of someone's training, with their own hook and gradients."""
    network = tiny()
    network.train()
    network.features[1].eval()
    network.fc.weight.grad = torch.ones_like(network.fc.weight)
    network.conv2d[0].weight.requires_grad_(False)
    network.conv2d[7].register_forward_hook(lambda _m, _i, output: output * 0.5)
    return network


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.3", "features.7"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_network_is_left_as_it_was(hu: Any, layer: str, precision: str) -> None:
    network = borrowed()
    before = state_of(network)
    explanation = run(network, hu, layer, precision=precision)
    assert state_of(network) == before
    if precision == "fp32":  # training mode does not reach the explanation; hooks are part of the network
        assert_close(explanation.logits, by_autograd(network, SCALE(torch.from_numpy(hu)), layer)[2])


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.3"])
def test_the_network_is_left_as_it_was_after_an_exception(hu: Any, layer: str) -> None:
    network = borrowed()
    before = state_of(network)
    engine = engine_of(network, layer, chunk=2)
    own = [copy.copy(m._forward_hooks) for m in engine.network.modules()]
    good = engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
    calls = 0

    def fail_late(_module: nn.Module, _inputs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("no more")

    handle = engine.network.fc.register_forward_pre_hook(fail_late)
    with pytest.raises(RuntimeError, match="no more"):
        engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
    handle.remove()
    assert state_of(network) == before
    assert [m._forward_hooks for m in engine.network.modules()] == own
    again = engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
    np.testing.assert_array_equal(again.cams["hirescam"], good.cams["hirescam"])


def test_a_running_session_does_not_see_later_changes_of_the_network(hu: Any) -> None:
    network = tiny()
    engine = engine_of(network, "conv2d.7")
    with torch.no_grad():
        network.fc.weight.zero_()
    assert np.abs(engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH).cams["hirescam"]).max() > 0


def test_an_answer_that_is_not_finite_is_an_error(hu: Any) -> None:
    network = tiny()
    with torch.no_grad():
        network.conv2d[6].weight.fill_(1e38)
    with pytest.raises(HirescamError) as caught:
        run(network, hu)
    assert (caught.value.code, caught.value.stage) == ("not-finite", "network")
    assert "fp32" in str(caught.value)


@pytest.mark.parametrize("layer", ["conv2d.9", "fc", "", "head", "features.7.2"])
def test_a_layer_that_is_not_there_is_refused(network: AxialNet, layer: str) -> None:
    with pytest.raises(ModelError, match=repr(layer)) as caught:
        engine_of(network, layer)
    assert caught.value.code == "target-layer"
    assert "conv2d.7" in str(caught.value.hint)
