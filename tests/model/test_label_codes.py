"""Codes of labels in a model file: [labels.codes], for results as DICOM."""

from __future__ import annotations

from pathlib import Path

import pytest

from hirescam_cli.errors import ModelError
from hirescam_cli.model.labels import Code
from hirescam_cli.model.spec import load_spec

MODEL = """
name = "coded"
intended_use = "tests"
architecture = "axialnet"

[labels]
names = ["nodule", "pleural effusion"]

[labels.codes]
{codes}

[input]
axes = "IPL"
channels = "slab:3"

[[preparation]]
step = "pad_crop"
shape = [12, 420, 420]
value = -1000

[[preparation]]
step = "window"
hu = [-1000, 200]
"""

NODULE = 'nodule = { scheme = "SCT", value = "27925004", meaning = "Nodule" }'


def model(tmp_path: Path, codes: str) -> str:
    path = tmp_path / "coded.toml"
    path.write_text(MODEL.format(codes=codes), encoding="utf-8")
    return str(path)


def test_labels_have_the_codes_that_are_given(tmp_path: Path) -> None:
    codes = (
        NODULE
        + '\n"pleural effusion" = { scheme = "RADLEX", value = "RID34539", meaning = "pleural effusion" }'
    )
    assert load_spec(model(tmp_path, codes)).codes == {
        "nodule": Code("SCT", "27925004", "Nodule"),
        "pleural effusion": Code("RADLEX", "RID34539", "pleural effusion"),
    }
    assert load_spec(model(tmp_path, "")).codes == {}


def test_codes_are_part_of_what_decides_a_case(tmp_path: Path) -> None:
    coded = load_spec(model(tmp_path, NODULE)).described()
    assert coded != load_spec(model(tmp_path, "")).described()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (NODULE.replace("nodule", "mass", 1), r"unknown key 'mass' in \[labels.codes\]"),
        ('nodule = { scheme = "SCT", value = "27925004" }', "labels.codes.nodule.meaning is missing"),
        (NODULE.replace("27925004", ""), "labels.codes.nodule.value is '', expected 1 to 64 characters"),
        (NODULE.replace("SCT", "S" * 17), "labels.codes.nodule.scheme is .*, expected 1 to 16 characters"),
        (
            NODULE.replace('"Nodule"', '"No\\\\dule"'),
            "labels.codes.nodule.meaning is .* none of them a backslash",
        ),
        (NODULE.replace('"27925004"', "27925004"), "labels.codes.nodule.value is 27925004"),
        (NODULE.replace(" }", ', version = "1" }'), r"unknown key 'version' in \[labels.codes.nodule\]"),
        ('nodule = "27925004"', "labels.codes.nodule is '27925004', expected a table"),
    ],
)
def test_a_code_that_dicom_cannot_hold_is_refused(tmp_path: Path, codes: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_spec(model(tmp_path, codes))
