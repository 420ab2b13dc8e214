"""`explain`, `read_scan`, `load_model` and `render` from Python: the same as the command line, and lazily imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import hirescam_cli
from hirescam_cli import api
from hirescam_cli.batch.options import RunOptions
from hirescam_cli.errors import ModelError, NoInputError, UsageError
from hirescam_cli.settings import Settings
from tests.batch.world import digest_tree, make_model, make_scan, make_scans
from tests.io.dicom_factory import chest, make_series

MODULES = """
import sys
import hirescam_cli
print(sorted({"torch", "numpy", "nibabel", "pydicom", "typer"} & set(sys.modules)))
names = ["evaluate", "explain", "load_model", "read_scan", "render"]
assert set(names) <= set(dir(hirescam_cli)) and set(names) <= set(hirescam_cli.__all__)
from hirescam_cli import evaluate, explain, load_model, read_scan, render
assert all(map(callable, (evaluate, explain, load_model, read_scan, render)))
print(sorted({"torch"} & set(sys.modules)))
import hirescam_cli.explain.engine as engine
import inspect
assert engine.Engine is hirescam_cli.explain.engine.Engine
assert hirescam_cli.explain is explain and callable(explain)
assert list(inspect.signature(explain).parameters)[:3] == ["inputs", "output", "settings"]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_importing_hirescam_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", MODULES], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n[]\n"), done.stderr


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: api.explain(5, "out"), "explain() got 5 as inputs, expected a path, a list of paths"),
        (lambda: api.explain(None, "out"), "explain() got None as inputs"),
        (lambda: api.explain(b"scan.nii", "out"), "explain() got b'scan.nii' as the input, expected a path"),
        (lambda: api.explain(["scan.nii", 5], "out"), "explain() got 5 as an input, expected a path"),
        (lambda: api.explain({3: "scan.nii"}, "out"), "A case is called 3, expected text"),
        (lambda: api.explain({"a": 5}, "out"), "explain() got 5 as the input a, expected a path"),
        (lambda: api.explain("scan.nii", 5), "explain() got 5 as the output, expected a path"),
        (lambda: api.explain("scan.nii", "out", settings=3), "explain() got 3 as Settings"),
        (lambda: api.explain("scan.nii", "out", num_parts="2", part_id=0), "--num-parts is '2', expected"),
        (lambda: api.read_scan(5), "read_scan() got 5 as the scan, expected a path"),
        (lambda: api.render(5, "scan.nii"), "render() got 5 as a case, expected a path"),
        (lambda: api.render("out/scan", 5), "render() got 5 as inputs"),
        (lambda: api.evaluate(5, "masks"), "evaluate() got 5 as the cases, expected a path"),
        (lambda: api.evaluate("out", 5), "evaluate() got 5 as masks, expected a path"),
    ],
)
def test_what_is_no_path_is_a_usage_error(
    call: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        call()
    assert told in caught.value.message
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_named_options_are_those_of_the_command_line(tmp_path: Path, model: Path) -> None:
    inputs = make_scans(tmp_path / "in", 2)
    named = hirescam_cli.explain(
        inputs, tmp_path / "a", model=str(model), method="gradcam,hirescam", labels="all", format=["nifti"],
        threshold=1, signed=True, target_layer=None, assume_affine=True, jobs=0,
    )  # fmt: skip
    settings = Settings(
        str(model), methods=("gradcam", "hirescam"), labels="all", formats=("nifti",), threshold=1.0, signed=True,
        read=api.explaining.ReadOptions(assume_affine=True),
    )  # fmt: skip
    said = hirescam_cli.explain(inputs, tmp_path / "b", settings=settings, options=RunOptions(jobs=0))
    assert named.done == said.done == len(named) == len(said) == 2
    assert digest_tree(tmp_path / "a") == digest_tree(tmp_path / "b")


WRONG = {
    "methods": ("gradcam", "no option 'methods'", "Did you mean method"),
    "colour": ("red", "no option 'colour'", "Known are allow_gaps, assume_affine"),
    "json": (True, "no option 'json'", "Known are"),
    "method": ("lime", "--method 'lime' is unknown", "Choose from"),
    "labels": (["nodule"], "--labels is ['nodule'], expected text in quotes", "Write labels"),
    "jobs": ("3", "--jobs is '3', expected a whole number", "Write jobs = 1"),
    "threshold": (2, "--threshold is 2", "Correct"),
    "signed": (1, "--signed is 1, expected true or false", "Write signed = false"),
}


@pytest.mark.parametrize("keyword", WRONG)
def test_what_is_wrong_is_refused_before_any_scan(keyword: str, tmp_path: Path, model: Path) -> None:
    value, message, hint = WRONG[keyword]
    scan = make_scan(tmp_path / "scan.nii.gz")
    with pytest.raises(UsageError) as caught:
        hirescam_cli.explain(scan, tmp_path / "out", **{"model": str(model), keyword: value})
    assert message in caught.value.message
    assert hint in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_an_option_is_said_in_one_place(tmp_path: Path) -> None:
    scan = make_scan(tmp_path / "scan.nii.gz")
    with pytest.raises(UsageError, match="got labels and Settings too"):
        hirescam_cli.explain(scan, tmp_path / "out", settings=Settings(), labels="all")
    with pytest.raises(UsageError, match="got jobs and RunOptions too"):
        hirescam_cli.explain(scan, tmp_path / "out", options=RunOptions(), jobs=0)


def test_a_loaded_model_is_the_one_that_explains(tmp_path: Path, model: Path) -> None:
    other = make_model(tmp_path / "other", seed=1).with_name("tiny.pt")
    loaded = hirescam_cli.load_model(model, other)
    assert (loaded.name, loaded.labels) == ("tiny", ("nodule", "mass"))
    assert not loaded.network.training
    scan = make_scan(tmp_path / "scan.nii.gz")
    result = hirescam_cli.explain(scan, tmp_path / "out", model=loaded, format="nifti", jobs=0)["scan"]
    assert result.case.model is not None
    assert result.case.model.weights_sha256 == loaded.loaded.weights_sha256
    own = hirescam_cli.load_model(model)
    assert own.loaded.weights_sha256 != loaded.loaded.weights_sha256
    with pytest.raises(ModelError):
        hirescam_cli.load_model("resnet")


def test_a_scan_is_read_as_explain_reads_it(tmp_path: Path) -> None:
    path = make_scan(tmp_path / "a.nii.gz", 3)
    scan = hirescam_cli.read_scan(path)
    image = nibabel.load(path)
    np.testing.assert_array_equal(scan.array_ijk, np.asarray(image.dataobj))
    np.testing.assert_array_equal(scan.affine_ras, image.affine)
    assert (scan.spacing_mm, scan.orientation) == ((30.0, 30.0, 8.0), "LPS")
    make_series(tmp_path / "ct", chest((24, 20, 12)), (8.0, 8.0, 8.0))
    assert hirescam_cli.read_scan(str(tmp_path / "ct")).volume.provenance.kind == "dicom"
    with pytest.raises(UsageError, match="holds 2 scans: a, ct"):
        hirescam_cli.read_scan(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInputError, match="holds no scan"):
        hirescam_cli.read_scan(tmp_path / "empty")
    with pytest.raises(UsageError, match="no option 'labels'"):
        hirescam_cli.read_scan(path, labels="all")


def test_render_adds_to_one_case_or_many(tmp_path: Path, model: Path) -> None:
    inputs = make_scans(tmp_path / "in", 2)
    results = hirescam_cli.explain(
        inputs, tmp_path / "out", model=str(model), labels="nodule", format="nifti", jobs=0
    )
    first = hirescam_cli.render(results[0], inputs, labels="mass", format="nifti")
    assert {path.name for path in first.files} == {
        "hirescam.cams.nii.gz", "hirescam.mass.nii.gz", "hirescam.nodule.nii.gz",
    }  # fmt: skip
    assert all(path.is_file() for path in first.files)
    scan = hirescam_cli.read_scan(inputs / "scan001.nii.gz")
    (second,) = hirescam_cli.render([tmp_path / "out" / "scan001"], scan, labels="mass", format=["nifti"])
    assert second.name == "scan001"
    assert second.overlay("mass").array_ijk.shape == scan.array_ijk.shape
    with pytest.raises(UsageError, match="--grid 'fine' is unknown"):
        hirescam_cli.render(results[0], inputs, grid="fine")
