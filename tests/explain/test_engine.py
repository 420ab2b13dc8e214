"""The engine on narrow networks against plain automatic differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hirescam_cli.case.evidence import certificate
from hirescam_cli.explain import gradients as gradients_module
from hirescam_cli.explain import own_copy
from hirescam_cli.explain.own_copy import InPieces
from hirescam_cli.model.architectures.axialnet import AxialNet
from tests.explain.networks import (
    BOTH,
    GROUPS,
    SCALE,
    assert_close,
    by_autograd,
    engine_of,
    groups_of_hu,
    run,
    tiny,
)


def test_the_scale_clamps_scales_and_subtracts() -> None:
    hu = torch.tensor([-2000, -1000, -400, 200, 3000], dtype=torch.int16)
    # (-400 + 1000) / 1200 = 0.5
    expected = np.array([0.0, 0.0, 0.5, 1.0, 1.0]) - 0.449
    np.testing.assert_allclose(SCALE(hu.reshape(5, 1, 1, 1)).flatten(), expected, atol=1e-7)


@pytest.mark.parametrize(
    "layer", ["conv2d.7", "conv2d.6", "conv2d.3", "conv2d.0", "features.7", "features.6.1.bn1"]
)
def test_maps_equal_plain_autograd(network: AxialNet, hu: Any, layer: str) -> None:
    fine, coarse, logits = by_autograd(network, SCALE(torch.from_numpy(hu)), layer)
    explanation = run(network, hu, layer)
    assert_close(explanation.cams["hirescam"], fine)
    assert_close(explanation.cams["gradcam"], coarse)
    assert_close(explanation.logits, logits)
    assert explanation.target_layer == layer


def test_gradcam_takes_the_mean_over_slices_too(network: AxialNet, hu: Any) -> None:
    """Weights of single slices would give another map here, so agreement with autograd means something."""
    values = SCALE(torch.from_numpy(hu))
    _, expected, _ = by_autograd(network, values, "conv2d.3")
    single = torch.cat([by_autograd(network, group[None], "conv2d.3")[1] for group in values], dim=1) / GROUPS
    assert np.abs(np.asarray(single - expected)).max() > 0.01 * expected.abs().max()


def test_slice_scores_average_to_the_logit(network: AxialNet, hu: Any) -> None:
    explanation = run(network, hu)
    with torch.no_grad():
        scores = [network(SCALE(torch.from_numpy(group))[None])[0].numpy() for group in hu[:, None]]
    assert_close(explanation.slice_scores, np.stack(scores, axis=1))
    np.testing.assert_allclose(
        explanation.slice_scores.mean(axis=1), explanation.logits, rtol=1e-5, atol=1e-6
    )
    probability = 1.0 / (1.0 + np.exp(-explanation.logits))
    np.testing.assert_allclose(explanation.probabilities, probability, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.3"])
@pytest.mark.parametrize("method", BOTH)
def test_one_method_alone_gives_what_both_together_give(
    network: AxialNet, hu: Any, layer: str, method: str
) -> None:
    alone, together = run(network, hu, layer, methods=(method,)), run(network, hu, layer)
    assert list(alone.cams) == [method]
    np.testing.assert_array_equal(alone.cams[method], together.cams[method])


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.5", "features.7"])
def test_the_size_of_chunks_does_not_matter(network: AxialNet, hu: Any, layer: str) -> None:
    whole = run(network, hu, layer, chunk=GROUPS)
    for chunk in (1, 3):
        parts = run(network, hu, layer, chunk=chunk)
        for method in BOTH:
            assert_close(parts.cams[method], whole.cams[method])
        assert_close(parts.slice_scores, whole.slice_scores)


@pytest.mark.parametrize(("small", "front"), [(1 << 30, 0), (12_500, 5), (1, 8)])
def test_the_front_of_the_trunk_works_on_pieces_and_nothing_changes(
    monkeypatch: pytest.MonkeyPatch, network: AxialNet, hu: Any, small: int, front: int
) -> None:
    """Width 2: 88,200 values a group after the first convolution, 22,050 after pooling and layer 1, 11,236 after 2."""
    fine, coarse, logits = by_autograd(network, SCALE(torch.from_numpy(hu)), "conv2d.7")
    monkeypatch.setattr(own_copy, "FEW_VALUES_A_GROUP", small)
    engine = engine_of(network, "conv2d.7", chunk=GROUPS)
    seen: list[int] = []
    trunk = engine.network.features
    assert isinstance(trunk, InPieces)
    trunk[0].register_forward_hook(lambda _module, _inputs, output: seen.append(len(output)))
    found = engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
    assert_close(found.cams["hirescam"], fine)
    assert_close(found.cams["gradcam"], coarse)
    assert_close(found.logits, logits)
    assert trunk._front == front
    # The one group that is measured with, then pieces of two, or all at once.
    assert seen == ([1, 2, 2, 1] if front else [1, GROUPS])


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.5"])
def test_a_second_run_gives_the_same_bits(network: AxialNet, hu: Any, layer: str) -> None:
    engine = engine_of(network, layer, chunk=2)
    first, second = (engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH) for _ in range(2))
    for method in BOTH:
        assert first.cams[method].tobytes() == second.cams[method].tobytes()
    assert first.slice_scores.tobytes() == second.slice_scores.tobytes()
    assert first.logits.tobytes() == second.logits.tobytes()


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.3"])
@pytest.mark.parametrize(
    "padding", [(1, 0, 0, 0, 1, 1), (0, 0, 0, 0, 1, 1), (1, 1, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1)]
)
def test_padding_groups_are_computed_once(network: AxialNet, layer: str, padding: Sequence[int]) -> None:
    flags = np.asarray(padding, dtype=bool)
    hu = groups_of_hu(6, seed=3)
    hu[flags] = -987
    every = run(network, hu, layer)
    engine = engine_of(network, layer, chunk=2)
    seen: list[int] = []
    engine.network.features.register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
    once = engine.explain(hu, flags, BOTH)
    assert sum(seen) == (~flags).sum() + 1
    for method in BOTH:
        assert_close(once.cams[method], every.cams[method])
    assert_close(once.slice_scores, every.slice_scores)
    assert_close(once.logits, every.logits)


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.3"])
def test_padding_that_is_not_alike_is_not_shared(network: AxialNet, layer: str) -> None:
    flags = np.array([1, 1, 0, 1, 1, 1], dtype=bool)
    hu = groups_of_hu(6, seed=3)
    hu[flags] = -987
    # Padding of another value, and a group of which one voxel was touched by resampling.
    hu[[3, 5]], hu[4, 2, 419, 419] = 0, -986
    every = run(network, hu, layer)
    engine = engine_of(network, layer, chunk=2)
    seen: list[int] = []
    engine.network.features.register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
    once = engine.explain(hu, flags, BOTH)
    # The scan's group, air (twice), zeros (twice), and the touched one.
    assert sum(seen) == 4
    for method in BOTH:
        assert_close(once.cams[method], every.cams[method])
    assert_close(once.slice_scores, every.slice_scores)
    assert np.abs(once.slice_scores[:, 3] - once.slice_scores[:, 0]).max() > 1e-4
    assert_close(once.logits, every.logits)


def test_forward_only_gives_the_slice_scores(network: AxialNet, hu: Any) -> None:
    engine = engine_of(network, "conv2d.7", chunk=2)
    explanation = engine.explain(hu, np.zeros(GROUPS, dtype=bool), ("hirescam",))
    np.testing.assert_array_equal(engine.forward_only(hu), explanation.slice_scores.T)


def test_the_certificate_holds_at_the_last_layer_and_fails_for_a_wrong_map(
    network: AxialNet, hu: Any
) -> None:
    explanation = run(network, hu)
    for label, map_lsyx in enumerate(explanation.cams["hirescam"]):
        bias, logit = explanation.biases[label], explanation.logits[label]
        assert certificate(map_lsyx, bias, logit).residual <= 1e-5
        wrong = map_lsyx.copy()
        wrong[0, 0, 0] += 1e-3 * max(1.0, abs(logit))
        assert not certificate(wrong, bias, logit).complete


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.5"])
def test_half_precision_stays_near_and_complete(
    network: AxialNet, hu: Any, precision: str, layer: str
) -> None:
    exact, half = run(network, hu, layer), run(network, hu, layer, precision=precision)
    difference = np.abs(half.logits - exact.logits).max()
    assert 0 < difference < {"bf16": 0.05, "fp16": 0.01}[precision] * np.abs(exact.logits).max()
    if layer == "conv2d.7":
        for label, map_lsyx in enumerate(half.cams["hirescam"]):
            assert certificate(map_lsyx, half.biases[label], half.logits[label]).residual <= 1e-5


def test_gradients_are_taken_for_few_labels_at_a_time_and_never_below_the_layer(
    monkeypatch: pytest.MonkeyPatch, hu: Any
) -> None:
    network = tiny(labels=37)
    calls: list[tuple[int, ...]] = []
    original = torch.autograd.grad

    def spy(
        outputs: Tensor, inputs: list[Tensor], grad_outputs: Tensor, **options: Any
    ) -> tuple[Tensor, ...]:
        assert all(tensor.is_leaf for tensor in inputs)
        calls.append(tuple(grad_outputs.shape))
        return original(outputs, inputs, grad_outputs, **options)

    monkeypatch.setattr(torch.autograd, "grad", spy)
    explanation = run(network, hu, "conv2d.3", chunk=2)
    limit = gradients_module.LABELS_A_CHUNK
    assert max(labels for labels, _, _ in calls) == limit
    assert len(calls) == 3 * -(-37 // limit)  # three chunks of groups
    monkeypatch.undo()
    assert_close(
        explanation.cams["hirescam"], by_autograd(network, SCALE(torch.from_numpy(hu)), "conv2d.3")[0]
    )


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_gradients_within_the_trunk_are_taken_in_fp32(network: AxialNet, hu: Any, precision: str) -> None:
    """Seeds of 1 / groups and small weights would underflow in half precision on their way through the trunk."""
    engine = engine_of(network, "features.7", precision=precision)
    assert engine.precision == "fp32"
    assert engine.fallbacks == (f"precision fp32 instead of {precision}: features.7 lies in the trunk",)
    found = engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
    np.testing.assert_array_equal(found.cams["hirescam"], run(network, hu, "features.7").cams["hirescam"])
    head = engine_of(network, "conv2d.7", precision=precision)
    assert (head.precision, head.fallbacks) == (precision, ())
