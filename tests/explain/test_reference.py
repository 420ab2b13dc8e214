"""The full-size network against what the authors' code answers (weights and input by formula)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hirescam_cli.case.evidence import certificate
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.model.architectures.axialnet import AxialNet, described
from tests.explain.networks import FEED, fill, unit

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "network.npz"
LABELS = (0, 41, 82)


@pytest.fixture(scope="module")
def reference() -> Mapping[str, NDArray[np.float32]]:
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def network() -> AxialNet:
    network = AxialNet(83)
    fill(network)
    return network.eval()


def reference_input() -> torch.Tensor:
    """Network values [4, 3, 420, 420]."""
    scan = unit(4 * 3 * 420 * 420, 999).reshape(4, 3, 420, 420) - 0.449
    scan[1, :, 100:220, 240:330] += 0.5
    return torch.from_numpy(scan.astype(np.float32))


VALUES = reference_input()


class Lookup(Feed):
    """A feed that takes the "HU" for the number of a group and answers with that group's network values."""

    def tensor(self, positions: torch.Tensor, *_more: Any, **_options: Any) -> torch.Tensor:
        return VALUES[positions[:, 0, 0, 0].long()]


def explain(network: AxialNet, layer: str) -> Explanation:
    """Run the engine on the reference input."""
    feed = Lookup(FEED.steps, FEED.channels, FEED.slab, FEED.inputs)
    engine = Engine(described(network), feed, target_layer=layer, chunk=2)
    groups = np.arange(4, dtype=np.int16).reshape(4, 1, 1, 1)
    return engine.explain(groups, np.zeros(4, dtype=bool), ("hirescam", "gradcam"))


@pytest.fixture(scope="module")
def last_layer(network: AxialNet) -> Explanation:
    return explain(network, "conv2d.7")


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference as a share of the largest magnitude."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_logits(last_layer: Explanation, reference: Mapping[str, NDArray[np.float32]]) -> None:
    assert relative_error(last_layer.logits, reference["logits"]) < 1e-5
    assert last_layer.logits[41] == pytest.approx(22.7085, abs=1e-3)
    np.testing.assert_array_equal(last_layer.biases, reference["fc_bias"].astype(np.float64))


def authors_display_form(cam: NDArray[np.float32]) -> NDArray[np.float32]:
    """ReLU, minus the minimum, divided by the maximum."""
    positive = np.maximum(cam, 0)
    positive = positive - positive.min()
    return positive / positive.max() if positive.max() > 0 else positive


@pytest.mark.parametrize("method", ["hirescam", "gradcam"])
@pytest.mark.parametrize("label", LABELS)
def test_maps_at_the_last_layer(
    last_layer: Explanation, reference: Mapping[str, NDArray[np.float32]], method: str, label: int
) -> None:
    expected = reference[f"{method}/conv2d.7/{label}"]
    found = last_layer.cams[method][label]
    assert found.shape == expected.shape == (4, 6, 6)
    assert relative_error(found, expected) < 1e-5
    shown = authors_display_form(found)
    # The display form divides by the positive peak: that magnifies the map's error and adds the peak's own.
    atol = 2e-5 * np.abs(expected).max() / max(expected.max(), 1e-30)
    np.testing.assert_allclose(shown, reference[f"{method}/conv2d.7/{label}/display"], rtol=0, atol=atol)


@pytest.mark.parametrize("layer", ["conv2d.5", "conv2d.3"])
def test_maps_at_earlier_layers(
    network: AxialNet, reference: Mapping[str, NDArray[np.float32]], layer: str
) -> None:
    explanation = explain(network, layer)
    for method in ("hirescam", "gradcam"):
        for label in LABELS:
            expected = reference[f"{method}/{layer}/{label}"]
            assert relative_error(explanation.cams[method][label], expected) < 1e-5, (method, label)


def test_hirescam_is_complete_and_gradcam_is_not(last_layer: Explanation) -> None:
    for label in range(83):
        bias, logit = last_layer.biases[label], last_layer.logits[label]
        assert certificate(last_layer.cams["hirescam"][label], bias, logit).complete
    found = certificate(last_layer.cams["gradcam"][41], last_layer.biases[41], last_layer.logits[41])
    assert not found.complete
    assert found.sum + found.bias == pytest.approx(16.5126, abs=1e-3)
