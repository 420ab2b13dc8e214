"""The certificate of heads of every kind, and methods that ask a head again: identities, and captum as the referee."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hirescam_cli.errors import ModelError
from hirescam_cli.explain import trial
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.ensemble import Ensemble
from hirescam_cli.explain.replay import Replay
from hirescam_cli.explain.straight import refuse_cut, straightness
from tests.explain.tails import (
    CHANNELS,
    FEED,
    FROZEN,
    LABELS,
    SHAPE,
    Headed,
    Shortcut,
    explain,
    linear,
    network,
    piecewise,
    pooled,
    residuals,
    scan,
)
from tests.prepare.test_steps import Smooth

ALL = ("hirescam", "gradcam", "xgradcam", "layercam", "layer-ig", "ablation-cam")


def closed() -> Any:
    """Global average pooling and a linear layer, declared as such."""
    return network(pooled(), linear_head="head.2")


def values() -> Tensor:
    return FEED.tensor(torch.from_numpy(scan()))


def target(module: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = module.get_submodule("trunk")(x)
    return found.detach()


@pytest.mark.parametrize("head", [pooled, linear, piecewise])
def test_without_normalisers_map_and_bias_part_are_the_logit(head: Any) -> None:
    found = explain(network(head()))
    assert residuals(found).max() <= 1e-5
    assert np.abs(found.biases).min() > 1e-3
    assert found.frozen == ()


def test_a_bias_that_two_modules_share_counts_once() -> None:
    def tied() -> nn.Module:
        first, second = nn.Conv3d(CHANNELS, CHANNELS, 1), nn.Conv3d(CHANNELS, CHANNELS, 1)
        second.bias = first.bias
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), pooled())

    assert residuals(explain(network(tied()))).max() <= 1e-5


@pytest.mark.parametrize("name", FROZEN)
def test_a_normaliser_breaks_the_certificate_and_holding_it_constant_mends_it(name: str) -> None:
    kind, head = FROZEN[name]
    described = network(head())
    assert residuals(explain(described)).max() > 1e-2
    found = explain(described, freeze=(kind,))
    assert found.frozen == (kind,)
    assert residuals(found).max() <= 1e-5
    np.testing.assert_allclose(found.logits, explain(described).logits, rtol=1e-5, atol=1e-6)
    other = explain(described, freeze=("group-norm" if kind != "group-norm" else "softmax",))
    assert other.frozen == ()


def test_attention_held_constant_is_the_sum_with_its_weights_written_out() -> None:
    described = network(FROZEN["softmax"][1]())
    found = explain(described, freeze=("softmax",))
    module, activation = described.module, target(described.module, values()).requires_grad_()
    tokens = module.head[0](activation)
    weights = module.head[1].softmax(3 * module.head[1].score(tokens)).detach()
    logits = module.head[2]((weights * tokens).sum(dim=1))[0]
    for label in range(LABELS):
        (gradient,) = torch.autograd.grad(logits[label], activation, retain_graph=True)
        expected = (gradient * activation).sum(dim=1)[0].detach()
        np.testing.assert_allclose(found.cams["hirescam"][label], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", [pooled, linear, piecewise, FROZEN["softmax"][1]])
def test_integrated_gradients_account_for_the_logit_less_that_of_air(head: Any) -> None:
    described = network(head())
    found = explain(described, ("layer-ig",))
    air = torch.full((1, 1, *SHAPE), -2.0)
    with torch.no_grad():
        logits, of_air = (described.module(x)[0].double().numpy() for x in (values(), air))
    np.testing.assert_allclose(found.own_biases["layer-ig"], of_air, rtol=1e-5, atol=1e-6)
    sums = found.cams["layer-ig"].astype(float).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums, logits - of_air, rtol=5e-3, atol=2e-3)


def test_integrated_gradients_start_from_what_a_foreign_step_makes_of_air() -> None:
    described = network(linear())
    feed = dataclasses.replace(FEED, earlier=(Smooth(),))
    scan_0_to_1 = (scan().astype(np.float32) + 1000) / 2000
    found = Engine(described, feed).explain(scan_0_to_1, np.zeros(SHAPE[0], dtype=bool), ("layer-ig",))
    with torch.no_grad():
        of_air = described.module(torch.zeros(1, 1, *SHAPE))[0].double().numpy()
    np.testing.assert_allclose(found.own_biases["layer-ig"], of_air, rtol=1e-5, atol=1e-6)


def test_captum_gives_the_same_integrated_gradients_and_products() -> None:
    attr = pytest.importorskip("captum.attr")
    described = network(piecewise())
    module = described.module
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False
    found = explain(described, ("hirescam", "layer-ig"))

    class Captured(nn.Module):
        """The same network whose head gets a copy that it may overwrite."""

        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = module.trunk, module.head

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.head(self.trunk(x).clone())
            return answer

    own = Captured().eval()
    air = torch.full((1, 1, *SHAPE), -2.0)
    for label in range(LABELS):
        path = attr.LayerIntegratedGradients(own, own.trunk).attribute(
            values(), air, target=label, n_steps=50, method="gausslegendre"
        )
        np.testing.assert_allclose(
            found.cams["layer-ig"][label], path.sum(dim=1)[0].detach(), rtol=1e-3, atol=1e-5
        )
        products = attr.LayerGradientXActivation(own, own.trunk).attribute(values(), target=label)
        np.testing.assert_allclose(
            found.cams["hirescam"][label], products.sum(dim=1)[0].detach(), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("head", [pooled, piecewise])
def test_ablation_weighs_channels_by_what_the_logit_loses_without_them(head: Any) -> None:
    described = network(head())
    found = explain(described, ("ablation-cam",))
    module, activation = described.module, target(described.module, values())
    with torch.no_grad():
        logits = module.head(activation.clone())[0]
        expected = torch.zeros(LABELS, *activation.shape[2:])
        for channel in range(CHANNELS):
            less = activation.clone()
            less[:, channel] = 0
            weight = (logits - module.head(less)[0]) / logits
            expected += weight[:, None, None, None] * activation[0, channel]
    np.testing.assert_allclose(found.cams["ablation-cam"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ALL)
def test_the_closed_form_of_a_mean_and_a_linear_layer_is_what_gradients_give(method: str) -> None:
    fast, slow = explain(closed(), (method,)), explain(network(pooled()), (method,))
    np.testing.assert_allclose(fast.cams[method], slow.cams[method], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(fast.biases_of(method), slow.biases_of(method), rtol=1e-5, atol=1e-6)


def test_behind_a_mean_and_a_linear_layer_the_methods_are_one() -> None:
    found = explain(closed(), ("hirescam", "gradcam", "xgradcam", "cam", "layer-ig"))
    fine = found.cams["hirescam"]
    np.testing.assert_allclose(found.cams["gradcam"], fine, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.cams["cam"], fine * fine[0].size, rtol=1e-4, atol=1e-4)
    air = torch.full((1, 1, *SHAPE), -2.0)
    module = closed().module
    weight = module.head[2].weight.detach() / fine[0].size
    of_air = torch.einsum("lc,cijk->lijk", weight, target(module, air)[0])
    np.testing.assert_allclose(found.cams["layer-ig"], fine - of_air.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", [linear, piecewise])
def test_sums_and_parts_of_other_methods_are_those_of_hirescam(head: Any) -> None:
    described = network(head())
    found = explain(described, ("hirescam", "xgradcam", "layercam"))
    sums = {name: maps.astype(float).sum(axis=(1, 2, 3)) for name, maps in found.cams.items()}
    np.testing.assert_allclose(sums["xgradcam"], sums["hirescam"], rtol=1e-4, atol=1e-5)
    module, activation = described.module, target(described.module, values()).requires_grad_()
    logits = module.head(activation.clone())[0]
    for label in range(LABELS):
        (gradient,) = torch.autograd.grad(logits[label], activation, retain_graph=True)
        against = ((-gradient).clamp(min=0) * activation).sum(dim=1)[0].detach().numpy()
        np.testing.assert_allclose(
            found.cams["layercam"][label] - against, found.cams["hirescam"][label], rtol=1e-4, atol=1e-5
        )


def test_a_replay_does_not_run_the_trunk() -> None:
    described = network(piecewise())
    engine = Engine(described, FEED)
    calls = []
    engine.network.get_submodule("trunk.second").register_forward_hook(lambda *_: calls.append(1))
    engine.explain(scan(), np.zeros(SHAPE[0], dtype=bool), ("ablation-cam", "layer-ig", "hirescam"))
    assert len(calls) == 2  # the scan, and the volume of air


def test_a_replay_keeps_what_passes_by_the_target() -> None:
    class Passing(Headed):
        """Its logits know the trunk's first convolution too."""

        def forward(self, x: Tensor) -> Tensor:
            early = self.trunk.first(x)
            late = self.trunk.second(early.clamp(min=0))
            found: Tensor = self.head(late) + early.mean()
            return found

    described = network(pooled())
    module = Passing(described.module.head)
    module.load_state_dict(described.module.state_dict())
    for layer in ("trunk.second",):
        found = explain(
            network(pooled(), module=module.eval(), target_layer=layer, norms_follow=False),
            ("ablation-cam",),
        )
        activation = module.trunk.second(module.trunk.first(values()).clamp(min=0)).detach()
        with torch.no_grad():
            logits = module(values())[0]
            rest = logits - module.head(activation)[0]
            less = activation.clone()
            less[:, 0] = 0
            first = (logits - module.head(less)[0] - rest) / logits
        others = explain(
            network(pooled(), module=module, target_layer=layer, norms_follow=False), ("hirescam",)
        )
        assert others.cams["hirescam"].shape == found.cams["ablation-cam"].shape
        ratio = np.linalg.lstsq(
            activation[0].flatten(1).T.numpy(), found.cams["ablation-cam"].reshape(LABELS, -1).T, rcond=None
        )[0]
        np.testing.assert_allclose(ratio[0], first, rtol=1e-3, atol=1e-5)


