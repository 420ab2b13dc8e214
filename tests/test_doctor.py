"""The doctor's verdicts, each on a network that deserves it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hirescam_cli.doctor import Check, Diagnosis, diagnose
from hirescam_cli.errors import ModelError
from hirescam_cli.evaluate.findings import RefereeFindings, Verdict
from hirescam_cli.model.contract import Architecture, Cells, Network
from hirescam_cli.model.spec import load_spec
from hirescam_cli.pipeline.session import open_session
from hirescam_cli.refereeing import placement_check
from hirescam_cli.registries import ARCHITECTURES
from hirescam_cli.settings import Settings
from tests.cli.command import hirescam
from tests.explain import tails

HEADS: dict[str, Callable[[], nn.Module]] = {
    "pooled": tails.pooled,
    "linear": tails.linear,
    "attention": tails.FROZEN["softmax"][1],
    "cut": lambda: tails.pooled(tails.Shortcut()),
    "twice": lambda: _Twice(),
    "odd": lambda: nn.Sequential(_Square(), *tails.linear()),
}


class _Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.rest = nn.ReLU(), tails.pooled()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.rest(self.relu(self.relu(x)))
        return found


class _Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


def _build(parameters: Mapping[str, object], labels: int) -> Network:
    network = tails.network(HEADS[str(parameters["head"])]())
    assert labels in (tails.LABELS, 5)
    if parameters["head"] == "pooled":
        network = dataclasses.replace(network, linear_head="head.2")
    if "offset" in parameters:
        shift = float(str(parameters["offset"]))
        network = dataclasses.replace(network, cells=lambda *_: Cells((2.0, 2.0, 2.0), (shift, 0.0, 0.0)))
    return network


ARCHITECTURE = Architecture("tails", "heads of all kinds", _build)

TOML = """
name = "tails"
intended_use = "tests"
architecture = "tails"
[parameters]
head = "{head}"
{parameters}
[weights]
file = "weights.pt"
[labels]
names = {labels}
[input]
axes = "RAS"
[[preparation]]
step = "pad_crop"
shape = {shape}
value = -1000
[[preparation]]
step = "normalise"
divide = 500.0
[explanation]
{explanation}
"""


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES.ours, "tails", "tests.test_doctor:ARCHITECTURE")  # type: ignore[arg-type]


def examined(
    folder: Path,
    head: str,
    *,
    explanation: str = "",
    parameters: str = "",
    labels: int = tails.LABELS,
    shape: tuple[int, int, int] = tails.SHAPE,
    **options: str,
) -> Diagnosis:
    """What the doctor says of a network with that head."""
    torch.save(tails.network(HEADS[head]()).module.state_dict(), folder / "weights.pt")
    names = json.dumps([f"label{n}" for n in range(labels)])
    text = TOML.format(
        head=head, parameters=parameters, labels=names, shape=list(shape), explanation=explanation
    )
    (folder / "tails.toml").write_text(text, encoding="utf-8")
    return diagnose(str(folder / "tails.toml"), **options)  # type: ignore[arg-type]


def check(found: Diagnosis, name: str) -> Check:
    """The check of that name."""
    return next(check for check in found.checks if check.name == name)


@pytest.mark.parametrize("head", ["pooled", "linear"])
def test_a_sound_network_passes_every_check(tmp_path: Path, head: str) -> None:
    found = examined(tmp_path, head)
    assert found.explainable
    assert {check.verdict for check in found.checks} == {"ok"}
    assert found.figures["certificate"] == "exact"
    assert float(str(found.figures["residual"])) <= 1e-5
    assert found.figures["deterministic"] is True
    measured = found.figures["measured"]
    assert isinstance(measured, dict)
    assert measured["stride"] == pytest.approx([2.0, 2.0, 2.0])
    assert measured["offset"] == pytest.approx([0.0, 0.0, 0.0], abs=1e-5)


def test_attention_is_told_and_its_remedy_works(tmp_path: Path) -> None:
    found = examined(tmp_path, "attention")
    told = check(found, "certificate")
    assert (told.verdict, found.figures["certificate"]) == ("warning", "none")
    assert found.explainable
    assert 'freeze = ["softmax"]' in (told.remedy or "")
    mended = examined(tmp_path, "attention", explanation='freeze = ["softmax"]')
    assert mended.figures["certificate"] == "frozen"
    assert check(mended, "certificate").verdict == check(mended, "normalisers").verdict == "ok"


def test_a_normaliser_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = examined(tmp_path, "linear", explanation='freeze = ["group-norm"]')
    assert check(found, "normalisers").verdict == "warning"
    assert found.figures["certificate"] == "exact"


def test_a_head_that_nothing_mends_is_told(tmp_path: Path) -> None:
    told = check(examined(tmp_path, "odd"), "certificate")
    assert told.verdict == "warning"
    assert "layer-ig" in (told.remedy or "")


def test_a_cut_gradient_fails(tmp_path: Path) -> None:
    found = examined(tmp_path, "cut")
    assert not found.explainable
    assert check(found, "gradients").verdict == "failed"


def test_a_wrong_place_fails(tmp_path: Path) -> None:
    found = examined(tmp_path, "linear", parameters="offset = 1.5")
    assert check(found, "cells").verdict == "failed"
    assert "(1.5, 0, 0)" in check(found, "cells").found


def test_what_cannot_be_run_fails_with_a_remedy(tmp_path: Path) -> None:
    for options in (
        {"labels": 5},
        {"shape": (8, 10, 14)},
        {"target_layer": "head.relu", "head": "twice"},
        {"target_layer": "nowhere"},
        {"target_layer": ""},
    ):
        found = examined(tmp_path, **{"head": "linear", **options})  # type: ignore[arg-type]
        last = found.checks[-1]
        assert last.verdict == "failed"
        assert last.remedy
        assert not found.explainable


def test_weights_and_file_that_do_not_do_fail(tmp_path: Path) -> None:
    assert [c.name for c in diagnose(str(tmp_path / "none.toml")).checks] == ["model file"]
    examined(tmp_path, "linear")
    torch.save({"x": torch.zeros(1)}, tmp_path / "weights.pt")
    found = diagnose(str(tmp_path / "tails.toml"))
    assert [c.verdict for c in found.checks] == ["ok", "failed"]


def test_the_command_tells_the_same_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    good = hirescam(capsys, "model", "doctor", "demo", "--json")
    assert good.code == 0
    document = json.loads(good.out)
    assert document["explainable"] is True
    assert document["figures"]["declared"] == {"stride": [3.0, 32.0, 32.0], "offset": [1.0, 128.0, 128.0]}
    bad = hirescam(capsys, "model", "doctor", "axialnet-83")
    assert bad.code == 2
    assert "--weights" in bad.out
    assert "Traceback" not in bad.err


def test_layers_and_a_description_that_works_where_it_is_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(hirescam(capsys, "model", "show", "demo", "--layers", "--json").out)
    places = {layer["name"]: layer for layer in shown["layers"]}
    assert shown["target_layer"] == "conv2d.7"
    assert places["conv2d.3"]["offset"] == [1.0, 64.0, 64.0]
    assert "fc" not in places
    for name in ("demo", "axialnet-83"):
        (tmp_path / "own.toml").write_text(
            hirescam(capsys, "model", "show", name, "--toml").out, encoding="utf-8"
        )
        again = json.loads(hirescam(capsys, "model", "show", str(tmp_path / "own.toml"), "--json").out)
        original = json.loads(hirescam(capsys, "model", "show", name, "--json").out)
        assert again == original
    (tmp_path / "own.toml").write_text(
        hirescam(capsys, "model", "show", "demo", "--toml").out, encoding="utf-8"
    )
    assert hirescam(capsys, "model", "verify", str(tmp_path / "own.toml")).code == 0


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="the device is there")
@pytest.mark.parametrize("device", ["mps", "cuda:99"])
def test_a_device_asked_for_by_name_and_absent_is_no_fault_of_the_model(
    device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = hirescam(capsys, "model", "doctor", "demo", "--device", device)
    assert refused.code == 69
    assert f"The device {device} is not there" in refused.err


@pytest.mark.parametrize(("offset", "refused"), [("0.0", False), ("1.0", True)])
def test_explain_draws_nothing_where_the_layers_contradict_the_architecture(
    offset: str, refused: bool, tmp_path: Path
) -> None:
    examined(tmp_path, "linear", parameters=f"offset = {offset}")
    spec = load_spec(str(tmp_path / "tails.toml"))
    settings = Settings(methods=("hirescam",), formats=("nifti",))
    if not refused:
        assert open_session(settings, spec).facts.target_layer == "trunk"
        return
    with pytest.raises(ModelError, match=r"offset \(1, 0, 0\) voxels; followed .* offset \(0, 0, 0\)"):
        open_session(settings, spec)


def test_a_size_that_depends_on_the_scan_is_no_reason_to_refuse(tmp_path: Path) -> None:
    examined(tmp_path, "linear")
    fixed = (tmp_path / "tails.toml").read_text(encoding="utf-8")
    pad = f'step = "pad_crop"\nshape = {list(tails.SHAPE)}\nvalue = -1000\n'
    resample = 'step = "resample"\nspacing_mm = [1.0, 1.0, 1.0]\n'
    settings = Settings(methods=("hirescam",), formats=("nifti",))
    for steps in (resample, f"{pad}[[preparation]]\n{resample}"):
        assert pad in fixed
        (tmp_path / "free.toml").write_text(fixed.replace(pad, steps), encoding="utf-8")
        spec = load_spec(str(tmp_path / "free.toml"))
        assert spec.preparation.shape is None
        assert open_session(settings, spec).facts.target_layer == "trunk"


def _findings(placement: str | None, by: str) -> RefereeFindings:
    verdict = Verdict(placement=placement, method="hirescam", difference=None, reason="why")  # type: ignore[arg-type]
    return RefereeFindings(
        schema_version=1, model="m", placement=by, methods=("hirescam",), fills=("blur",), groups=2, seed=0,  # type: ignore[arg-type]
        cases=6, verdict=verdict, overall=(), comparisons=(), labels=(), drift=(), agreements=(), drifts=(),
        exactness=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("placement", "by", "verdict", "remedy"),
    [
        ("stretch", "stretch", "ok", None),
        ("stretch", "receptive-field", "warning", 'placement = "stretch"'),
        (None, "stretch", "warning", "more scans"),
    ],
)
def test_the_referee_confirms_a_placement_or_names_the_other(
    placement: str | None, by: str, verdict: str, remedy: str | None
) -> None:
    told = placement_check(_findings(placement, by))
    assert (told.name, told.verdict) == ("placement", verdict)
    assert told.remedy is None if remedy is None else remedy in (told.remedy or "")


def test_the_referee_needs_scans(capsys: pytest.CaptureFixture[str]) -> None:
    refused = hirescam(capsys, "model", "doctor", "demo", "--referee")
    assert refused.code == 2
    assert "--scan" in refused.err
