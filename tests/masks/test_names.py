"""The file of --mask-labels in every form that it may have, and how names are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from hirescam_cli.errors import UsageError
from hirescam_cli.masks.names import matching, read_names, slug

FORMS = {
    "csv": "1,nodule\n2,pleural effusion\n",
    "heading": "value,name\n1,nodule\n2,pleural effusion\n",
    "semicolons": "value;name\n1;nodule\n2;pleural effusion\n",
    "tabs": "1\tnodule\n2\tpleural effusion\n",
    "quoted": '1,"nodule"\n2,"pleural effusion"\n',
    "bom": "\ufeff1,nodule\n2,pleural effusion\n",
    "json": '{"1": "nodule", "2": "pleural effusion"}',
    "json-names-first": '{"nodule": 1, "pleural effusion": 2}',
    "nnunet": '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "nodule": 1, "pleural effusion": 2}}',
    "itk-snap": '# ITK-SNAP\n0 0 0 0 0 0 0 "Clear"\n1 255 0 0 1 1 1 "nodule"\n2 0 255 0 0.5 1 1 "pleural effusion"\n',
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_forms(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels"
    path.write_text(text, encoding="utf-8")
    assert read_names(path) == {1: "nodule", 2: "pleural effusion"}


def test_slicers_colour_table(tmp_path: Path) -> None:
    path = tmp_path / "names.ctbl"
    path.write_text(
        "# Color table\n0 Background 0 0 0 0\n1 nodule 255 0 0 255\n2 pleural_effusion 0 255 0 255\n"
    )
    assert read_names(path) == {1: "nodule", 2: "pleural_effusion"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "names no value"),
        ("0,background\n", "names no value"),
        ("1,nodule\nmass\n", "not a value and a name"),
        ("1,nodule\nx,mass\n", "does not begin with a whole number"),
        ("1,nodule\n1,mass\n", "the value 1 has two names"),
        ("{", "not valid JSON"),
        ('{"nodule": 1.5}', "does not stand for one value"),
        ('{"labels": [1]}', "not an object"),
    ],
)
def test_refusals(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=expected) as caught:
        read_names(path)
    assert "labels.csv" in caught.value.message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_names(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UsageError, match="cannot be read"):
        read_names(tmp_path / "binary")


def test_names_agree_by_their_words() -> None:
    assert slug("Lung  nodule (left)") == "lung_nodule_left"
    found = matching(["Lung nodule", "aorta"], ["lung_nodule", "AORTA", "mass"])
    assert found == {"lung_nodule": "Lung nodule", "AORTA": "aorta"}