def tried(described: Any, **options: Any) -> Any:
    return trial.run(Engine(described, FEED, **options), SHAPE, LABELS)


@pytest.mark.parametrize("head", [linear, piecewise, FROZEN["softmax"][1], FROZEN["group norm"][1]])
def test_sound_gradients_agree_with_finite_differences(head: Any) -> None:
    _, gradients = tried(network(head()))
    assert gradients.error < 0.05
    refuse_cut(gradients, "trunk")


def test_a_shortcut_that_leaves_autograd_is_refused() -> None:
    described = network(pooled(Shortcut()))
    assert residuals(explain(described)).max() > 1e-2
    _, gradients = tried(described)
    assert gradients.steady
    with pytest.raises(ModelError, match="lack a part") as caught:
        refuse_cut(gradients, "trunk")
    assert caught.value.code == "gradient-cut"
    assert "shortcut" in (caught.value.hint or "")


def test_where_a_maximum_has_no_derivative_nothing_is_said_to_lack() -> None:
    """Behind a maximum over equal values each side has its own derivative, and autograd a third."""
    found = straightness(lambda at: at.amax(dim=2), torch.ones(1, LABELS, 8))
    assert found.steady
    assert found.error > 0.1
    assert found.unexplained <= 0
    assert not found.sound
    refuse_cut(found, "trunk")


