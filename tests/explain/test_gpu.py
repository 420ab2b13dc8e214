"""The engine and the command on a CUDA GPU, against the CPU. Skipped where there is none."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from hirescam_cli.case.evidence import certificate
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.model.architectures.axialnet import AxialNet
from tests.cli.command import hirescam
from tests.explain.networks import BOTH, GROUPS, assert_close, engine_of, groups_of_hu, tiny
from tests.explain.networks import run as run_on

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")

LAYERS = ["conv2d.7", "conv2d.3", "features.7"]

run = partial(run_on, device="cuda")


def assert_same(found: Explanation, expected: Explanation, tolerance: float) -> None:
    for method in BOTH:
        assert_close(found.cams[method], expected.cams[method], tolerance)
    assert_close(found.logits, expected.logits, tolerance)
    assert_close(found.slice_scores, expected.slice_scores, tolerance)


@pytest.mark.parametrize("layer", LAYERS)
def test_fp32_gives_what_the_cpu_gives(network: AxialNet, hu: Any, layer: str) -> None:
    assert_same(run(network, hu, layer), run(network, hu, layer, device="cpu"), 1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_stays_near_and_its_certificates_complete(
    network: AxialNet, hu: Any, precision: str
) -> None:
    exact, half = run(network, hu), run(network, hu, precision=precision)
    difference = np.abs(half.logits - exact.logits).max()
    assert 0 < difference < {"fp16": 0.01, "bf16": 0.05}[precision] * np.abs(exact.logits).max()
    for cam, bias, logit in zip(half.cams["hirescam"], half.biases, half.logits, strict=True):
        assert certificate(cam, bias, logit)["complete"]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_second_run_gives_the_same_bits(network: AxialNet, hu: Any, layer: str, precision: str) -> None:
    first, second = (run(network, hu, layer, precision=precision) for _ in range(2))
    for method in BOTH:
        np.testing.assert_array_equal(first.cams[method], second.cams[method])
    np.testing.assert_array_equal(first.logits, second.logits)


@pytest.mark.parametrize("layer", LAYERS)
def test_chunks_whose_transfers_overlap_the_computing_give_the_same(
    network: AxialNet, hu: Any, layer: str
) -> None:
    assert_same(run(network, hu, layer, chunk=1), run(network, hu, layer, chunk=GROUPS), 1e-5)


def test_a_gpu_that_is_really_full_makes_the_chunks_smaller() -> None:
    hu = groups_of_hu(64)
    wide = AxialNet(5, 32).eval()
    expected = engine_of(wide, "conv2d.7", device="cuda", chunk=1)
    padding = np.zeros(len(hu), dtype=bool)
    exact = expected.explain(hu, padding, BOTH)
    engine = engine_of(wide, "conv2d.7", device="cuda", chunk=64)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + (300 << 20)) / total)
        found = engine.explain(hu, padding, BOTH)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert engine.chunk < 64
    assert found.fallbacks[0] == "out of GPU memory: chunks of 32 slice groups instead of 64"
    assert_same(found, exact, 1e-4)


def test_the_network_is_left_on_the_cpu_as_it_was(hu: Any) -> None:
    network = tiny()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    run(network, hu, precision="fp16")
    for name, tensor in network.state_dict().items():
        assert tensor.device.type == "cpu"
        assert torch.equal(tensor, before[name])


def test_memory_does_not_grow_with_the_number_of_scans(network: AxialNet, hu: Any) -> None:
    engine = engine_of(network, "conv2d.7", device="cuda", precision="fp16")
    used = []
    for _ in range(20):
        engine.explain(hu, np.zeros(GROUPS, dtype=bool), BOTH)
        torch.cuda.synchronize()
        used.append(torch.cuda.memory_allocated())
    assert used[-1] == used[2]


def test_the_command_says_on_which_device_it_ran_and_gives_the_cpus_maps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sample,) = (Path(__file__).resolve().parents[2] / "sample_data").glob("*.nii.gz")
    for device in ("cuda", "cpu"):
        options = ("--output", tmp_path / device, "--device", device, "--format", "nifti")
        result = hirescam(capsys, "explain", sample, *options)
        assert result.code == 0, result.err
    cuda, cpu = (next((tmp_path / device).rglob("summary.json")) for device in ("cuda", "cpu"))
    summary = json.loads(cuda.read_text(encoding="utf-8"))
    assert summary["run"]["device"].startswith("cuda")
    assert summary["run"]["device_requested"] == "cuda"
    mine, other = (
        np.asarray(nibabel.load(path.with_name("hirescam.cams.nii.gz")).dataobj) for path in (cuda, cpu)
    )
    assert np.abs(mine - other).max() <= 1e-4 * np.abs(other).max()
