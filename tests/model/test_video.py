"""The video ResNets against what torchvision's own code answers for weights and input given by formula."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from hirescam_cli.case.evidence import certificate
from hirescam_cli.errors import ModelError
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.model.cells import follow
from hirescam_cli.model.contract import Network
from hirescam_cli.placement import At
from hirescam_cli.registries import ARCHITECTURES
from tests.explain.networks import unit

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "video.npz"
NAMES = ("r3d_18", "mc3_18", "r2plus1d_18")
LABELS = (0, 9, 17)
METHODS = ("hirescam", "gradcam", "xgradcam", "layercam", "cam")


@pytest.fixture(scope="module")
def reference() -> Mapping[str, NDArray[Any]]:
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


def filled(module: nn.Module, keys: NDArray[Any]) -> nn.Module:
    """The module with the weights of the reference: the k-th of the sorted names from `unit(size, k)`."""
    state = module.state_dict()
    for k, name in enumerate(keys.tolist()):
        tensor = state[name]
        u = unit(tensor.numel(), k)
        if tensor.ndim >= 2:
            values = (2 * u - 1) * np.sqrt(6.0 / tensor[0].numel())
        elif name.endswith("running_var"):
            values = 0.5 + u
        elif name.endswith("running_mean"):
            values = 0.2 * u - 0.1
        elif name.endswith(".weight"):
            values = (0.8 + 0.4 * u) * (0.1 if name.endswith("bn3.weight") else 1.0)
        else:
            values = 0.2 * u - 0.1
        tensor.copy_(torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape))
    return module.eval()


def reference_input() -> NDArray[np.float32]:
    """Values [3, 16, 64, 64]."""
    values = unit(3 * 16 * 64 * 64, 999).reshape(3, 16, 64, 64).astype(np.float32) - np.float32(0.5)
    values[:, 4:9, 20:40, 10:25] += np.float32(0.5)
    return values


class ThreeChannels(Feed):
    """A feed that answers with the reference's input, whose channels differ."""

    def tensor(self, positions: torch.Tensor, *_more: Any, **_options: Any) -> torch.Tensor:
        assert positions.shape == (16, 1, 64, 64)
        return torch.from_numpy(reference_input())[None]


def explained(network: Network, layer: str | None = None, methods: tuple[str, ...] = METHODS) -> Explanation:
    engine = Engine(network, ThreeChannels((), "one", 1, network.inputs), target_layer=layer)
    engine.check(methods)
    return engine.explain(np.zeros((16, 1, 64, 64), dtype=np.int16), np.zeros(16, dtype=bool), methods)


def built(name: str, reference: Mapping[str, NDArray[Any]]) -> Network:
    network = ARCHITECTURES.find(f"video.{name}").build({}, 18)
    filled(network.module, reference[f"{name}/keys"])
    return network


@pytest.mark.parametrize("name", NAMES)
def test_names_of_parameters_are_torchvisions(name: str, reference: Mapping[str, NDArray[Any]]) -> None:
    module = ARCHITECTURES.find(f"video.{name}").build({}, 18).module
    counters = "num_batches_tracked"
    assert (
        sorted(key for key in module.state_dict() if not key.endswith(counters))
        == reference[f"{name}/keys"].tolist()
    )


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_maps_are_those_of_the_reference(name: str, reference: Mapping[str, NDArray[Any]]) -> None:
    network = built(name, reference)
    found = explained(network)
    expected = reference[f"{name}/logits"]
    np.testing.assert_allclose(found.logits, expected, atol=1e-4 * np.abs(expected).max())
    assert found.slice_scores is None
    assert found.cells == tuple(reference[f"{name}/activation_shape"][2:])
    for method in ("hirescam", "gradcam"):
        for label in LABELS:
            wanted = reference[f"{name}/{method}/{label}"]
            assert np.abs(found.cams[method][label] - wanted).max() < 1e-4 * np.abs(wanted).max()
    np.testing.assert_array_equal(found.biases, reference[f"{name}/fc.bias"].astype(np.float64))
    for label in range(18):
        cam, bias, logit = found.cams["hirescam"][label], found.biases[label], found.logits[label]
        assert certificate(cam, bias, logit).residual < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_with_global_average_pooling_cam_is_hirescam_is_gradcam(
    name: str, reference: Mapping[str, NDArray[Any]]
) -> None:
    cams = explained(built(name, reference)).cams
    cells = cams["hirescam"][0].size
    scale = np.abs(cams["hirescam"]).max()
    for method, factor in (("gradcam", 1.0), ("xgradcam", 1.0), ("cam", 1.0 / cells)):
        assert np.abs(cams[method] * factor - cams["hirescam"]).max() < 1e-5 * scale, method


