"""Checkpoints that are damaged, hold code, or belong to another network."""

from __future__ import annotations

import os
import pickle
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
from tests.model.checkpoint_world import refusal, save, spec_of
from tests.models import axial


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
        load_model(spec_of(**changes), (tmp_path / "never-read.pt",))
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
