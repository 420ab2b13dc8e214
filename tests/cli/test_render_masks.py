"""`hirescam render --masks`: outlines where masks are, and every mask that cannot be drawn named and counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from hirescam_cli.pictures.outlines import COLOURS
from tests.batch.world import make_model, make_scan
from tests.cli.command import hirescam


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_model(folder / "model")
    for name, seed in (("scan", 0), ("other", 5)):
        make_scan(folder / "in" / f"{name}.nii.gz", shape=(40, 38, 30), seed=seed)
    return folder


@pytest.fixture
def out(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    result = hirescam(
        capsys, "explain", world / "in", "-o", tmp_path / "out", "--model", world / "model" / "tiny.toml",
        "--labels", "top:1", "--format", "nifti", "--jobs", 0,
    )  # fmt: skip
    assert result.code == 0, result.err
    return tmp_path / "out"


def label_of(case: Path) -> str:
    names = {path.name.split(".")[1] for path in case.glob("hirescam.*.nii.gz")} - {"cams"}
    return names.pop()


def save_mask(path: Path, scan: Path, shift_mm: float = 0.0, value: float = 1.0) -> None:
    """A box in the middle of a scan, on a grid twice as coarse."""
    image = nib.load(scan)
    affine = image.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] += shift_mm
    values = np.zeros([n // 2 for n in image.shape], dtype=np.float32)
    values[4:-4, 4:-4, 4:-4] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, affine), path)


def drawn(case: Path) -> bool:
    """Whether the label's picture has a line in the colour of masks."""
    picture = np.asarray(Image.open(case / f"hirescam.{label_of(case)}.png"))
    colour = [int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture.astype(int) - colour).max(axis=-1) < 40).sum()) > 300


def render(capsys: pytest.CaptureFixture[str], world: Path, out: Path, *more: object):
    cases = sorted(path for path in out.iterdir() if path.is_dir())
    return hirescam(
        capsys, "render", *cases, "--scan", world / "in", "--labels", "top:1", "--format", "png", *more
    )


