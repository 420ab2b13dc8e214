"""Results in a notebook: maps are those of the files, rows those of the summary, and names in HTML are text."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hirescam_cli import explain, load_model, read_scan
from hirescam_cli.api import Results
from hirescam_cli.errors import ScanError, UnavailableError, UsageError
from tests.batch.world import make_model, make_scan

HOSTILE = "<b onload=x>"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A case whose name and label look like HTML, and one that fails."""
    folder = tmp_path_factory.mktemp("results")
    model = make_model(folder / "model")
    model.write_text(model.read_text().replace('["nodule", "mass"]', f'["nodule", "{HOSTILE}"]'))
    scan = make_scan(folder / "in" / f"{HOSTILE}.nii.gz", 3)
    broken = folder / "in" / "broken & cut.nii.gz"
    broken.write_bytes(scan.read_bytes()[:-20])
    return explain(
        folder / "in", folder / "out", model=str(model), labels="all", method=["hirescam", "gradcam"], jobs=0
    )


def test_cases_by_number_and_by_name(results: Results) -> None:
    assert (results.done, results.failed, len(results)) == (1, 1, 2)
    assert [result.name for result in results] == [HOSTILE, "broken & cut"]
    assert results[0] == results[HOSTILE]
    assert (results[0].ok, results[1].ok) == (True, False)
    assert repr(results) == "Results(1 done, 0 already there, 1 failed, 0 left)"
    assert repr(results[1]) == "Result('broken & cut', failed)"
    with pytest.raises(KeyError):
        results["elsewhere"]
    with pytest.raises(IndexError):
        results[2]


@pytest.mark.parametrize("method", ["hirescam", "gradcam"])
def test_a_map_is_that_of_the_file_where_the_summary_says(results: Results, method: str) -> None:
    result = results[0]
    image = nibabel.load(result.folder / f"{method}.cams.nii.gz")
    for label in result.labels:
        heatmap = result.map(label.name, method)
        np.testing.assert_array_equal(heatmap.array_ijk, np.asarray(image.dataobj)[..., label.index])
        np.testing.assert_allclose(heatmap.affine_ras, image.affine, rtol=1e-6)
        peak = label.maps[method].peak
        strongest = np.unravel_index(heatmap.array_ijk.argmax(), heatmap.array_ijk.shape)
        assert heatmap.array_ijk[strongest] == pytest.approx(peak.value)
        np.testing.assert_allclose((heatmap.affine_ras @ [*strongest, 1])[:3], peak.world_mm, atol=1e-6)
        assert heatmap.array_ijk.sum() == pytest.approx(label.maps[method].sum, abs=1e-5)
    field = result.map("nodule", method, "receptive-field")
    np.testing.assert_array_equal(field.array_ijk, result.map("nodule", method).array_ijk)
    assert not np.allclose(field.affine_ras, result.map("nodule", method).affine_ras)


def test_an_overlay_is_that_of_the_file(results: Results) -> None:
    result = results[0]
    overlay = result.overlay("nodule", "gradcam")
    image = nibabel.load(result.folder / "gradcam.nodule.nii.gz")
    np.testing.assert_array_equal(overlay.array_ijk, image.get_fdata(dtype=np.float32))
    np.testing.assert_array_equal(overlay.affine_ras, image.affine)
    assert (overlay.label, overlay.method) == ("nodule", "gradcam")


def test_what_a_case_does_not_have(results: Results) -> None:
    with pytest.raises(UsageError, match="no label 'tumour'"):
        results[0].map("tumour")
    with pytest.raises(UsageError, match="not explained with layercam"):
        results[0].map("nodule", "layercam")
    with pytest.raises(UsageError, match="no placement 'middle'"):
        results[0].map("nodule", placement="middle")
    with pytest.raises(ScanError, match="broken & cut failed: ") as caught:
        results[1].map("nodule")
    assert caught.value.hint
    assert (results[1].labels, results[1].files, results[1].rows()) == ((), [], [])


def test_rows_are_those_of_the_summary(results: Results) -> None:
    rows = results.rows()
    assert [(row["label"], row["method"]) for row in rows] == [
        ("nodule", "hirescam"), ("nodule", "gradcam"), (HOSTILE, "hirescam"), (HOSTILE, "gradcam"),
    ]  # fmt: skip
    label = results[0].labels[1]
    last = rows[-1]
    found = label.maps["gradcam"]
    assert (last["case"], last["logit"], last["positive"]) == (HOSTILE, label.logit, label.positive)
    assert (last["sum"], last["residual"], last["peak_z_mm"]) == (
        found.sum,
        found.residual,
        found.peak.world_mm[2],
    )
    table = results.to_pandas()
    assert table.to_dict("records") == rows
    assert results[0].to_pandas().shape == (4, 15)


def test_without_pandas_it_says_what_to_do(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UnavailableError, match="needs pandas") as caught:
        results.to_pandas()
    assert "pip install pandas" in str(caught.value.hint)


class Seen(HTMLParser):
    """The tags and the text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.words += "".join(value or "" for name, value in attrs if name == "alt")

    def handle_data(self, data: str) -> None:
        self.words += data + "\n"


def test_html_escapes_everything(results: Results) -> None:
    for html in (results._repr_html_(), results[0]._repr_html_()):
        seen = Seen(html)
        assert set(seen.tags) <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "img", "p"}
        assert HOSTILE not in html
        assert HOSTILE in seen.words
    assert "broken & cut failed (" in Seen(results[1]._repr_html_()).words
    whole = Seen(results[0]._repr_html_())
    assert whole.tags.count("img") == 2
    assert f"{results[0].labels[0].probability:.3g}" in whole.words
    assert re.search(r'src="data:image/png;base64,iVBOR', results[0]._repr_html_())


def test_scans_and_models_show_themselves(tmp_path: Path) -> None:
    scan = read_scan(make_scan(tmp_path / f"{HOSTILE}.nii.gz", 3))
    words = Seen(scan._repr_html_()).words
    assert HOSTILE in words
    assert "12 x 11 x 6" in words
    assert "30 x 30 x 8" in words
    assert repr(scan) == f"ScanImage('{HOSTILE}.nii.gz', 12x11x6, LPS)"
    model = load_model("demo")
    assert "cardiomegaly" in Seen(model._repr_html_()).words
    assert repr(model) == "Model('demo', 8 labels)"