@pytest.mark.parametrize("layer", ["layer3", "layer2"])
def test_below_the_last_layer_the_bias_part_closes_the_sum(
    layer: str, reference: Mapping[str, NDArray[Any]]
) -> None:
    found = explained(built("r3d_18", reference), layer, ("hirescam", "xgradcam"))
    for label in LABELS:
        bias, logit = found.biases[label], found.logits[label]
        assert certificate(found.cams["hirescam"][label], bias, logit).residual < 1e-4
        sums = [float(found.cams[m][label].astype(np.float64).sum()) for m in ("hirescam", "xgradcam")]
        assert sums[0] == pytest.approx(sums[1], rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer", ["stem", "layer1", "layer2", "layer3", "layer4"])
def test_strides_are_those_of_real_activations(name: str, layer: str) -> None:
    network = ARCHITECTURES.find(f"video.{name}").build({}, 2)
    shapes: list[tuple[int, ...]] = []
    network.module.get_submodule(layer).register_forward_hook(
        lambda _m, _i, out: shapes.append(out.shape[2:])
    )
    with torch.no_grad():
        network.module.eval()(torch.zeros(1, 3, 16, 64, 64))
    stride = network.cells(layer, (16, 64, 64)).stride
    assert shapes[0] == tuple(int(np.ceil(n / s)) for n, s in zip((16, 64, 64), stride, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_centred_where_they_say(name: str) -> None:
    """With positive weights, the gradient of an inner cell to the input is symmetric about its centre."""
    network = ARCHITECTURES.find(f"video.{name}").build({}, 2)
    module = network.module.eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.01)
    x = torch.ones(1, 3, 40, 96, 96, requires_grad=True)
    kept: list[torch.Tensor] = []
    module.get_submodule("layer2").register_forward_hook(lambda _m, _i, out: kept.append(out))
    module(x)
    cell = (10 if name != "mc3_18" else 20, 6, 6)
    (gradient,) = torch.autograd.grad(kept[0][0, 0][cell], x)
    weights = gradient[0].sum(dim=0).double().numpy()
    cells = network.cells("layer2", (40, 96, 96))
    for axis in range(3):
        line = weights.sum(axis=tuple(a for a in range(3) if a != axis))
        centroid = (line * np.arange(line.size)).sum() / line.sum()
        assert centroid == pytest.approx(cells.stride[axis] * cell[axis] + cells.offset[axis], abs=0.05)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer", ["stem", "layer1", "layer2", "layer3", "layer4"])
@pytest.mark.parametrize("at", ["output", "input"])
def test_both_ends_of_a_layer_lie_where_they_can_be_followed_to(name: str, layer: str, at: At) -> None:
    network = ARCHITECTURES.find(f"video.{name}").build({}, 2)
    assert network.place(layer, (16, 64, 64), at) == follow(network.module, 3, layer, (16, 64, 64), at)


def test_what_has_no_place_or_is_no_parameter_is_refused() -> None:
    architecture = ARCHITECTURES.find("video.r3d_18")
    with pytest.raises(ModelError, match="no parameter 'width'"):
        architecture.build({"width": 3}, 2)
    with pytest.raises(ModelError, match="no layer 'avgpool'"):
        architecture.build({}, 2).cells("avgpool", (16, 64, 64))
