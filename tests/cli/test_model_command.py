"""`hirescam model` and the root options."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from hirescam_cli import __version__
from tests.batch.world import make_model
from tests.cli.command import hirescam


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    result = hirescam(capsys, "--version")
    assert (result.code, result.out.strip()) == (0, f"hirescam {__version__}")


def test_list_names_the_embedded_models(capsys: pytest.CaptureFixture[str]) -> None:
    result = hirescam(capsys, "model", "list", "--json")
    models = {m["name"]: len(m["labels"]) for m in json.loads(result.out)["models"]}
    assert models["axialnet-83"] == 83
    assert models["axialnet-80"] == 80
    assert "demo" in models


def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(hirescam(capsys, "model", "show", "axialnet-80", "--json").out)
    assert shown["input"] == {"axes": "IPL", "channels": "slab:3"}
    assert [step["step"] for step in shown["preparation"]] == [
        "resample",
        "window",
        "pad_crop",
        "window",
        "normalise",
    ]
    assert shown["preparation"][2]["shape"] == [405, 420, 420]
    assert shown["preparation"][3]["hu"] == [[-1000.0, 800.0]]
    assert shown["target_layer"] == "conv2d.7"
    text = hirescam(capsys, "model", "show", "axialnet-83", "--toml").out
    assert 'name = "axialnet-83"' in text
    assert hirescam(capsys, "model", "show", "nothing").code == 2


def test_verify_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(tmp_path)
    verified = json.loads(hirescam(capsys, "model", "verify", model, "--json").out)
    assert verified["weights_sha256"] == hashlib.sha256((tmp_path / "tiny.pt").read_bytes()).hexdigest()
    target = tmp_path / "tiny.safetensors"
    result = hirescam(capsys, "model", "convert", model, "--weights", tmp_path / "tiny.pt", "-o", target)
    assert result.code == 0, result.err
    before = torch.load(tmp_path / "tiny.pt", weights_only=True)["params"]
    after = safetensors.torch.load_file(target)
    assert set(after) == {name for name in before if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(after[name], before[name]) for name in after)
    again = hirescam(capsys, "model", "convert", model, "--weights", tmp_path / "tiny.pt", "-o", target)
    assert again.code == 73
    assert hirescam(capsys, "model", "verify", model, "--weights", target).code == 0
