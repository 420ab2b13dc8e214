"""The referee on real networks: what is exact by construction is exact, and it runs from files to findings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from hirescam_cli.evaluate.occlusion import Input, occlude_group, replace_group
from hirescam_cli.evaluate.referee import RefereeOptions, referee
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.geometry import affine as affines
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.model.load import LoadedModel, load_model
from hirescam_cli.model.spec import load_spec
from hirescam_cli.pipeline import open_session
from hirescam_cli.refereeing import NetworkSubject, ask
from hirescam_cli.settings import Settings
from tests.batch.world import make_model, make_scan
from tests.explain.networks import GROUPS, SCALE, engine_of, groups_of_hu, tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = make_model(tmp_path_factory.mktemp("model"))
    return load_model(load_spec(str(folder)))


@pytest.fixture(scope="module")
def scan() -> Input:
    hu = groups_of_hu(GROUPS, seed=3)
    voxels = hu.reshape(-1, *hu.shape[2:])
    edges = tuple((-0.5, size - 0.5) for size in voxels.shape)
    return Input("case", voxels, affines.scaling((0.8, 0.8, 0.8), (0.0, 0.0, 0.0)), edges)


def subject_of(model: LoadedModel) -> NetworkSubject:
    return NetworkSubject(engine_of(tiny(), "conv2d.7"), model)


def rounding(answer: Explanation) -> float:
    """What float32 leaves uncertain of the largest logit."""
    return 1e-6 * float(np.abs(answer.logits).max())


def test_a_whole_group_replaced_changes_the_logit_by_its_share(model: LoadedModel, scan: Input) -> None:
    subject = subject_of(model)
    answer = subject.explain(scan.voxels, ["hirescam"])
    expected, found = replace_group(subject, scan, answer, 2)
    assert np.abs(expected).max() > 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(answer))
    # And by the unchanged network in one pass.
    network, other = tiny(), scan.voxels.astype(np.float32)
    other[6:9] = other[6:9].mean(dtype=np.float64)
    with torch.inference_mode():
        before, after = (
            network(SCALE(torch.from_numpy(np.asarray(v)).reshape(GROUPS, 3, 420, 420))[None])[0].numpy()
            for v in (scan.voxels, other)
        )
    np.testing.assert_allclose(after - before, expected, rtol=0, atol=rounding(answer))


def test_a_cell_of_the_activation_set_to_0_takes_its_hirescam_cell_from_the_logit(
    model: LoadedModel, scan: Input
) -> None:
    answer = subject_of(model).explain(scan.voxels, ["hirescam"])
    network = tiny()
    values = SCALE(torch.from_numpy(scan.voxels).reshape(GROUPS, 3, 420, 420))[None]
    cell = (3, 1, 4)

    def erase(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        erased = output.clone()
        erased[cell[0], :, cell[1], cell[2]] = 0.0
        return erased

    with torch.inference_mode():
        before = network(values)[0].numpy()
        handle = network.get_submodule("conv2d.7").register_forward_hook(erase)
        after = network(values)[0].numpy()
        handle.remove()
    told = answer.cams["hirescam"][(slice(None), *cell)]
    assert np.abs(told).max() > 1.0
    np.testing.assert_allclose(before - after, told, rtol=0, atol=rounding(answer))


def test_a_drop_is_that_of_a_full_pass(model: LoadedModel, scan: Input) -> None:
    subject = subject_of(model)
    answer = subject.explain(scan.voxels, ["hirescam"])
    found = occlude_group(subject, scan, answer, 1, "receptive-field", "blur")
    window = found.windows[8]
    box = window.voxels
    assert box[0] == slice(3, 6)
    changed = scan.voxels.astype(np.float32)
    blurred = ndimage.gaussian_filter(changed[3:6], (0, 20, 20), truncate=8)
    changed[box] = blurred[:, box[1], box[2]]
    drop = answer.logits - subject.explain(changed, ["hirescam"]).logits
    np.testing.assert_allclose(found.drops[8], drop, rtol=0, atol=rounding(answer))


def test_half_of_a_network_asks_no_gradient_and_leaves_the_scan_as_it_was(
    model: LoadedModel, scan: Input
) -> None:
    before = scan.voxels.copy()
    subject = subject_of(model)
    options = RefereeOptions(groups=1, fills=("mean", "air"), shifts=((1, 0, 0),))
    wanted = {"case": [subject.labels[0]]}
    findings = referee(subject, [scan], ("hirescam", "gradcam"), options, wanted=wanted)
    assert np.array_equal(scan.voxels, before)
    assert len(findings.agreements) == 2 * 2 * 2 * 2
    assert {a.windows for a in findings.agreements} == {36}
    assert findings.exactness is not None
    assert findings.exactness < 1e-6
    assert len(findings.drifts) == 2


def test_from_files_to_findings(tmp_path: Path) -> None:
    make_scan(tmp_path / "in/good.nii.gz", shape=(40, 38, 30))
    make_scan(tmp_path / "in/bad.nii.gz", shape=(40, 38, 30))
    damaged = tmp_path / "in/bad.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    spec = load_spec(str(make_model(tmp_path / "model")))
    session = open_session(Settings(), spec)
    scans = discover([InputPath(tmp_path / "in")], ReadOptions()).scans
    options = RefereeOptions(groups=1, fills=("mean",), shifts=())
    wanted = {"good": [spec.labels[0]], "bad": [spec.labels[0]]}
    findings, failed = ask(session, scans, ("hirescam",), options, wanted=wanted)
    assert [case for case, _ in failed] == ["bad"]
    assert findings.cases == 1
    assert findings.model == spec.name
    assert {a.placement for a in findings.agreements} == {"stretch", "receptive-field"}