def test_beside_a_kink_a_cut_is_still_seen() -> None:
    activation = torch.rand(1, LABELS, 8, generator=torch.Generator().manual_seed(1)) + 1
    found = straightness(lambda at: at.amax(dim=2) + 3 * at.detach().sum(dim=2), activation)
    assert found.cut


def test_hardly_two_voxels_of_the_trial_are_alike() -> None:
    values = torch.zeros(1, 1, *SHAPE)
    values[..., 3:] = 1.0
    found = trial.without_ties(values)
    assert len(found.unique()) >= values.numel() - 3
    assert float((found - values).abs().max()) < 0.3
    assert torch.equal(found, trial.without_ties(values))


@pytest.mark.parametrize("seed", range(4))
def test_maximum_pools_behind_the_target_are_no_cut(seed: int) -> None:
    described = network(pooled(nn.BatchNorm3d(CHANNELS), nn.ReLU(), nn.MaxPool3d(2)), seed)
    _, gradients = tried(described)
    refuse_cut(gradients, "trunk")


CALLS = itertools.count()


class Counting(nn.Module):
    """A head that answers otherwise each time, by what is not part of it and so is not put back."""

    def __init__(self) -> None:
        super().__init__()
        self.rest = pooled()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.rest(x) + next(CALLS)
        return found


