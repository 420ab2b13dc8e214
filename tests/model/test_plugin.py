"""An architecture of another package: found through its entry point, loaded, explained, written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import safetensors.torch
import torch

from hirescam_cli.errors import ModelError
from hirescam_cli.io import InputPath, ReadOptions, discover
from hirescam_cli.model.load import load_model
from hirescam_cli.model.registry import find_architecture
from hirescam_cli.model.spec import load_spec
from hirescam_cli.pipeline import Session, explain_prepared, open_session, read_case, write_case
from hirescam_cli.settings import Settings
from tests.batch.world import make_scan

PACKAGE = """
from torch import nn
from hirescam_cli.model.registry import Architecture, LayerGrid, Network

class PairNet(Network):
    norms_follow = True

    def __init__(self, labels, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, width, 5, stride=5), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, 6, 4, stride=4), nn.ReLU(),
        )
        self.fc = nn.Conv2d(6, labels, 2)

    @property
    def trunk(self):
        return self.body

    @property
    def last_layer(self):
        return "body.4"

    def scores(self, groups):
        return self.fc(self.body(groups)).flatten(1)

ARCHITECTURE = Architecture(
    name="pairs",
    description="pairs of slices, forty pixels wide",
    slices_per_group=2,
    build=lambda parameters, labels: PairNet(labels, **parameters),
    layer_grid=lambda network, layer, side: LayerGrid(side // 20, 20.0, 9.5),
)
"""
MODEL = """
name = "foreign"
intended_use = "tests"
architecture = "pairs"
parameters = {{ width = 5 }}
labels = {{ names = ["nodule", "mass", "cyst"], threshold = 0.5 }}
weights = {{ file = "pairs.safetensors" }}
explanation = {{ target_layer = "{layer}" }}
[preparation]
spacing_mm = [8.0, 9.0, 9.0]
slices = {slices}
side = 40
hu_window = [-1000, 400]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The installed package; its module."""
    site = tmp_path / "site"
    info = site / "pairs-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "made_up_pairs.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Name: pairs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[hirescam.architectures]\npairs = made_up_pairs:ARCHITECTURE\n")
    monkeypatch.syspath_prepend(str(site))
    import made_up_pairs  # type: ignore[import-not-found]

    yield made_up_pairs
    sys.modules.pop("made_up_pairs")


def model_file(package: Any, folder: Path, *, layer: str = "body.4", slices: int = 6) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = package.PairNet(3, 5)
        network.body[1].running_var.uniform_(0.5, 2.0)
        network.body[1].running_mean.uniform_(-1.0, 1.0)
    safetensors.torch.save_file(network.state_dict(), folder / "pairs.safetensors")
    (folder / "model.toml").write_text(MODEL.format(layer=layer, slices=slices))
    return folder / "model.toml"


def by_autograd(package: Any, session: Session, groups: Any, layer: str) -> tuple[Any, Any, Any]:
    """HiResCAM and Grad-CAM maps [L, S, h, w] and logits, from the package's own network."""
    network = package.PairNet(3, 5).eval()
    network.load_state_dict(session.model.network.state_dict())
    network.body[2].inplace = False
    kept = []
    network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    values = (torch.from_numpy(groups.astype(np.float32)).clamp(-1000, 400) + 1000) / 1400 - 0.449
    logits = network.scores(values).mean(dim=0)
    (activation,) = kept
    gradients = [torch.autograd.grad(logit, activation, retain_graph=True)[0] for logit in logits]
    fine = torch.stack([(g * activation).sum(dim=1) for g in gradients])
    coarse = torch.stack(
        [(g.mean(dim=(0, 2, 3))[None, :, None, None] * activation).sum(dim=1) for g in gradients]
    )
    return fine.detach().numpy(), coarse.detach().numpy(), logits.detach().numpy()


@pytest.mark.parametrize("layer", ["body.4", "body.2"])
def test_a_foreign_network_is_explained_from_end_to_end(package: Any, tmp_path: Path, layer: str) -> None:
    assert find_architecture("pairs") is package.ARCHITECTURE
    spec = load_spec(str(model_file(package, tmp_path, layer=layer)))
    settings = Settings(methods=("hirescam", "gradcam"), labels="all", formats=("nifti", "png"), device="cpu")
    session = open_session(settings, spec)
    (scan,) = discover([InputPath(make_scan(tmp_path / "scan.nii.gz"))], ReadOptions()).scans
    prepared = read_case(scan, spec, settings)
    explained = explain_prepared(session, prepared)
    groups = prepared.model_input.hu_zyx.reshape(3, 2, 40, 40)
    fine, coarse, logits = by_autograd(package, session, groups, layer)
    np.testing.assert_allclose(explained.explanation.logits, logits, rtol=1e-5, atol=1e-6)
    for method, expected in (("hirescam", fine), ("gradcam", coarse)):
        found = explained.explanation.cams[method]
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    (tmp_path / "case").mkdir()
    document = write_case(tmp_path / "case", session.facts, prepared, explained, settings)
    assert (document["model"]["architecture"], document["target_layer"]) == ("pairs", layer)
    assert [label["maps"]["hirescam"]["complete"] for label in document["labels"]] == [layer == "body.4"] * 3
    image: Any = nibabel.load(tmp_path / "case" / "hirescam.cams.nii.gz")
    np.testing.assert_array_equal(
        image.get_fdata(dtype=np.float32), np.moveaxis(explained.explanation.cams["hirescam"], 0, -1)
    )
    # A cell is 2 slices of 8 mm by 20 pixels of 9 mm.
    np.testing.assert_allclose(sorted(image.header.get_zooms()[:3]), [16.0, 180.0, 180.0], rtol=1e-5)
    assert (tmp_path / "case" / "hirescam.nodule.nii.gz").is_file()
    assert (tmp_path / "case" / "gradcam.cyst.png").is_file()


def test_slices_that_make_no_whole_groups_are_refused(package: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="slices is 5, which makes no whole groups of 2, as pairs takes them"
    ):
        load_model(load_spec(str(model_file(package, tmp_path, slices=5))))
