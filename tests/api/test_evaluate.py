"""`evaluate` from Python gives the figures of `hirescam evaluate`."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hirescam_cli import evaluate, explain
from hirescam_cli.errors import UsageError
from hirescam_cli.evaluate.options import EvaluateOptions
from hirescam_cli.evaluate.run import evaluate as run_evaluation
from tests.batch.world import make_model, make_scan


def test_the_figures_are_those_of_the_command(tmp_path: Path) -> None:
    model, scan = make_model(tmp_path / "model"), make_scan(tmp_path / "a.nii.gz", 3)
    results = explain(scan, tmp_path / "out", model=str(model), format="nifti", threshold=0, jobs=0)
    image = nibabel.load(scan)
    mask = np.zeros(image.shape, np.uint8)
    mask[3:8, 3:8, 2:5] = 1
    (tmp_path / "masks" / "a").mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), tmp_path / "masks" / "a" / "nodule.nii.gz")
    evaluated = evaluate(results, tmp_path / "masks", labels="nodule")
    assert (evaluated.folder, evaluated.already) == (tmp_path / "out" / "evaluation", False)
    shutil.rmtree(evaluated.folder)
    options = EvaluateOptions(masks=tmp_path / "masks", labels="nodule")
    said = run_evaluation(tmp_path / "out", options, None).record
    assert evaluated.record.results == said.results
    rows = evaluated.rows()
    assert [(row["label"], row["method"], row["n"]) for row in rows] == [
        (found.label, found.method, found.n) for found in said.results
    ]
    for row, found in zip(rows, said.results, strict=True):
        assert {name: row[name] for name in found.measures} == {
            name: figure.mean for name, figure in found.measures.items()
        }
    assert len(evaluated.to_pandas()) == len(rows) > 0
    assert "<td>nodule</td>" in evaluated._repr_html_()
    with pytest.raises(UsageError, match="no option 'label'"):
        evaluate(results, tmp_path / "masks", label="nodule")
