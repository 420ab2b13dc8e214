"""Checkpoints: every kind that loads, and every refusal, before any scan is read."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from hirescam_cli.errors import ModelError, UnavailableError
from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.model.checkpoint import read_weights
from hirescam_cli.model.load import load_model
from hirescam_cli.model.spec import ModelSpec
from tests.explain.networks import fill
from tests.models import axial

PARAMETERS = {"trunk_width": 2, "head_channels": [4, 4, 4, 4]}


def spec_of(**changes: Any) -> ModelSpec:
    spec = ModelSpec(
        name="tiny",
        description="",
        intended_use="tests",
        architecture="axialnet",
        parameters=PARAMETERS,
        labels=("nodule", "mass", "effusion"),
        thresholds=(0.5, 0.5, 0.5),
        preparation=axial(),
        target_layer="conv2d.7",
        placement="stretch",
    )
    return replace(spec, **changes)


@pytest.fixture
def state() -> dict[str, Tensor]:
    network = AxialNet(3, 2, (4, 4, 4, 4))
    fill(network)
    return dict(network.state_dict())


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def check_loaded(path: Path, state: dict[str, Tensor], tolerance: float = 0.0) -> None:
    model = load_model(spec_of(), path)
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


def refusal(path: Path, code: str, spec: ModelSpec | None = None) -> str:
    """The sentence with which `path` is refused."""
    with pytest.raises(ModelError) as caught:
        load_model(spec or spec_of(), path)
    assert (caught.value.code, caught.value.exit_code) == (code, 2)
    assert path.name in caught.value.message
    assert str(path.parent) not in str(caught.value)
    assert caught.value.hint
    return caught.value.message


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
    for named in (spec_of(weights_file=path, weights_sha256="0" * 64), spec_of(weights_sha256="0" * 64)):
        with pytest.raises(ModelError) as caught:
            load_model(named, None if named.weights_file else path)
        assert caught.value.code == "weights-sha256"
        assert right in caught.value.message
        assert "0" * 64 in caught.value.message
    assert load_model(spec_of(weights_file=path, weights_sha256=right.upper())).weights_sha256 == right


def test_weights_given_instead_of_the_models_own_need_not_have_their_sha256(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    own = spec_of(weights_file=tmp_path / "own.pt", weights_sha256="0" * 64)
    assert load_model(own, save(tmp_path / "w.pt", state)).spec is own


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


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["pytorch", "old-pytorch", "safetensors"])
def test_truncated_checkpoints_are_refused(
    tmp_path: Path, state: dict[str, Tensor], kind: str, share: float
) -> None:
    path = tmp_path / "w"
    if kind == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "pytorch")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refusal(path, "weights-format")


@pytest.mark.parametrize(
    "content", [{}, [1], 3, {"params": {}}, {"a": 3}, {3: torch.zeros(1)}, {"params": [torch.zeros(1)]}]
)
def test_content_other_than_named_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    refusal(save(tmp_path / "w.pt", content), "weights-format")


def test_a_damaged_checkpoint_ends_in_nothing_but_a_refusal(tmp_path: Path, state: dict[str, Tensor]) -> None:
    """Single bytes changed all over the file: each either loads as tensors or is refused."""
    path = tmp_path / "w"
    torch.save({"fc.bias": state["fc.bias"]}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    refused = 0
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x01]) + data[position + 1 :])
        try:
            tensors, _ = read_weights(path)
        except ModelError:
            refused += 1
        else:
            assert all(isinstance(value, Tensor) for value in tensors.values())
    assert refused > 100


class RunsCode:
    """A pickle that makes a folder when it is read by an unsafe loader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["zip", "old", "pickle"])
def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, state: dict[str, Tensor], kind: str) -> None:
    trap, path = tmp_path / "code-ran", tmp_path / "evil.pt"
    content = {**state, "extra": RunsCode(trap)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    message = refusal(path, "weights-format")
    assert kind == "pickle" or "Python objects" in message
    assert not trap.exists()
    if kind != "pickle":
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert trap.is_dir()  # the trap works: an unsafe loader would have run it


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    message = refusal(save(tmp_path / "module.pt", AxialNet(3, 2, (4, 4, 4, 4))), "weights-format")
    assert "Python objects other than tensors" in message


def test_absent_weights_are_unavailable(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(UnavailableError) as caught:
            read_weights(path)
        assert (caught.value.code, caught.value.exit_code) == ("weights-unavailable", 69)
        assert path.name in caught.value.message
        assert str(path.parent) not in str(caught.value)
    with pytest.raises(UnavailableError, match="comes without weights"):
        load_model(spec_of())


@pytest.mark.parametrize(
    "changes",
    [
        {"preparation": axial(side=480)},
        {"parameters": {"trunk_width": 2, "head_channels": [4]}},
    ],
)
def test_an_input_that_the_last_layer_does_not_cover_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match="reads 6 x 6") as caught:
        load_model(spec_of(**changes), tmp_path / "never-read.pt")
    assert caught.value.code == "model-parameters"


def test_what_is_not_a_regular_file_is_refused_without_being_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        assert "not a regular file" in refusal(path, "weights-format")


def test_variances_below_0_are_refused_by_name(tmp_path: Path, state: dict[str, Tensor]) -> None:
    state["features.1.running_var"][1] = -0.5
    said = refusal(save(tmp_path / "w", state), "weights-variance")
    assert "features.1.running_var" in said
    assert "-0.5" in said
