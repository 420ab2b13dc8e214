"""Half precision: how far it moves logits and maps is measured, told, and refused where it is too far."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import safetensors.torch
import torch

from hirescam_cli.batch.stages import identity_of
from hirescam_cli.case.document import plain, schema
from hirescam_cli.errors import MemoryUnavailableError, ModelError
from hirescam_cli.explain.drift import Drift, measure, sample
from hirescam_cli.explain.engine import Engine
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.model.spec import ModelSpec, load_spec
from hirescam_cli.pipeline import (
    Session,
    drift_warnings,
    explain_prepared,
    open_session,
    read_case,
    write_case,
)
from hirescam_cli.pipeline import session as session_module
from hirescam_cli.settings import Settings
from tests.batch.world import make_scan
from tests.explain.networks import BOTH, engine_of, run, tiny
from tests.models import radchest_toml
from tests.pipeline.pipeline_world import MODEL

LAST_NORM = "features.7.1.bn2"


def with_large_biases(network: AxialNet) -> AxialNet:
    """Activations around 1000 with small differences: bf16 keeps eight bits of them."""
    with torch.no_grad():
        network.get_submodule(LAST_NORM).bias.add_(1000.0)  # type: ignore[union-attr, operator]
    return network


def spec_of(network: AxialNet, folder: Path) -> ModelSpec:
    safetensors.torch.save_file(network.state_dict(), folder / "tiny.safetensors")
    (folder / "tiny.toml").write_text(MODEL + radchest_toml((5.0, 1.0, 1.0), (12, 420, 420)))
    return load_spec(str(folder / "tiny.toml"))


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return spec_of(tiny(), tmp_path)


@pytest.fixture
def bad_spec(tmp_path: Path) -> ModelSpec:
    return spec_of(with_large_biases(tiny()), tmp_path)


SETTINGS = Settings(methods=BOTH, labels="all", formats=("nifti",), device="cpu")


def on_auto(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    """What --precision auto chooses here; on a CPU it is fp32."""
    monkeypatch.setattr(
        "hirescam_cli.pipeline.session.resolve_precision", lambda _requested, _device: precision
    )


def test_the_drift_is_the_difference_of_the_answers() -> None:
    network = tiny()
    half, full = (engine_of(network, "conv2d.7", precision=p) for p in ("bf16", "fp32"))
    found = measure(half, full, (12, 420, 420))
    hu = sample(3, 3, (420, 420))
    exact, rounded = run(network, hu), run(network, hu, precision="bf16")
    assert found.logits == np.abs(exact.logits - rounded.logits).max() > 0
    apart = [
        np.abs(a - b).max() / np.abs(a).max()
        for a, b in zip(exact.cams["hirescam"], rounded.cams["hirescam"], strict=True)
    ]
    assert found.maps == pytest.approx(max(apart), rel=1e-6)


def test_the_sample_is_a_body_in_air() -> None:
    hu = sample(2, 3, (420, 420))
    assert hu.shape == (2, 3, 420, 420)
    assert (hu[:, :, 0] == -1000).all()
    assert 0 < hu[:, :, 190:230, 205:215].mean() < 80  # mediastinum
    assert -900 < hu[:, :, 190:230, 110:140].mean() < -700  # a lung
    np.testing.assert_array_equal(hu, sample(2, 3, (420, 420)))


def test_half_precision_that_moves_the_logits_is_refused_though_its_maps_are_complete(
    bad_spec: ModelSpec,
) -> None:
    with pytest.raises(
        ModelError, match=r"cannot be run in bf16: in bf16 the logits are off by [0-9.]+"
    ) as caught:
        open_session(replace(SETTINGS, precision="bf16"), bad_spec)
    assert (caught.value.code, caught.value.exit_code) == ("precision-drift", 2)
    assert "--precision fp32" in str(caught.value.hint)
    assert open_session(SETTINGS, bad_spec).facts.drift is None


def test_auto_takes_fp32_and_says_why(bad_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    on_auto(monkeypatch, "bf16")
    facts = open_session(SETTINGS, bad_spec).facts
    assert (facts.precision, facts.drift) == ("fp32", None)
    assert facts.fallbacks[0].startswith("precision auto: in bf16 the logits are off by")
    with pytest.raises(ModelError):
        open_session(replace(SETTINGS, precision="bf16"), bad_spec)


def test_overflow_counts_as_the_largest_drift(tmp_path: Path) -> None:
    network = tiny()
    with torch.no_grad():
        network.get_submodule("features.1").bias.fill_(1e6)  # type: ignore[union-attr]
    with pytest.raises(ModelError, match="in fp16 the network's values overflow"):
        open_session(replace(SETTINGS, precision="fp16"), spec_of(network, tmp_path))


@pytest.mark.parametrize(("logits", "maps"), [(0.04, 0.04), (0.4, 0.04), (0.04, 0.125)])
def test_a_case_tells_the_drift(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logits: float, maps: float
) -> None:
    monkeypatch.setattr(session_module, "measure", lambda *_: Drift(logits, maps))
    session = open_session(replace(SETTINGS, precision="bf16"), spec)
    document = written(session, tmp_path)
    told = document["run"]
    assert (told["precision"], told["precision_requested"]) == ("bf16", "bf16")
    assert told["drift"] == {"logits": logits, "maps": maps}
    warned = [warning for warning in document["warnings"] if warning["code"] == "precision-drift"]
    assert warned == plain(drift_warnings(session.facts))
    assert len(warned) == (logits > 0.05 or maps > 0.05)
    assert all(f"{logits:.2g}" in told["text"] and f"{maps:.1%}" in told["text"] for told in warned)


def written(session: Session, folder: Path) -> dict[str, Any]:
    (folder / "case").mkdir()
    (scan,) = discover([InputPath(make_scan(folder / "scan.nii.gz"))], ReadOptions()).scans
    prepared = read_case(scan, session.facts.spec, session.settings)
    write_case(
        folder / "case", session.facts, prepared, explain_prepared(session, prepared), session.settings
    )
    document: dict[str, Any] = json.loads((folder / "case" / "summary.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(document)
    return document


def test_the_precision_in_effect_and_the_version_are_part_of_what_a_case_is(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run on another device, or by another version, does not mix its cases with the old ones."""
    full = open_session(SETTINGS, spec).facts
    named = open_session(replace(SETTINGS, precision="fp32"), spec).facts
    assert named.params_hash == full.params_hash  # the same bits, however they were asked for
    on_auto(monkeypatch, "bf16")
    half = open_session(SETTINGS, spec).facts
    assert (half.precision, half.params_hash != full.params_hash) == ("bf16", True)
    monkeypatch.setattr("hirescam_cli.case.identity.__version__", "99")
    monkeypatch.setattr("hirescam_cli.batch.stages.__version__", "99")
    newer = open_session(replace(SETTINGS, precision="fp32"), spec).facts
    assert newer.params_hash != full.params_hash
    assert dict(identity_of(newer).effective)["hirescam's version"] == "99"


