"""Start weights: a ResNet-18 of torchvision, a checkpoint of the network, or neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hirescam_cli.errors import ModelError, UnavailableError
from hirescam_cli.model.spec import load_spec
from hirescam_cli.train.start import load_start, new_network
from tests.train.world import model_text


def resnet18() -> dict[str, Tensor]:
    """torchvision's names and shapes, written down from its file resnet18-f37072fd.pth; values at random."""
    torch.manual_seed(7)
    state: dict[str, Tensor] = {"conv1.weight": torch.rand(64, 3, 7, 7)}

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{part}"] = torch.rand(width)
        state[f"{name}.num_batches_tracked"] = torch.tensor(0)

    norm("bn1", 64)
    before = 64
    for layer, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            name = f"layer{layer}.{block}"
            state[f"{name}.conv1.weight"] = torch.rand(width, before if block == 0 else width, 3, 3)
            norm(f"{name}.bn1", width)
            state[f"{name}.conv2.weight"] = torch.rand(width, width, 3, 3)
            norm(f"{name}.bn2", width)
            if block == 0 and layer > 1:
                state[f"{name}.downsample.0.weight"] = torch.rand(width, before, 1, 1)
                norm(f"{name}.downsample.1", width)
        before = width
    state["fc.weight"], state["fc.bias"] = torch.rand(1000, 512), torch.rand(1000)
    return state


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "resnet18.pth"
    torch.save(resnet18(), path)
    return path


def test_of_a_resnet18_exactly_the_last_layer_is_unused(file: Path) -> None:
    network = new_network(load_spec("axialnet-80"), 0)
    start = load_start(network, str(file))
    assert start.unused == ("fc.weight", "fc.bias")
    given, found = resnet18(), network.module.state_dict()
    assert torch.equal(found["features.0.weight"], given["conv1.weight"])
    assert torch.equal(found["features.1.running_var"], given["bn1.running_var"])
    assert torch.equal(found["features.7.0.downsample.0.weight"], given["layer4.0.downsample.0.weight"])
    assert torch.equal(found["features.5.1.bn2.bias"], given["layer2.1.bn2.bias"])
    trunk = [
        name for name in found if name.startswith("features.") and not name.endswith("num_batches_tracked")
    ]
    assert len(trunk) == len([n for n in given if not n.endswith("num_batches_tracked")]) - 2
    assert start.random == tuple(name for name in found if name.startswith(("conv2d.", "fc.")))


def test_a_narrow_trunk_refuses_it(file: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(model_text())
    network = new_network(load_spec(str(tmp_path / "tiny.toml")), 0)
    with pytest.raises(
        ModelError, match=r"features\.0\.weight has shape \[64, 3, 7, 7\], expected \[4, 3, 7, 7\]"
    ):
        load_start(network, str(file))


def test_a_checkpoint_of_other_labels_keeps_all_but_the_last_layer(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(model_text(labels=("a", "b")))
    (tmp_path / "three.toml").write_text(model_text())
    two, three = (
        new_network(load_spec(str(tmp_path / f"{name}.toml")), n) for n, name in enumerate(("two", "three"))
    )
    torch.save(two.module.state_dict(), tmp_path / "two.pth")
    start = load_start(three, str(tmp_path / "two.pth"))
    assert start.random == start.unused == ("fc.weight", "fc.bias")
    assert torch.equal(
        three.module.state_dict()["conv2d.0.weight"], two.module.state_dict()["conv2d.0.weight"]
    )
    state = {k: v for k, v in two.module.state_dict().items() if k != "conv2d.0.weight"}
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(ModelError, match=r"conv2d\.0\.weight is missing"):
        load_start(three, str(tmp_path / "less.pth"))


def test_random_weights_are_the_seeds_and_the_generator_stays(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(model_text())
    spec = load_spec(str(tmp_path / "tiny.toml"))
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    weights = [new_network(spec, seed).module.state_dict()["fc.weight"] for seed in (3, 3, 4)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.rand(1), expected)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"none\.pth cannot be read"):
        load_start(new_network(load_spec("axialnet-80"), 0), str(tmp_path / "none.pth"))
