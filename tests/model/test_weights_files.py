"""Weights in the forms in which people have them, and those that are refused with what to do instead."""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hirescam_cli.errors import ModelError
from hirescam_cli.model.checkpoint import read_weights
from hirescam_cli.model.load import load_model
from tests.model.checkpoint_world import PARAMETERS, refusal, save, spec_of


@pytest.fixture
def state() -> dict[str, Tensor]:
    from hirescam_cli.registries import ARCHITECTURES

    torch.manual_seed(0)
    module = ARCHITECTURES.find("axialnet").build(PARAMETERS, 3).module
    return {name: tensor for name, tensor in module.state_dict().items() if "num_batches" not in name}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[k], expected[k]) for k in expected)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"params": state, "optimizer": {"lr": 0.1}},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"state_dict": state, "args": argparse.Namespace(dropout=0.1, names=["a"])},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}},
        lambda state: {f"module.model.{name}": tensor for name, tensor in state.items()},
    ],
)
def test_the_forms_in_which_people_have_weights(tmp_path: Path, state: dict[str, Tensor], wrap: Any) -> None:
    model = load_model(spec_of(), (save(tmp_path / "w.ckpt", wrap(state)),))
    loaded = {k: v for k, v in model.network.module.state_dict().items() if "num_batches" not in k}
    assert same(loaded, state)


def test_a_namespace_is_all_of_python_that_is_let_in(tmp_path: Path, state: dict[str, Tensor]) -> None:
    content = {"state_dict": state, "args": argparse.Namespace(path=Path("x"))}
    said = refusal(save(tmp_path / "w.ckpt", content), "weights-format")
    assert "Python objects" in said


class Small(nn.Module):
    """Something to export."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.norm(self.conv(x)).mean(dim=(2, 3, 4)))
        return found


def exported(path: Path) -> Small:
    torch.manual_seed(1)
    module = Small().eval()
    module.conv.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    torch.export.save(torch.export.export(module, (torch.zeros(1, 1, 5, 5, 5),)), path)
    return module


def test_the_tensors_of_an_exported_program_are_read_without_running_it(tmp_path: Path) -> None:
    module = exported(tmp_path / "program.pt2")
    found, _ = read_weights(tmp_path / "program.pt2")
    assert same({k: v for k, v in found.items() if "num_batches" not in k},
                {k: v for k, v in module.state_dict().items() if "num_batches" not in k})  # fmt: skip


def changed(path: Path, name: str, content: Any) -> Path:
    """The archive with another content of the member whose path ends so; None: without it."""
    target = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data: bytes | None = old.read(info)
            if info.filename.endswith(name):
                data = content(data) if callable(content) else content
            if data is not None:
                new.writestr(info, data)
    return target


def test_an_exported_program_with_a_pickle_among_its_weights_is_refused(tmp_path: Path) -> None:
    exported(tmp_path / "program.pt2")

    def pickled(data: bytes) -> bytes:
        document = json.loads(data)
        document["config"]["conv.weight"]["use_pickle"] = True
        return json.dumps(document).encode()

    path = changed(tmp_path / "program.pt2", "model_weights_config.json", pickled)
    with pytest.raises(ModelError, match=r"conv\.weight as a pickle") as caught:
        read_weights(path)
    assert "program.state_dict" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weight_0", None),
        ("weight_0", b"\0" * 7),
        ("model_weights_config.json", b"[]"),
        ("model_weights_config.json", lambda data: data.replace(b'"as_int": 3', b'"as_int": 3333333333')),
        ("model_weights_config.json", lambda data: data.replace(b'"dtype": 7', b'"dtype": 99')),
        ("model_weights_config.json", lambda data: data.replace(b'"as_int": 2', b'"as_int": -2')),
    ],
)
def test_a_damaged_exported_program_is_refused(tmp_path: Path, name: str, content: Any) -> None:
    exported(tmp_path / "program.pt2")
    with pytest.raises(ModelError, match="damaged"):
        read_weights(changed(tmp_path / "program.pt2", name, content))


def test_programs_that_cannot_be_looked_into_are_refused(tmp_path: Path) -> None:
    script = tmp_path / "script.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(script))
    with pytest.raises(ModelError, match="TorchScript") as caught:
        read_weights(script)
    assert "state_dict" in (caught.value.hint or "")
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(b"\x08\x08\x12\x07pytorch")
    with pytest.raises(ModelError, match="ONNX"):
        read_weights(onnx)
    old = io.BytesIO()
    with zipfile.ZipFile(old, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", b"x")
    (tmp_path / "old.pt2").write_bytes(old.getvalue())
    with pytest.raises(ModelError, match="older PyTorch"):
        read_weights(tmp_path / "old.pt2")


def test_an_ensemble_has_a_hash_of_its_own_and_no_member_twice(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    other = {name: tensor + 0.25 for name, tensor in state.items()}
    first, second = save(tmp_path / "a", state), save(tmp_path / "b", other)
    model = load_model(spec_of(), (first, second))
    assert len(model.members) == 2
    assert len({model.weights_sha256, *model.member_sha256}) == 3
    assert load_model(spec_of(), (second, first)).weights_sha256 != model.weights_sha256
    with pytest.raises(ModelError, match="given twice"):
        load_model(spec_of(), (first, first))
    with pytest.raises(ModelError, match="1 SHA-256, and there are 2"):
        load_model(spec_of(weights_sha256=("0" * 64,)), (first, second))