def test_seconds_tell_the_network_from_the_maps(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the last layer gradients are taken: that is explaining; the forward pass is not."""
    from hirescam_cli.explain import parts

    session = open_session(replace(SETTINGS, target_layer="conv2d.3"), spec)
    clock = [0.0]
    monkeypatch.setattr(parts.time, "perf_counter", lambda: clock[0])
    scores, gradients = session.engine.network.scores, parts.Gradients.take

    def slow(seconds: float, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            clock[0] += seconds
            return function(*arguments)

        return call

    monkeypatch.setattr(session.engine.network, "scores", slow(3.0, scores))
    monkeypatch.setattr(parts.Gradients, "take", slow(50.0, gradients))
    explanation = session.engine.explain(sample(2, 3, (420, 420)), np.zeros(2, dtype=bool), BOTH)
    assert explanation.seconds == {"network": 3.0, "explain": 50.0}


def test_memory_that_is_missing_while_loading_is_unavailable(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Engine, "__init__", exhausted)
    with pytest.raises(MemoryUnavailableError, match="not enough free memory on this machine") as caught:
        open_session(SETTINGS, spec)
    assert caught.value.exit_code == 69


def test_a_precision_that_a_layer_does_not_have_falls_back_or_is_refused(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object) -> Drift:
        raise NotImplementedError("pool not implemented for 'BFloat16'")

    monkeypatch.setattr(session_module, "measure", lacking)
    with pytest.raises(ModelError, match="bf16 is not available for every layer") as caught:
        open_session(replace(SETTINGS, precision="bf16"), spec)
    assert caught.value.code == "precision-drift"
    monkeypatch.setattr(session_module, "resolve_precision", lambda *_: "bf16")
    facts = open_session(replace(SETTINGS, precision="auto"), spec).facts
    assert (facts.precision, facts.drift) == ("fp32", None)
    assert "not available" in facts.fallbacks[0]
