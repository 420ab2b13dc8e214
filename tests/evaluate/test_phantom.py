"""The embedded phantom, from its scan to its evaluation, against the demonstration's own figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hirescam_cli.case.reload import load_case
from hirescam_cli.evaluate.cells import MaskOnCells
from hirescam_cli.evaluate.pairs import cell_grids
from hirescam_cli.masks.collection import find_masks
from hirescam_cli.model.load import load_model
from hirescam_cli.model.spec import load_spec
from hirescam_cli.phantom import FINDINGS
from hirescam_cli.phantom.samples import nifti_phantom
from hirescam_cli.resources import sample_path
from tests.cli.command import hirescam
from tests.evaluate.test_evaluate_command import rows
from tests.phantom.examiner import METHODS, NEAR_MM, Examiner


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded phantom, explained, with its masks under its name."""
    from hirescam_cli.api import explain
    from hirescam_cli.settings import Settings

    folder = tmp_path_factory.mktemp("phantom")
    explain(
        [sample_path("phantom.nii.gz")],
        folder / "out",
        settings=Settings(methods=METHODS, formats=("nifti",), labels="top:1", device="cpu"),
    )
    (folder / "masks").mkdir()
    (folder / "masks" / "phantom").symlink_to(sample_path("phantom.masks"))
    return folder


def test_peaks_are_where_the_demonstration_finds_them(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = hirescam(capsys, "evaluate", out / "out", "--masks", out / "masks")
    assert result.code == 0, result.err
    outcome = Examiner(load_model(load_spec("demo"))).outcome(nifti_phantom())
    table = rows(out / "out" / "evaluation" / "cases.csv")
    seen = set()
    for row in table:
        n = FINDINGS.index(row["label"])
        if row["outcome"] not in ("true_positive", "false_negative"):
            continue
        seen.add(row["label"])
        expected = outcome.distance_mm[row["method"]][n]
        assert float(row["distance_mm"]) == pytest.approx(expected, abs=0.01)
        assert row["near"] == str(int(expected <= NEAR_MM))
        assert float(row["logit"]) == pytest.approx(outcome.logits[n], abs=1e-3)
    assert seen == set(nifti_phantom().findings)


def test_a_cell_chosen_blindly_is_as_near_as_the_demonstration_says(out: Path) -> None:
    """Over all cells, those of padding included, as its table counts them; `evaluate` leaves padding out."""
    case = load_case(out / "out" / "phantom").case
    outcome = Examiner(load_model(load_spec("demo"))).outcome(nifti_phantom())
    (cells,) = cell_grids(case, False).values()
    masks = find_masks(out / "masks", ["phantom"], None).of("phantom")
    assert masks is not None
    for label in nifti_phantom().findings:
        mask = masks.load(label)
        found = MaskOnCells(mask.array_ijk, mask.affine_ras, cells)
        expected = outcome.blind[FINDINGS.index(label)]
        assert (found.distances_mm <= NEAR_MM).mean() == pytest.approx(expected, abs=1e-12)


def test_the_ledger_of_the_embedded_phantom_is_exact(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = hirescam(capsys, "evaluate", out / "out", "--masks", out / "masks", "--json")
    document = json.loads(result.out)
    parts = [s for s in document["ledger"] if (s["label"], s["method"]) == ("pleural_effusion", "hirescam")]
    residual = next(s for s in parts if s["region"] == "residual")["logits"]["mean"]
    case = load_case(out / "out" / "phantom").case
    logit = case.label("pleural_effusion").logit
    assert sum(s["logits"]["mean"] for s in parts) == pytest.approx(logit)
    assert abs(residual) <= 1e-4 * max(1.0, abs(logit))
