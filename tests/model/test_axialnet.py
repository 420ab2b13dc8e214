"""AxialNet's names and shapes, where its cells lie, and the registry of architectures."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hirescam_cli import registry
from hirescam_cli.errors import ModelError
from hirescam_cli.model.architectures.axialnet import (
    ARCHITECTURE,
    AxialNet,
    LayerPlane,
    described,
    layer_plane,
)
from hirescam_cli.model.load import LoadedModel
from hirescam_cli.model.spec import load_spec
from hirescam_cli.registries import ARCHITECTURES

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def names_of_the_authors() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of torchvision's ResNet-18 trunk and the head, written out by rule."""
    shapes: dict[str, tuple[int, ...]] = {"features.0.weight": (64, 3, 7, 7)}

    def norm(prefix: str, channels: int) -> None:
        shapes.update({f"{prefix}.{key}": (channels,) if key != NORM[-1] else () for key in NORM})

    norm("features.1", 64)
    before = 64
    for stage, channels in zip((4, 5, 6, 7), (64, 128, 256, 512), strict=True):
        for block in (0, 1):
            name = f"features.{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (channels, before, 3, 3)
            norm(f"{name}.bn1", channels)
            shapes[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            norm(f"{name}.bn2", channels)
            if before != channels:
                shapes[f"{name}.downsample.0.weight"] = (channels, before, 1, 1)
                norm(f"{name}.downsample.1", channels)
            before = channels
    for index, (inside, outside) in zip((0, 2, 4, 6), ((512, 64), (64, 32), (32, 16), (16, 16)), strict=True):
        shapes[f"conv2d.{index}.weight"] = (outside, inside, 3, 3)
        shapes[f"conv2d.{index}.bias"] = (outside,)
    shapes["fc.weight"], shapes["fc.bias"] = (83, 16, 6, 6), (83,)
    return shapes


def test_names_and_shapes_are_those_of_the_authors_checkpoints() -> None:
    state = AxialNet(83).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == names_of_the_authors()


def test_the_answer_is_the_mean_over_groups_of_any_number() -> None:
    network = AxialNet(4, 2, (4, 4, 4, 4)).eval()
    x = torch.rand(1, 3, 3, 420, 420) - 0.449
    with torch.no_grad():
        logits = network(x)
        single = torch.cat([network(x[:, s : s + 1]) for s in range(3)])
    assert logits.shape == (1, 4)
    assert torch.allclose(logits[0], single.mean(dim=0), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "cells", "stride", "first"),
    [
        ("conv2d.7", 6, 32, 128),
        ("conv2d.6", 6, 32, 128),
        ("conv2d.5", 8, 32, 96),
        ("conv2d.3", 10, 32, 64),
        ("conv2d.1", 12, 32, 32),
        ("features.7", 14, 32, 0),
        ("features.7.0.conv1", 14, 32, 0),
        ("features.7.0.downsample.0", 14, 32, 0),
        ("features.6", 27, 16, 0),
        ("features.5", 53, 8, 0),
        ("features.4", 105, 4, 0),
        ("features.3", 105, 4, 0),
        ("features.0", 210, 2, 0),
    ],
)
def test_receptive_field_centres(layer: str, cells: int, stride: float, first: float) -> None:
    network = AxialNet(2, 2)
    assert layer_plane(network, layer, 420) == LayerPlane(cells, stride, first)


@pytest.mark.parametrize(
    ("layer", "cells", "stride", "first"),
    [
        ("fc", 6, 32, 128),
        ("conv2d.7", 6, 32, 128),
        ("conv2d.6", 8, 32, 96),
        ("conv2d.2", 12, 32, 32),
        ("conv2d.0", 14, 32, 0),
        ("features.7", 27, 16, 0),
        ("features.7.0.conv2", 14, 32, 0),
        ("features.7.0.bn1", 14, 32, 0),
        ("features.7.0.downsample.0", 27, 16, 0),
        ("features.7.0.downsample.1", 14, 32, 0),
        ("features.3", 210, 2, 0),
        ("features.0", 420, 1, 0),
    ],
)
def test_what_a_layer_reads_lies_where_the_one_before_put_it(
    layer: str, cells: int, stride: float, first: float
) -> None:
    network = AxialNet(2, 2, (4, 4, 4, 4)).eval()
    assert layer_plane(network, layer, 420, "input") == LayerPlane(cells, stride, first)
    place = described(network).place(layer, (6, 420, 420), "input")
    assert (place.stride, place.offset) == ((3.0, stride, stride), (1.0, first, first))
    shapes: list[torch.Size] = []
    network.get_submodule(layer).register_forward_pre_hook(lambda _m, given: shapes.append(given[0].shape))
    with torch.no_grad():
        network.scores(torch.zeros(1, 3, 420, 420))
    assert shapes[0][-1] == cells


@pytest.mark.parametrize("layer", ["conv2d.7", "conv2d.3", "features.7", "features.6", "features.5.0.conv1"])
def test_the_number_of_cells_is_that_of_the_real_activation(layer: str) -> None:
    network = AxialNet(2, 2, (4, 4, 4, 4)).eval()
    shapes: list[torch.Size] = []
    network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: shapes.append(output.shape))
    with torch.no_grad():
        network.scores(torch.zeros(1, 3, 420, 420))
    assert shapes[0][-1] == shapes[0][-2] == layer_plane(network, layer, 420).cells


