"""EXTENDING.md: its code, installed as a package of its own, explains a scan from end to end.

The network is foreign: 3-D, without slices or slice scores, its axes to the right, front and head.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import nibabel
import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from scipy import ndimage

from hirescam_cli.case.document import schema
from hirescam_cli.geometry import affine as affines

PAGE = Path(__file__).resolve().parents[1] / "EXTENDING.md"
METHODS = ("hirescam", "gradcam", "absolute")


def blocks() -> dict[str, str]:
    """The files of the page: by the name in their first line."""
    found = re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return dict(found)


@dataclass
class World:
    """The installed package, a scan of noise with axes LPS, and the model file with weights."""

    site: Path
    scan: Path
    model: Path
    hu: NDArray[np.int16]
    affine: NDArray[np.float64]

    def hirescam(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """The command in a process of its own, which knows the package."""
        paths = os.pathsep.join([str(self.site), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "hirescam_cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "240"},
            cwd=self.scan.parent,
            check=False,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("extending")
    site = folder / "site"
    files = blocks()
    for name, text in files.items():
        if name.startswith("my_package/"):
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
    (site / "my_package" / "__init__.py").touch()
    info = site / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: my-package\nVersion: 1.0\n")
    groups = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{n} = {v}" for n, v in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (folder / "small.toml").write_text(files["small.toml"])
    safetensors.torch.save_file(network(files).state_dict(), folder / "small.safetensors")
    rng = np.random.default_rng(4)
    coarse = rng.integers(-1000, 400, (10, 9, 8)).repeat(4, 0).repeat(4, 1).repeat(3, 2)
    hu = np.clip(coarse + rng.integers(-50, 50, coarse.shape), -1000, 450).astype(np.int16)
    affine = np.diag([-7.0, -8.0, 6.0, 1.0])
    affine[:3, 3] = [140.0, 130.0, -300.0]
    image = nibabel.Nifti1Image(hu, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, folder / "scan.nii.gz")
    return World(site, folder / "scan.nii.gz", folder / "small.toml", hu, affine)


def network(files: dict[str, str]) -> Any:
    """The page's network with weights that say something."""
    names: dict[str, Any] = {}
    exec(files["my_package/network.py"], names)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        module = names["SmallCnn"](3, 4)
        module.features[1].running_mean.uniform_(-0.3, 0.3)
        module.features[1].running_var.uniform_(0.5, 2.0)
        module.features[1].bias.data.uniform_(0.0, 0.5)
    return module.eval()


def prepared(world: World) -> NDArray[np.float32]:
    """The network's input [i, j, k], step by step with SciPy: to the right, front and head."""
    ras = world.hu[::-1, ::-1].astype(np.float64)
    for axis, (old, new) in enumerate(((7.0, 10.0), (8.0, 10.0), (6.0, 8.0))):
        count = round(ras.shape[axis] * old / new)
        at = np.minimum(np.arange(count) * new / old, ras.shape[axis] - 1.0)
        index = [np.arange(n, dtype=float) for n in ras.shape]
        index[axis] = at
        ras = ndimage.map_coordinates(ras, np.meshgrid(*index, indexing="ij"), order=1)
    out = np.full((32, 24, 16), -1000.0)
    source, target = [], []
    for have, want in zip(ras.shape, out.shape, strict=True):
        pad, cut = max(0, want - have) // 2, max(0, have - want) // 2
        size = min(have, want)
        source.append(slice(cut, cut + size))
        target.append(slice(pad, pad + size))
    out[tuple(target)] = ras[tuple(source)]
    values: NDArray[np.float32] = (((np.clip(out, -1000, 400) + 1000) / 1400) ** 0.5).astype(np.float32)
    return values


