"""Checkpoints: every kind that loads, and entries that do not fit."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from hirescam_cli.errors import ModelError
from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.model.load import load_model
from tests.model.checkpoint_world import refusal, save, spec_of


def check_loaded(path: Path, state: dict[str, Tensor], tolerance: float = 0.0) -> None:
    model = load_model(spec_of(), (path,))
    assert model.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not model.network.module.training
    for name, value in model.network.module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert value.dtype == torch.float32
            assert (value - state[name].float()).abs().max() <= tolerance, name


def test_the_authors_checkpoint_loads(tmp_path: Path, state: dict[str, Tensor]) -> None:
    """A file without extension that holds parameters and the optimizer's state."""
    network = AxialNet(3, 2, (4, 4, 4, 4))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.zeros(1, 1, 3, 420, 420)).sum().backward()
    optimizer.step()
    content = {"params": state, "optimizer": optimizer.state_dict(), "epoch": 7}
    check_loaded(save(tmp_path / "AxialNet_epoch7", content), state)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_options_of_a_training_called_params_do_not_hide_the_weights(
    key: str, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    content = {"params": {"lr": 0.1, "layers": [4, 4]}, "epoch": 7, key: state}
    check_loaded(save(tmp_path / "weights.pt", content), state)
    assert "'lr' is a float" in refusal(save(tmp_path / "none.pt", {"params": {"lr": 0.1}}), "weights-format")


def test_a_plain_state_dict_loads(tmp_path: Path, state: dict[str, Tensor]) -> None:
    check_loaded(save(tmp_path / "weights.pt", state), state)


def test_counters_of_batch_norm_may_be_absent(tmp_path: Path, state: dict[str, Tensor]) -> None:
    few = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    check_loaded(save(tmp_path / "weights.pt", few), state)


def test_the_old_format_of_pytorch_loads(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    check_loaded(path, state)


def test_safetensors_load_whatever_they_are_called(tmp_path: Path, state: dict[str, Tensor]) -> None:
    for name in ("weights.safetensors", "weights"):
        safetensors.torch.save_file(state, tmp_path / name)
        check_loaded(tmp_path / name, state)


def test_half_precision_weights_become_float32(tmp_path: Path, state: dict[str, Tensor]) -> None:
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    check_loaded(save(tmp_path / "half.pt", half), state, tolerance=1e-3)
    double = {name: value.double() if value.is_floating_point() else value for name, value in state.items()}
    check_loaded(save(tmp_path / "double.pt", double), state)


def test_a_missing_entry_is_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    del state["features.4.1.conv2.weight"], state["fc.bias"]
    message = refusal(save(tmp_path / "w.pt", state), "weights-mismatch")
    assert "2 entries are missing, the first is features.4.1.conv2.weight" in message


def test_without_the_last_layer_the_refusal_is_the_same(tmp_path: Path, state: dict[str, Tensor]) -> None:
    del state["fc.weight"]
    assert "fc.weight" in refusal(save(tmp_path / "w.pt", state), "weights-mismatch")


def test_an_extra_entry_is_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    state["features.8.weight"] = torch.zeros(3)
    assert "the first is features.8.weight" in refusal(save(tmp_path / "w.pt", state), "weights-mismatch")


def test_a_misshaped_entry_is_named_with_both_shapes(tmp_path: Path, state: dict[str, Tensor]) -> None:
    state["conv2d.2.weight"] = torch.zeros(4, 4, 3, 1)
    message = refusal(save(tmp_path / "w.pt", state), "weights-mismatch")
    assert "conv2d.2.weight has shape [4, 4, 3, 1], expected [4, 4, 3, 3]" in message


def test_integer_weights_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    state["fc.bias"] = torch.zeros(3, dtype=torch.int64)
    assert "fc.bias has type torch.int64" in refusal(save(tmp_path / "w.pt", state), "weights-mismatch")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, state: dict[str, Tensor], value: float
) -> None:
    state["conv2d.4.weight"][1, 2, 0, 1] = value
    assert "conv2d.4.weight" in refusal(save(tmp_path / "w.pt", state), "weights-nan")


def test_weights_too_large_for_float32_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    state["fc.bias"] = torch.tensor([0.0, 1e300, 0.0], dtype=torch.float64)
    assert "fc.bias" in refusal(save(tmp_path / "w.pt", state), "weights-nan")


def test_another_number_of_labels_is_told_as_such(tmp_path: Path, state: dict[str, Tensor]) -> None:
    spec = spec_of(labels=("a", "b"), thresholds=(0.5, 0.5))
    message = refusal(save(tmp_path / "w.pt", state), "weights-labels", spec)
    assert message == "w.pt is a network of 3 labels, the model lists 2."


def test_the_wrong_sha256_is_refused_with_both(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = save(tmp_path / "w.pt", state)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    for named in (
        spec_of(weights_files=(path,), weights_sha256=("0" * 64,)),
        spec_of(weights_sha256=("0" * 64,)),
    ):
        with pytest.raises(ModelError) as caught:
            load_model(named, () if named.weights_files else (path,))
        assert caught.value.code == "weights-sha256"
        assert right in caught.value.message
        assert "0" * 64 in caught.value.message
    assert load_model(spec_of(weights_files=(path,), weights_sha256=(right.upper(),))).weights_sha256 == right


def test_weights_given_instead_of_the_models_own_need_not_have_their_sha256(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    own = spec_of(weights_files=(tmp_path / "own.pt",), weights_sha256=("0" * 64,))
    assert load_model(own, (save(tmp_path / "w.pt", state),)).spec is own


BROKEN = {
    "text": b"these are no weights\n",
    "empty": b"",
    "zeros": bytes(1000),
    "zip": b"PK\x03\x04" + bytes(40),
    "safetensors-header": (1000).to_bytes(8, "little") + b"{" + b" " * 1200,
    "safetensors-short": (20).to_bytes(8, "little") + b'{"a": {"dtype": "F3',
    "pickle-of-a-list": pickle.dumps([1, 2, 3]),
    "pickle-cut": pickle.dumps({"a": list(range(100))})[:-50],
    "gzip": b"\x1f\x8b\x08\x00" + bytes(30),
    "html": b"<!doctype html><title>404 Not Found</title>",
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w"
    path.write_bytes(BROKEN[kind])
    refusal(path, "weights-format")