def test_receptive_field_centres_against_the_gradient_of_the_input() -> None:
    """With positive weights everywhere, the gradient of a cell of conv2d.1 is symmetric about its centre."""
    network = AxialNet(1, 1, (1,)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)
    x = torch.full((1, 3, 256, 256), 1.0, requires_grad=True)
    kept: list[torch.Tensor] = []
    network.get_submodule("conv2d.1").register_forward_hook(lambda _m, _i, output: kept.append(output))
    network.features[3] = torch.nn.AvgPool2d(3, stride=2, padding=1)
    network.scores(x)
    (gradient,) = torch.autograd.grad(kept[0][0, 0, 3, 2], x)
    profile = gradient[0].sum(dim=0).double().numpy()
    grid = layer_plane(AxialNet(1, 1, (1,)), "conv2d.1", 256)
    for axis, index in ((0, 3), (1, 2)):
        line = profile.sum(axis=1 - axis)
        centre = (line * np.arange(256)).sum() / line.sum()
        # The image's border cuts one flank of the wide receptive field: within a tenth of a stride.
        assert centre == pytest.approx(grid.first_centre_px + index * grid.stride_px, abs=3.2)


@pytest.mark.parametrize("layer", ["fc", "conv2d", "conv2d.8", "features.9", "head.1", "", "features.x"])
def test_layers_without_a_plane_are_refused(layer: str) -> None:
    with pytest.raises(ModelError) as caught:
        layer_plane(AxialNet(2, 2), layer, 420)
    assert caught.value.code == "target-layer"


def test_a_relu_that_is_used_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="twice") as caught:
        layer_plane(AxialNet(2, 2), "features.7.1.relu", 420)
    assert "features.7.1," in str(caught.value.hint)


@pytest.mark.parametrize(
    "parameters",
    [{"width": 3}, {"trunk_width": 0}, {"trunk_width": "64"}, {"trunk_width": True}, {"head_channels": []},
     {"head_channels": [4, -1]}, {"head_channels": 16}],
)  # fmt: skip
def test_parameters_are_checked(parameters: Mapping[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        ARCHITECTURE.build(parameters, 3)
    assert caught.value.code == "model-parameters"


def loaded() -> LoadedModel:
    return LoadedModel(load_spec("axialnet-83"), ARCHITECTURE, described(AxialNet(83, 2)), "0" * 64)


def test_stretched_cells_lie_where_the_facts_say() -> None:
    affine = loaded().cell_affine("conv2d.7", "stretch", CELLS, SHAPE)
    cells = np.stack([np.array([s, y, x, 1]) for s, y, x in ((0, 0, 0), (2, 1, 5), (133, 5, 0))])
    # 70 px a cell, centres 34.5, 104.5, ..., 384.5; a group's centre is the middle one of its three slices
    assert (cells @ affine.T)[:, :3].tolist() == [[1, 34.5, 34.5], [7, 104.5, 384.5], [400, 384.5, 34.5]]


def test_receptive_field_cells_lie_where_the_facts_say() -> None:
    model = loaded()
    affine = model.cell_affine("conv2d.7", "receptive-field", CELLS, SHAPE)
    first, last = affine @ [0, 0, 0, 1], affine @ [133, 5, 5, 1]
    assert first[:3].tolist() == [1, 128, 128]
    assert last[:3].tolist() == [400, 288, 288]
    outer = model.cell_affine("conv2d.7", "stretch", CELLS, SHAPE) @ [0, 0, 0, 1]
    assert (first - outer)[1] == 93.5


def test_maps_get_the_inputs_affine_after_the_cells() -> None:
    model = loaded()
    input_affine = np.array([[0, 0, -0.8, 10], [0, -0.8, 0, 20], [-0.8, 0, 0, 30], [0, 0, 0, 1.0]])
    affines = model.map_affines("conv2d.7", CELLS, SHAPE, input_affine)
    # cell (1, 2, 3) is voxel (4, 174.5, 244.5): x = 10 - 0.8 * 244.5, y = 20 - 0.8 * 174.5, z = 30 - 0.8 * 4
    np.testing.assert_allclose((affines["stretch"] @ [1, 2, 3, 1])[:3], [-185.6, -119.6, 26.8])
    np.testing.assert_allclose((affines["receptive-field"] @ [1, 2, 3, 1])[:3], [-169.2, -133.6, 26.8])


CELLS, SHAPE = (134, 6, 6), (402, 420, 420)
NOT_AN_ARCHITECTURE = 17


def install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint(name="made-up", value=value, group=ARCHITECTURES.group)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == ARCHITECTURES.group else []
    )
    ARCHITECTURES.reset()


@pytest.mark.parametrize(
    "value", [f"{__name__}:NOT_AN_ARCHITECTURE", "no_such_package_at_all:ARCHITECTURE", f"{__name__}:ABSENT"]
)
def test_a_broken_entry_point_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    install(monkeypatch, value)
    with pytest.raises(ModelError, match="made-up") as caught:
        ARCHITECTURES.find("made-up")
    assert caught.value.code == "model-architecture"


@pytest.mark.parametrize(("code", "said"), [("x = (", "SyntaxError"), ("x = y", "NameError: name 'y'")])
def test_a_package_that_fails_to_load_says_how(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, said: str
) -> None:
    name = f"made_up_{said[:4].lower()}"
    (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    install(monkeypatch, f"{name}:ARCHITECTURE")
    with pytest.raises(ModelError, match=f"does not load: {said}") as caught:
        ARCHITECTURES.find("made-up")
    assert (caught.value.code, caught.value.exit_code) == ("model-architecture", 2)


def test_an_unknown_architecture_names_the_known_ones() -> None:
    with pytest.raises(ModelError, match="'resnet'") as caught:
        ARCHITECTURES.find("resnet")
    assert "axialnet" in str(caught.value.hint)