def by_autograd(values: NDArray[np.float32], layer: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Logits [3], activation [C, i, j, k] and gradients [3, C, i, j, k], from the page's own network."""
    module = network(blocks())
    for part in module.modules():
        if isinstance(part, torch.nn.ReLU):
            part.inplace = False
    kept: list[torch.Tensor] = []
    module.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    logits = module(torch.from_numpy(values)[None, None])[0]
    gradients = [torch.autograd.grad(logit, kept[0], retain_graph=True)[0][0] for logit in logits]
    return logits.detach().numpy(), kept[0][0].detach().numpy(), torch.stack(gradients).numpy()


def explained(world: World, out: Path, *more: object) -> tuple[Path, dict[str, Any]]:
    done = world.hirescam(
        "explain", world.scan, "-o", out, "--model", world.model, "--method", ",".join(METHODS), "--labels", "all",
        "--device", "cpu", "--jobs", 1, *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    case = out / "scan"
    document: dict[str, Any] = json.loads((case / "summary.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(document)
    return case, document


@pytest.mark.parametrize("layer", ["features", "features.3", "features.0"])
def test_the_pages_package_explains_a_scan(world: World, tmp_path: Path, layer: str) -> None:
    case, document = explained(
        world, tmp_path / "out", "--format", "nifti,png,html,csv", "--target-layer", layer
    )
    logits, activation, gradients = by_autograd(prepared(world), layer)
    assert [label["logit"] for label in document["labels"]] == pytest.approx(logits, rel=1e-4, abs=1e-5)
    assert all(label["slice_scores"] is None for label in document["labels"])
    product = gradients * activation
    expected = {
        "hirescam": product.sum(axis=1),
        "gradcam": (gradients.mean(axis=(2, 3, 4), keepdims=True) * activation).sum(axis=1),
        "absolute": np.abs(product).sum(axis=1),
    }
    # Batch norms are folded, so a map below one is of what it becomes.
    compared = ("hirescam", "gradcam", "absolute") if layer != "features.0" else ()
    for method in compared:
        found = nibabel.load(case / f"{method}.cams.nii.gz").get_fdata(dtype=np.float32)
        wanted = np.moveaxis(expected[method], 0, -1)
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert document["methods"]["absolute"]["title"] == "Absolute gradient x activation"
    assert document["methods"]["absolute"]["unit"] == "absolute logits per cell"
    assert document["methods"]["hirescam"]["certificate"] == "exact"
    for label in document["labels"]:
        evidence = label["maps"]["hirescam"]
        assert abs(evidence["sum"] + evidence["bias"] - label["logit"]) < 1e-4 * max(1, abs(label["logit"]))
    roles = {output["path"]: (output["role"], output["format"]) for output in document["outputs"]}
    assert roles["peaks.csv"] == ("overlay", "csv")
    assert roles["absolute.cyst.png"] == ("picture", "png")
    assert "slice-scores.png" not in roles
    with (case / "peaks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["unit"] for row in rows} == {"logits per cell", "absolute logits per cell"}
    assert len(rows) == 9
    page = (case / "report.html").read_text(encoding="utf-8")
    assert "absolute logits per cell" in page


def test_with_a_mean_over_all_cells_cam_is_hirescam_is_gradcam(world: World, tmp_path: Path) -> None:
    case, document = explained(world, tmp_path / "out")
    fine, coarse = (
        nibabel.load(case / f"{m}.cams.nii.gz").get_fdata(dtype=np.float32) for m in ("hirescam", "gradcam")
    )
    np.testing.assert_allclose(fine, coarse, atol=1e-6 * np.abs(fine).max())
    weight = network(blocks()).head.weight.detach().numpy()
    _, activation, _ = by_autograd(prepared(world), "features")
    cam = np.einsum("lc,cijk->ijkl", weight, activation)
    np.testing.assert_allclose(fine * activation[0].size, cam, atol=1e-4 * np.abs(cam).max())
    assert {m: about["certificate"] for m, about in document["methods"].items()} == {
        "hirescam": "exact",
        "gradcam": "exact",
        "absolute": "none",
    }


def test_the_map_lies_where_the_network_looked(world: World, tmp_path: Path) -> None:
    """The cell that changes when a block of the scan does is the one whose place in mm is the block's."""
    case, document = explained(world, tmp_path / "out", "--grid", "cam", "--format", "nifti")
    cams = nibabel.load(case / "hirescam.cams.nii.gz")
    assert document["placement"] == "receptive-field"
    assert document["target"]["cells"] == [8, 6, 4]
    assert affines.orientation(cams.affine) == "RAS"
    changed = world.hu.copy()
    changed[8:11, 20:23, 12:15] += 900
    image = nibabel.Nifti1Image(changed, world.affine)
    image.set_sform(world.affine, 1)
    image.set_qform(world.affine, 1)
    other = tmp_path / "changed" / "scan.nii.gz"
    other.parent.mkdir()
    nibabel.save(image, other)
    second, _ = explained(
        World(world.site, other, world.model, changed, world.affine), tmp_path / "second", "--format", "nifti"
    )
    after = nibabel.load(second / "hirescam.cams.nii.gz").get_fdata()
    moved = np.abs(after - cams.get_fdata()).sum(axis=-1)
    weights = moved / moved.sum()
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in moved.shape), indexing="ij"), axis=-1)
    centroid = (affines.apply(cams.affine, cells) * weights[..., None]).sum(axis=(0, 1, 2))
    block = affines.apply(world.affine, (9.0, 21.0, 13.0))
    # A cell is 40 x 40 x 32 mm.
    assert np.abs(centroid - block).max() < 20.0
    aligned = document["target"]["affines"]["receptive-field"], document["target"]["affines"]["stretch"]
    apart = affines.apply(np.asarray(aligned[1]), (0, 0, 0)) - affines.apply(
        np.asarray(aligned[0]), (0, 0, 0)
    )
    np.testing.assert_allclose(apart, [15.0, 15.0, 12.0], atol=1e-6)  # 1.5 voxels of 10, 10 and 8 mm


def test_help_and_refusals_know_what_was_added(world: World) -> None:
    text = world.hirescam("explain", "--help").stdout
    assert "hirescam,gradcam,xgradcam,layercam,cam,layer-ig,ablation-cam,absolute" in text
    assert "nifti,png,gif,html,dicom-pm,dicom-sr,dicom-sc,dicom-seg,csv" in text
    refused = world.hirescam("explain", world.scan, "--method", "lime")
    assert refused.returncode == 2
    assert "absolute" in refused.stderr
    without = {**os.environ, "COLUMNS": "240"}
    plain = subprocess.run(
        [sys.executable, "-m", "hirescam_cli", "explain", str(world.scan), "--method", "absolute"],
        capture_output=True,
        text=True,
        env=without,
        check=False,
    )
    assert plain.returncode == 2


def test_the_page_has_a_file_for_each_entry_point() -> None:
    files = blocks()
    groups = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]
    named = {value.partition(":")[0] for points in groups.values() for value in points.values()}
    assert {f"{module.replace('.', '/')}.py" for module in named} == {n for n in files if n.startswith("my_")}
    assert set(groups) == {
        "hirescam.methods", "hirescam.result_formats", "hirescam.architectures", "hirescam.preparation",
    }  # fmt: skip