def test_replays_are_asked_for_only_where_methods_need_them() -> None:
    engine = Engine(network(Counting()), FEED)
    with pytest.raises(ModelError, match="cannot be run again by itself") as caught:
        trial.run(engine, SHAPE, LABELS)
    assert "hirescam" in str(caught.value.hint)
    _, gradients = trial.run(engine, SHAPE, LABELS, replays=False)
    refuse_cut(gradients, "trunk")


@pytest.mark.parametrize("at", ["output", "input"])
def test_without_replays_a_cut_is_found_all_the_same(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise ModelError("no replay", code="method-unavailable", hint="none")

    layer = {"target_layer": "trunk" if at == "output" else "head.0", "at": at}
    for head, cut in ((pooled(Shortcut()), True), (pooled(nn.ReLU()), False)):
        engine = Engine(network(head), FEED, **layer)
        _, by_replay = trial.run(engine, SHAPE, LABELS)
        with monkeypatch.context() as patched:
            patched.setattr(Replay, "check", refused)
            _, found = trial.run(engine, SHAPE, LABELS, replays=False)
        assert found.cut is by_replay.cut is cut
        assert found.error == pytest.approx(by_replay.error, abs=1e-3)


def test_what_does_not_fit_is_found_without_a_scan() -> None:
    engine = Engine(network(linear()), FEED)
    found = trial.dry_run(engine, SHAPE, LABELS)
    assert found is not None
    assert (found.answer, found.target) == ((1, LABELS), (1, CHANNELS, 4, 5, 6))
    for shape, labels, code in (((8, 10, 14), LABELS, "model-input"), (SHAPE, 5, "model-output")):
        with pytest.raises(ModelError) as caught:
            trial.dry_run(engine, shape, labels)  # type: ignore[arg-type]
        assert caught.value.code == code
    with pytest.raises(ModelError, match="2 times"):
        trial.dry_run(Engine(network(Twice()), FEED, target_layer="head.relu"), SHAPE, LABELS)
    with pytest.raises(ModelError, match="never"):
        trial.dry_run(Engine(network(Twice()), FEED, target_layer="head.spare"), SHAPE, LABELS)


class Twice(nn.Module):
    """A head with a module that is run twice, and one that is never run."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.spare, self.rest = nn.ReLU(), nn.ReLU(), pooled()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.rest(self.relu(self.relu(x)))
        return found


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    members = [network(piecewise(), seed) for seed in range(3)]
    apart = [explain(member, ("hirescam", "layer-ig")) for member in members]
    engine = Ensemble([Engine(member, FEED) for member in members])
    found = engine.explain(scan(), np.zeros(SHAPE[0], dtype=bool), ("hirescam", "layer-ig"))
    assert found.members is not None
    np.testing.assert_array_equal(found.members, [one.logits for one in apart])
    np.testing.assert_allclose(found.logits, np.mean([one.logits for one in apart], axis=0))
    np.testing.assert_allclose(found.probabilities, np.mean([one.probabilities for one in apart], axis=0))
    assert np.abs(found.probabilities - 1 / (1 + np.exp(-found.logits))).max() > 1e-4
    for method in ("hirescam", "layer-ig"):
        expected = np.mean([one.cams[method].astype(float) for one in apart], axis=0)
        np.testing.assert_allclose(found.cams[method], expected, rtol=1e-5, atol=1e-7)
    assert residuals(found).max() <= 1e-5
