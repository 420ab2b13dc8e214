"""Networks of other packages: how they are built, and buffers and tied weights in their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from hirescam_cli.errors import ModelError
from hirescam_cli.model.contract import Architecture, Cells, Network
from hirescam_cli.model.layers import layers_of
from hirescam_cli.model.load import load_model
from hirescam_cli.registries import ARCHITECTURES
from tests.cli.command import hirescam
from tests.model.checkpoint_world import refusal, save, spec_of


class Foreign(nn.Module):
    """Buffers of all kinds, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("index", torch.tensor([0, 1, 2]))
        self.register_buffer("mask", torch.zeros(2, 2))
        self.register_buffer("valid", torch.ones(2, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        return x


STRIDES = {"norm": 1.0}


def _build(parameters: Mapping[str, object], _labels: int) -> Network:
    if parameters.get("width") == "wide":
        raise TypeError("'<' not supported between instances of 'str' and 'int'")
    if parameters.get("width") == "none":
        return None  # type: ignore[return-value]
    return Network(
        Foreign().eval(),
        "icjk",
        "norm",
        lambda layer: {"norm": "icjk"}[layer],
        lambda layer, _shape: Cells((STRIDES[layer],) * 3, (0.0, 0.0, 0.0)),
    )


ARCHITECTURE = Architecture("foreign", "buffers", _build)
FOREIGN: dict[str, Any] = {"architecture": "foreign", "parameters": {}, "target_layer": "norm"}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES.ours, "foreign", f"{__name__}:ARCHITECTURE")  # type: ignore[arg-type]


def weights() -> dict[str, Tensor]:
    """Values other than a new network's: whole numbers, and a mask with minus infinity."""
    state = Foreign().state_dict()
    state["index"] = torch.tensor([2, 0, 1], dtype=torch.int32)
    state["mask"] = torch.tensor([[0.0, -torch.inf], [0.0, 0.0]], dtype=torch.float16)
    state["valid"] = torch.tensor([True, False])
    return state


def test_buffers_of_all_kinds_load(tmp_path: Path) -> None:
    found = load_model(spec_of(**FOREIGN), (save(tmp_path / "w.pt", weights()),)).network.module.state_dict()
    assert (found["index"].tolist(), found["index"].dtype) == ([2, 0, 1], torch.int64)
    assert (found["mask"].tolist(), found["mask"].dtype) == ([[0.0, -torch.inf], [0.0, 0.0]], torch.float32)
    assert found["valid"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "value", "code", "said"),
    [
        ("index", torch.zeros(3), "weights-mismatch", "index has type torch.float32, expected integers"),
        ("valid", torch.ones(2, dtype=torch.int64), "weights-mismatch", "torch.int64, expected bool"),
        ("mask", torch.zeros(2, 2, dtype=torch.int64), "weights-mismatch", "expected floating point"),
        ("mask", torch.full((2, 2), torch.nan), "weights-nan", "mask"),
        ("mask", torch.full((2, 2), torch.inf), "weights-nan", "mask"),
        ("norm.running_mean", torch.full((3,), -torch.inf), "weights-nan", "running_mean"),
        ("norm.bias", torch.full((3,), -torch.inf), "weights-nan", "norm.bias"),
    ],
)
def test_buffers_of_another_kind_are_refused(
    tmp_path: Path, name: str, value: Tensor, code: str, said: str
) -> None:
    path = save(tmp_path / "w.pt", {**weights(), name: value})
    assert said in refusal(path, code, spec_of(**FOREIGN))


def test_what_a_foreign_build_raises_is_a_refusal(tmp_path: Path) -> None:
    spec = spec_of(**{**FOREIGN, "parameters": {"width": "wide"}})
    with pytest.raises(ModelError, match="foreign cannot be built: TypeError: '<' not supported") as caught:
        load_model(spec, (save(tmp_path / "w.pt", weights()),))
    assert (caught.value.code, caught.value.exit_code) == ("model-parameters", 2)


def test_a_layer_of_which_a_foreign_network_says_nothing_is_refused(tmp_path: Path) -> None:
    found = load_model(spec_of(**FOREIGN), (save(tmp_path / "w.pt", weights()),)).network
    assert (found.activation("norm"), found.cells("norm", (2, 4, 4)).stride) == ("icjk", (1.0, 1.0, 1.0))
    for ask in (lambda: found.activation("first"), lambda: found.cells("first", (2, 4, 4))):
        with pytest.raises(ModelError, match="of 'first': KeyError: 'first'") as caught:
            ask()
        assert caught.value.code == "target-layer"
    assert [layer.name for layer in layers_of(found, (2, 4, 4))] == ["norm"]


def test_a_build_that_gives_something_else_is_refused(tmp_path: Path) -> None:
    spec = spec_of(**{**FOREIGN, "parameters": {"width": "none"}})
    with pytest.raises(ModelError, match="`build` gives a NoneType, not a Network"):
        load_model(spec, (save(tmp_path / "w.pt", weights()),))


def test_tied_weights_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tied = weights()
    save(tmp_path / "w.pt", tied)
    text = """
    name = "foreign"
    intended_use = "tests"
    architecture = "foreign"
    [labels]
    names = ["a"]
    [input]
    axes = "RAS"
    [[preparation]]
    step = "pad_crop"
    shape = [2, 4, 4]
    value = -1000
    """
    (tmp_path / "foreign.toml").write_text(text, encoding="utf-8")
    target = tmp_path / "w.safetensors"
    arguments = ("model", "convert", tmp_path / "foreign.toml", "--weights", tmp_path / "w.pt", "-o", target)
    result = hirescam(capsys, *arguments)
    assert result.code == 0, result
    found = safetensors.torch.load_file(target)
    assert torch.equal(found["first.weight"], tied["first.weight"])
    assert torch.equal(found["second.weight"], tied["first.weight"])