def test_a_case_with_a_mask_gets_its_outline(
    world: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_mask(tmp_path / "masks/scan" / f"{label_of(out / 'scan').upper()}.nii.gz", world / "in/scan.nii.gz")
    save_mask(tmp_path / "masks/stranger/x.nii.gz", world / "in/scan.nii.gz")
    result = render(capsys, world, out, "--masks", tmp_path / "masks")
    assert (result.code, result.err) == (0, "")
    assert drawn(out / "scan")
    assert not drawn(out / "other")


def test_masks_elsewhere_damaged_or_probabilities_are_named_and_counted(
    world: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{label_of(out / 'scan')}.nii.gz"
    save_mask(tmp_path / "masks/scan" / name, world / "in/scan.nii.gz", shift_mm=2000.0)
    save_mask(
        tmp_path / "masks/other" / f"{label_of(out / 'other')}.nii.gz", world / "in/other.nii.gz", value=0.5
    )
    result = render(capsys, world, out, "--masks", tmp_path / "masks")
    assert result.code == 8
    assert "its voxels lie outside of the scan" in result.err
    assert "it holds 0.5" in result.err
    assert not drawn(out / "scan")
    assert (out / "other" / "summary.json").is_file()


def test_masks_of_nobody_and_options_without_masks(
    world: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_mask(tmp_path / "masks/stranger/x.nii.gz", world / "in/scan.nii.gz")
    result = render(capsys, world, out, "--masks", tmp_path / "masks")
    assert result.code == 66
    assert "stranger belongs to no case" in result.err
    assert render(capsys, world, out, "--masks", tmp_path / "none").code == 66
    assert render(capsys, world, out, "--outline", "lung").code == 2
    result = render(capsys, world, out, "--masks", tmp_path / "masks", "--mask-labels", tmp_path / "none.csv")
    assert result.code == 2


def test_an_organ_is_outlined_on_every_picture(
    world: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "names.csv"
    table.write_text("1,Left lung\n")
    save_mask(tmp_path / "masks/scan.nii.gz", world / "in/scan.nii.gz")
    before = render(capsys, world, out, "--masks", tmp_path / "masks", "--mask-labels", table)
    assert before.code == 0
    picture = out / "scan" / f"hirescam.{label_of(out / 'scan')}.png"
    plain = picture.read_bytes()
    result = render(
        capsys, world, out, "--masks", tmp_path / "masks", "--mask-labels", table, "--outline", "left_lung"
    )
    assert result.code == 0, result.err
    assert picture.read_bytes() != plain


@pytest.mark.parametrize("source", ["option", "variable"])
def test_the_name_of_an_outline_may_have_blanks(
    source: str,
    world: Path,
    out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_mask(tmp_path / "masks/scan/lung left.nii.gz", world / "in/scan.nii.gz")
    save_mask(tmp_path / "masks/scan/heart.nii.gz", world / "in/scan.nii.gz")
    more = ["--outline", "lung left,heart"] if source == "option" else []
    if source == "variable":
        monkeypatch.setenv("HIRESCAM_OUTLINE", "lung left, heart")
    result = render(capsys, world, out, "--masks", tmp_path / "masks", "--format", "html", *more)
    assert (result.code, result.err) == (0, "")
    names = {outline["name"] for outline in outlines_of_page(out / "scan/report.html")}
    assert names == {"lung left", "heart"}


def test_an_outline_that_no_case_has_is_refused_before_anything_is_drawn(
    world: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = tmp_path / "masks"
    save_mask(masks / "scan/lung_left.nii.gz", world / "in/scan.nii.gz")
    for wanted in (("--outline", "lung_rigth"), ("--outline", "Lung left", "--outline", "lung_rigth")):
        result = render(capsys, world, out, "--masks", masks, *wanted)
        assert (result.code, result.out) == (2, "")
        assert "--outline 'lung_rigth' is the mask of none of the 1 cases that have masks" in result.err
        assert "Did you mean lung_left?" in result.err
        assert not list((out / "scan").glob("*.png"))
    report = hirescam(capsys, "report", out, "--scan", world / "in", "--masks", masks, "--outline", "nosuch")
    assert (report.code, "--outline 'nosuch'" in report.err) == (2, True)
    # A case without it is no fault where another has it; nor is one whose file cannot be read, which is told as such.
    save_mask(masks / "other/heart.nii.gz", world / "in/other.nii.gz")
    assert render(capsys, world, out, "--masks", masks, "--outline", "heart").code == 0
    (masks / "other/aorta.nii.gz").write_bytes(b"damaged")
    result = render(capsys, world, out, "--masks", masks, "--outline", "aorta")
    assert (result.code, "aorta.nii.gz" in result.err) == (8, True)


def outlines_of_page(page: Path) -> list[dict[str, object]]:
    found = re.search(
        r'<script type="application/json" id="case-json">(.*?)</script>', page.read_text(), re.DOTALL
    )
    assert found is not None
    return json.loads(found.group(1))["outlines"]


def test_report_puts_the_outlines_on_the_pages(
    world: Path, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = label_of(out / "scan")
    result = hirescam(capsys, "report", out, "--scan", world / "in")
    assert result.code == 0, result.err
    assert outlines_of_page(out / "scan/report.html") == []
    other = (out / "other/report.html").stat().st_mtime_ns
    save_mask(tmp_path / f"masks/scan/{name}.nii.gz", world / "in/scan.nii.gz")
    result = hirescam(capsys, "report", out, "--scan", world / "in", "--masks", tmp_path / "masks")
    assert result.code == 0, result.err
    (outline,) = outlines_of_page(out / "scan/report.html")
    assert outline["name"] == name
    # The box of 12 x 11 x 7 cells of the mask, each twice as large as a voxel of the scan of 40 x 38 x 30.
    lines = outline["lines"]
    assert {plane: len(slices) for plane, slices in lines.items()} == {
        "Axial": 14,
        "Coronal": 22,
        "Sagittal": 24,
    }
    for slices in lines.values():
        for (corners,) in slices.values():
            assert len(corners) == 2 * 5
            assert corners[:2] == corners[-2:]
    assert (out / "other/report.html").stat().st_mtime_ns == other
    assert hirescam(capsys, "report", out, "--masks", tmp_path / "masks").code == 2
    save_mask(tmp_path / f"masks/scan/{name}.nii.gz", world / "in/scan.nii.gz", shift_mm=2000.0)
    result = hirescam(capsys, "report", out, "--scan", world / "in", "--masks", tmp_path / "masks")
    assert result.code == 8
    assert "outside of the scan" in result.err
    assert outlines_of_page(out / "scan/report.html") == []
