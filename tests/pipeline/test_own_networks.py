"""What a session makes of networks of other packages: which engine they get, and in which precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from hirescam_cli.explain.engine import Engine
from hirescam_cli.model.contract import Architecture, Network
from hirescam_cli.model.spec import load_spec
from hirescam_cli.pipeline import Session, open_session
from hirescam_cli.registries import ARCHITECTURES
from hirescam_cli.settings import Settings
from tests.explain import test_faithful as networks

MADE: dict[str, Callable[[], Network]] = {
    "late": lambda: networks.volume(networks.Late(first=False), target_layer="stem", trunk=("features",)),
    "below": lambda: networks.volume(networks.Late(first=True), target_layer="features", trunk=("stem",)),
    "apart": lambda: networks.volume(networks.Net(networks.Apart())),
    "view": lambda: networks.slices(networks.Flat(networks.plane())),
    "plain": lambda: networks.volume(networks.Net(nn.Sequential(networks.conv(), nn.ReLU()))),
}


def _build(parameters: Mapping[str, object], _labels: int) -> Network:
    return MADE[str(parameters["network"])]()


ARCHITECTURE = Architecture("faithful", "networks of the tests", _build)
TOML = """
name = "own"
intended_use = "tests"
architecture = "faithful"
parameters = {{ network = "{network}" }}
weights = {{ file = "weights.pt" }}
[labels]
names = ["a", "b"]
[input]
axes = "RAS"
[[preparation]]
step = "pad_crop"
shape = {shape}
value = -1000
[[preparation]]
step = "normalise"
divide = 500.0
"""


def opened(
    monkeypatch: pytest.MonkeyPatch, folder: Path, network: str, precision: str = "fp32"
) -> tuple[Session, Engine]:
    monkeypatch.setitem(ARCHITECTURES.ours, "faithful", f"{__name__}:ARCHITECTURE")  # type: ignore[arg-type]
    torch.save(MADE[network]().module.state_dict(), folder / "weights.pt")
    text = TOML.format(network=network, shape=list(networks.SHAPE))
    (folder / "own.toml").write_text(text, encoding="utf-8")
    session = open_session(Settings(device="cpu", precision=precision), load_spec(str(folder / "own.toml")))
    assert isinstance(session.engine, Engine)
    return session, session.engine


@pytest.mark.parametrize(("network", "rewriting"), [("plain", True), ("apart", False), ("view", False)])
def test_rewriting_stays_where_it_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: str, rewriting: bool
) -> None:
    _, engine = opened(monkeypatch, tmp_path, network)
    assert engine.rewriting is rewriting
    logits, maps = networks.by_autograd(engine.contract)
    found = networks.explained(engine)
    networks.assert_close(found.logits, logits)
    networks.assert_close(found.cams["hirescam"], maps)


def test_what_runs_above_the_target_is_never_halved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session, engine = opened(monkeypatch, tmp_path, "late", "bf16")
    assert engine.precision == session.facts.precision == "fp32"
    assert "precision fp32 instead of bf16: modules of the trunk come after stem" in session.facts.fallbacks
    assert {parameter.dtype for parameter in engine.network.parameters()} == {torch.float32}


def test_a_trunk_below_the_target_is_halved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session, engine = opened(monkeypatch, tmp_path, "below", "bf16")
    assert engine.precision == session.facts.precision == "bf16"
    assert next(engine.network.get_submodule("stem").parameters()).dtype == torch.bfloat16
