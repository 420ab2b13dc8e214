"""MONAI's networks: the package itself is the reference, and their cells lie where their kernels put them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.networks import nets
from torch import nn

from hirescam_cli.case.evidence import certificate
from hirescam_cli.errors import ModelError
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.explain.measured import measure_cells
from hirescam_cli.model.cells import follow
from hirescam_cli.model.contract import Network
from hirescam_cli.registries import ARCHITECTURES

SHAPE = (64, 48, 40)
LABELS = 3
FEED = Feed((), "one", 1, "ncijk")
METHODS = ("hirescam", "gradcam", "xgradcam", "cam")

# name: what MONAI calls it, the number of labels there, stride and offset worked out by hand
NETWORKS: dict[str, tuple[Any, str, str, float, float]] = {
    "resnet10": (nets.resnet10, "n_input_channels", "num_classes", 16, 0),
    "resnet18": (nets.resnet18, "n_input_channels", "num_classes", 16, 0),
    "resnet34": (nets.resnet34, "n_input_channels", "num_classes", 16, 0),
    "resnet50": (nets.resnet50, "n_input_channels", "num_classes", 16, 0),
    # Three pools of two voxels, each half a cell off: 0.5 * (4 + 8 + 16).
    "densenet121": (nets.DenseNet121, "in_channels", "out_channels", 32, 14),
    # The first pool has three voxels and no padding: one cell of two voxels.
    "seresnet50": (nets.SEResNet50, "in_channels", "num_classes", 32, 2),
}


def values() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 1, SHAPE).astype(np.float32)


def built(name: str, **parameters: object) -> Network:
    torch.manual_seed(0)
    network = ARCHITECTURES.find(f"monai.{name}").build(parameters, LABELS)
    with torch.no_grad():
        for part in network.module.modules():
            if isinstance(part, nn.BatchNorm3d):
                part.running_mean.uniform_(-0.2, 0.2)
                part.running_var.uniform_(0.5, 1.5)
    network.module.eval()
    return network


def explained(network: Network, methods: tuple[str, ...] = METHODS, layer: str | None = None) -> Explanation:
    engine = Engine(network, FEED, target_layer=layer)
    engine.check(methods)
    return engine.explain(values()[:, None], np.zeros(SHAPE[0], dtype=bool), methods)


@pytest.mark.parametrize("name", NETWORKS)
def test_with_global_average_pooling_all_three_methods_are_one(name: str) -> None:
    network = built(name)
    assert Engine(network, FEED).closed_form
    found = explained(network)
    x = torch.from_numpy(values())[None, None]
    kept: list[torch.Tensor] = []
    layer = network.module.get_submodule(network.target_layer)
    # The naive way: the package's own pass, and a backward pass for each label.
    handle = layer.register_forward_hook(lambda _m, _i, out: kept.append(out))
    logits = network.module(x)
    handle.remove()
    np.testing.assert_allclose(found.logits, logits[0].detach(), rtol=1e-4, atol=1e-4)
    assert found.cells == tuple(kept[0].shape[2:])
    cams = found.cams
    scale = float(np.abs(cams["hirescam"]).max())
    for label in range(LABELS):
        (gradient,) = torch.autograd.grad(logits[0, label], kept[0], retain_graph=True)
        naive = (gradient * kept[0]).sum(dim=1)[0].detach().numpy()
        assert np.abs(cams["hirescam"][label] - naive).max() < 1e-4 * scale
        assert certificate(cams["hirescam"][label], found.biases[label], found.logits[label]).residual < 1e-4
    cells = cams["hirescam"][0].size
    for method, factor in (("gradcam", 1.0), ("xgradcam", 1.0), ("cam", 1.0 / cells)):
        assert np.abs(cams[method] * factor - cams["hirescam"]).max() < 1e-5 * scale, method
    sums = [cams[method].sum(axis=(1, 2, 3), dtype=np.float64) for method in ("hirescam", "xgradcam")]
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-5, atol=1e-6 * np.abs(sums[1]).max())


@pytest.mark.parametrize("layer", ["layer4.0.conv1", "layer4.0.bn1", "layer3"])
def test_an_inner_layer_is_explained_as_the_network_has_it(layer: str) -> None:
    """A convolution is not taken for the batch norm behind it, though the engine makes one of the two."""
    network = built("resnet10")
    found = explained(network, ("hirescam",), layer)
    for part in network.module.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    kept: list[torch.Tensor] = []
    network.module.get_submodule(layer).register_forward_hook(lambda _m, _i, out: kept.append(out))
    logits = network.module(torch.from_numpy(values())[None, None])
    for label in range(LABELS):
        (gradient,) = torch.autograd.grad(logits[0, label], kept[0], retain_graph=True)
        naive = (gradient * kept[0]).sum(dim=1)[0].detach().numpy()
        assert np.abs(found.cams["hirescam"][label] - naive).max() < 1e-3 * np.abs(naive).max()
        cam, bias, logit = found.cams["hirescam"][label], found.biases[label], found.logits[label]
        # Past a layer inside a block the shortcut carries evidence by.
        assert (certificate(cam, bias, logit).residual < 1e-4) == (layer == "layer3")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_module_is_monais_and_its_cells_lie_as_worked_out_by_hand(name: str) -> None:
    make, channels, outputs, stride, offset = NETWORKS[name]
    network = built(name)
    theirs = make(**{"spatial_dims": 3, channels: 1, outputs: LABELS})
    assert {k: v.shape for k, v in network.module.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    cells = network.cells(network.target_layer, SHAPE)
    assert (cells.stride, cells.offset) == ((stride,) * 3, (offset,) * 3)


def test_parameters_go_on_to_monai_by_its_names() -> None:
    network = built(
        "resnet10", n_input_channels=2, conv1_t_stride=[1, 2, 2], no_max_pool=True, widen_factor=0.5
    )
    cells = network.cells("layer4", SHAPE)
    assert (cells.stride, cells.offset) == ((8.0, 16.0, 16.0), (0.0, 0.0, 0.0))
    assert network.module.get_submodule("conv1").weight.shape == (32, 2, 7, 7, 7)  # type: ignore[union-attr]
    for layer, stride in (("layer3", (4.0, 8.0, 8.0)), ("layer1.0.conv1", (1.0, 2.0, 2.0))):
        assert network.cells(layer, SHAPE).stride == stride


@pytest.mark.parametrize("layer", ["layer2", "layer3", "layer4", "layer4.0.conv2", "maxpool"])
def test_the_input_of_a_layer_lies_where_what_came_before_put_it(layer: str) -> None:
    network = built("resnet10")
    declared = network.place(layer, SHAPE, "input")
    measured = measure_cells(Engine(network, FEED, target_layer=layer, at="input"), declared, SHAPE)
    assert measured.complete
    assert not measured.differs(declared)
    stride = {"layer2": 2.0, "layer3": 4.0, "layer4": 8.0, "layer4.0.conv2": 16.0, "maxpool": 1.0}
    assert declared.stride == (stride[layer],) * 3


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("resnet18", {"num_classes": 5}, "no parameter 'num_classes'"),
        ("resnet18", {"pretrained": True}, "no parameter 'pretrained'"),
        ("densenet121", {"out_channels": 5}, "no parameter 'out_channels'"),
        ("seresnet50", {"spatial_dims": 2}, "no parameter 'spatial_dims'"),
        ("resnet18", {"n_input_channels": 0}, "n_input_channels is 0, expected a whole number"),
        ("resnet18", {"shortcut_type": "C"}, r"MONAI does not build monai\.resnet18"),
        ("resnet18", {"norm": "nothing"}, r"MONAI does not build monai\.resnet18"),
        ("densenet121", {"growth_rate": "x"}, r"MONAI does not build monai\.densenet121"),
    ],
)
def test_what_monai_does_not_take_is_refused(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        ARCHITECTURES.find(f"monai.{name}").build(parameters, LABELS)
    assert caught.value.hint


def test_layers_without_a_place_and_inputs_that_do_not_fit_are_refused() -> None:
    network = built("resnet10")
    for layer, message in (
        ("nothing", "no layer 'nothing'"),
        ("", "no layer ''"),
        ("avgpool", "Where the cells of the layer 'avgpool' lie is not known"),
        ("layer1.0.act", "is run 2 times in a pass"),
    ):
        with pytest.raises(ModelError, match=message):
            network.cells(layer, SHAPE)
    with pytest.raises(ModelError, match="cannot take an input of 1 channel and 2 x 2 x 2 voxels"):
        built("densenet121").cells("class_layers.relu", (2, 2, 2))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "monai.networks.nets", None)
    with pytest.raises(ModelError, match="need the package MONAI") as caught:
        ARCHITECTURES.find("monai.resnet18").build({}, 2)
    assert "hirescam-cli[monai]" in str(caught.value.hint)


def chain(generator: np.random.Generator) -> nn.Sequential:
    """A few windows of any size, padding, step and spread, with pointwise layers between."""
    parts: list[nn.Module] = []
    for _ in range(int(generator.integers(2, 5))):
        kernel, step = (tuple(int(n) for n in generator.integers(1, high, 3)) for high in (5, 3))
        padding = tuple(int(generator.integers(0, k // 2 + 1)) for k in kernel)
        kind = generator.integers(0, 3)
        if kind == 0:
            spread = tuple(int(n) for n in generator.integers(1, 3, 3))
            parts += [nn.Conv3d(1, 1, kernel, step, padding, spread), nn.BatchNorm3d(1), nn.ReLU()]
        elif kind == 1:
            parts += [nn.AvgPool3d(kernel, step, padding), nn.LeakyReLU()]
        else:
            parts += [nn.ConstantPad3d((1, 0, 2, 1, 0, 3), 0.0), nn.Conv3d(1, 1, 3, padding="same")]
    return nn.Sequential(*parts)


@pytest.mark.parametrize("seed", range(12))
def test_places_are_the_centroids_of_gradients(seed: int) -> None:
    """With equal positive weights the gradient of an inner cell to the input is symmetric about its centre."""
    module = chain(np.random.default_rng(seed)).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.5)
    shape = (71, 68, 73)
    cells = follow(module, 1, str(len(module) - 1), shape)
    x = torch.ones(1, 1, *shape, dtype=torch.float64, requires_grad=True)
    out = module(x)
    cell = tuple(n // 2 for n in out.shape[2:])
    (gradient,) = torch.autograd.grad(out[0, 0][cell], x)
    for axis in range(3):
        line = gradient[0, 0].sum(dim=[a for a in range(3) if a != axis]).numpy()
        centroid = (line * np.arange(line.size)).sum() / line.sum()
        assert centroid == pytest.approx(cells.stride[axis] * cell[axis] + cells.offset[axis], abs=1e-9)


class Mixed(nn.Module):
    """Adds two grids that do not lie alike."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv3d(1, 1, 2, stride=2)
        self.other = nn.Conv3d(1, 1, 1, stride=2)
        self.last = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(self.one(x) + self.other(x))
        return found


class Turned(nn.Module):
    """Lets axes change places, in a cube where no shape tells."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(x.permute(0, 1, 4, 2, 3))
        return found


@pytest.mark.parametrize("module", [Mixed(), Turned()])
def test_a_place_that_is_not_sure_is_not_given(module: nn.Module) -> None:
    with pytest.raises(ModelError, match="is not known"):
        follow(module, 1, "last", (8, 8, 8))


def test_modules_are_left_as_they_were() -> None:
    module = nets.resnet10(spatial_dims=3, n_input_channels=1, num_classes=2).train()
    module.layer1.eval()
    before = [part.training for part in module.modules()]
    follow(module, 1, "layer4", SHAPE)
    assert [part.training for part in module.modules()] == before
    assert all(parameter.device.type == "cpu" for parameter in module.parameters())
    assert not any(part._forward_hooks for part in module.modules())
