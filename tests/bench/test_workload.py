"""What the benchmark measures on is what it says: geometry, files, operation counts, peers."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from hirescam_cli.bench import network, scan, start
from hirescam_cli.bench.workload import FULL, QUICK, Workload, scan_affine, synthetic_scan, write_scan
from hirescam_cli.geometry import Grid
from hirescam_cli.io import InputPath, ReadOptions, discover, read
from hirescam_cli.prepare import coverage
from hirescam_cli.threads import available, in_threads, limited
from hirescam_cli.volume import Provenance, Volume


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return Workload(QUICK, tmp_path_factory.mktemp("bench"), "cpu", 1, lambda _text: None)


def test_the_scan_is_read_back_as_written(tmp_path: Path) -> None:
    array, affine = synthetic_scan((12, 10, 5)), scan_affine((12, 10, 5), (0.7, 0.7, 1.5))
    volume = read(
        discover([InputPath(write_scan(tmp_path / "s.nii.gz", array, affine))], ReadOptions()).scans[0],
        ReadOptions(),
    )
    np.testing.assert_array_equal(volume.array_ijk, array)
    np.testing.assert_allclose(volume.affine_ras, affine, atol=1e-6)
    assert volume.orientation == "LPS"
    assert (array == -1000).any()
    assert (array > -100).any()


@pytest.mark.parametrize("size", [FULL, QUICK])
def test_nothing_of_the_scan_is_cropped(size: Any, workload: Workload) -> None:
    # The peers resample the whole scan, so the comparison is fair only if preparation does as well.
    spec = workload.spec if size.quick else Workload(size, workload.folder, "cpu", 1, print).spec
    grid = Grid(size.shape, scan_affine(size.shape, size.spacing_mm))
    assert coverage(
        Volume(np.broadcast_to(np.int16(0), grid.shape), grid.affine_ras, Provenance("nifti", "0" * 64)),
        spec.preparation,
    ).scan_seen_fraction == pytest.approx(1.0)


def test_operations_of_one_group_by_hand() -> None:
    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

        def scores(self, groups: torch.Tensor) -> torch.Tensor:
            return self.conv(groups)

    # 4 x 5 x 6 outputs, each a sum over 3 channels x 9 weights, two operations a term.
    assert network.flops_per_group(Tiny(), torch.zeros(1, 3, 5, 6)) == 2 * 120 * 27  # type: ignore[arg-type]


def test_full_size_network_by_hand() -> None:
    full = Workload(FULL, Path(), "cpu", 1, print)
    # Output pixels x output channels x (input channels x kernel), first convolution, four stages, head, scores.
    stem = 210**2 * 64 * 3 * 49
    stages = 4 * 105**2 * 64 * 64 * 9
    for side, channels in ((53, 128), (27, 256), (14, 512)):
        stages += side**2 * channels * (channels // 2 * (9 + 1) + 3 * channels * 9)
    head = 12**2 * 64 * 512 * 9 + 10**2 * 32 * 64 * 9 + 8**2 * 16 * 32 * 9 + 6**2 * 16 * 16 * 9
    flops = network.flops_per_group(full.network, torch.zeros(1, 3, 420, 420))
    assert flops == 2 * (stem + stages + head + 83 * 16 * 36)


def test_random_weights_keep_activations_alive(workload: Workload) -> None:
    scores = network.engine(workload).forward_only(workload.groups(2))
    assert np.isfinite(scores).all()
    assert np.abs(scores[0] - scores[1]).max() > 1e-6
    assert scores.std() > 1e-3


def test_one_label_is_the_first_of_all(workload: Workload) -> None:
    values = torch.rand(1, 3, 420, 420)
    with torch.inference_mode():
        one = network._one_label(workload.network).scores(values)
        torch.testing.assert_close(one, workload.network.scores(values)[:, :1])


def test_captum_answers_for_the_label_asked_for(workload: Workload) -> None:
    pytest.importorskip("captum")
    plain, values = network._plain(workload)
    layer = plain.get_submodule(plain.last_layer)
    mine = network.engine(workload).explain(workload.groups(2), np.zeros(2, dtype=np.bool_), ("hirescam",))
    product = network.PEERS["captum-gradxact"][1]()(network._Scores(plain), layer, values, 3)
    assert isinstance(product, torch.Tensor)
    # captum explains each group's own score, hirescam their mean over 2 groups.
    theirs = product.sum(dim=1).detach().numpy() / 2
    np.testing.assert_allclose(theirs, mine.cams["hirescam"][3], atol=1e-4)


def test_grad_cam_is_asked_for_the_layer_and_the_label(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class HiResCAM:
        def __init__(self, **given: Any) -> None:
            asked.append(given)

        def __enter__(self) -> HiResCAM:
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("closed")

        def __call__(self, **given: Any) -> str:
            asked.append(given)
            return "maps"

    package, targets = ModuleType("pytorch_grad_cam"), ModuleType("pytorch_grad_cam.utils.model_targets")
    package.HiResCAM = HiResCAM  # type: ignore[attr-defined]
    targets.ClassifierOutputTarget = lambda label: SimpleNamespace(label=label)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", package)
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam.utils", ModuleType("pytorch_grad_cam.utils"))
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam.utils.model_targets", targets)
    plain, values = network._plain(workload)
    layer = plain.get_submodule(plain.last_layer)
    scores = network._Scores(plain)
    assert network.PEERS["grad-cam-hirescam"][1]()(scores, layer, values, 4) == "maps"
    assert asked[0] == {"model": scores, "target_layers": [layer]}
    assert asked[1]["input_tensor"] is values
    assert [target.label for target in asked[1]["targets"]] == [4, 4]
    assert asked[2] == "closed"


def test_peak_memory_is_that_of_the_command() -> None:
    held = 300
    code = f"b = bytearray({held} << 20); b[::4096] = b'x' * len(b[::4096])"
    base = scan.peak_megabytes([sys.executable, "-c", "pass"])
    peak = scan.peak_megabytes([sys.executable, "-c", code])
    assert peak - base == pytest.approx(held * 1.048576, rel=0.05)


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(Exception, match="ended with code 3"):
        scan.peak_megabytes([sys.executable, "-c", "raise SystemExit(3)"])


def test_imports_are_those_of_the_command() -> None:
    assert "typer" in start.imports_of(["--help"])
    assert "torch" not in start.imports_of(["model", "list"])


def test_the_series_is_found_whole(tmp_path: Path) -> None:
    start.write_series(tmp_path / "s", 12, (16, 20))
    (found,) = discover([InputPath(tmp_path / "s")], ReadOptions()).scans
    volume = read(found, ReadOptions())
    assert volume.array_ijk.shape == (16, 20, 12)
    # Each slice is the one before it, moved by a row.
    np.testing.assert_array_equal(volume.array_ijk[:, 1:, 5], volume.array_ijk[:, :-1, 4])


def test_threads_follow_the_limit_and_leave_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with limited(3):
        assert available() == 3
        with limited(1):
            assert available() == 1
        assert in_threads(lambda n: n * n, range(5)) == [0, 1, 4, 9, 16]
    assert "OMP_NUM_THREADS" not in os.environ
    assert available() == len(os.sched_getaffinity(0))


def test_the_first_exception_of_threads_is_raised_and_the_rest_not_begun() -> None:
    begun: list[int] = []

    def work(n: int) -> None:
        begun.append(n)
        if n == 0:
            raise OSError("disk full")
        time.sleep(0.01)  # an instant item each would be done before anybody looks

    with limited(2), pytest.raises(OSError, match="disk full"):
        in_threads(work, range(1000))
    assert len(begun) < 1000


def test_written_scan_has_both_transforms(tmp_path: Path) -> None:
    affine = scan_affine((4, 4, 4), (1.0, 2.0, 3.0))
    header: Any = nibabel.load(write_scan(tmp_path / "s.nii.gz", synthetic_scan((4, 4, 4)), affine)).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (2, 1)
