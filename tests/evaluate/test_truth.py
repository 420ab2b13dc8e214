"""Tables of labels and of patients: matched by path or by the last part, refused where they cannot be understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.evaluate.truth import read_truth

CASES = ("a/one", "a/two", "three")
LABELS = ("nodule", "mass")


def table(folder: Path, text: str, name: str = "truth.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_found_by_path_and_by_the_last_part(tmp_path: Path) -> None:
    text = (
        "\ufeffid,patient,split,mass,nodule,other\na/one,p,valid,1,0,7\ntwo,p,,,1.0,\nelsewhere,q,test,1,1,\n"
    )
    found = read_truth(table(tmp_path, text), None, CASES, LABELS)
    assert found.present == {"a/one": {"nodule": False, "mass": True}, "a/two": {"nodule": True}}
    assert found.patient == {"a/one": "p", "a/two": "p", "three": "three"}
    assert found.split == {"a/one": "valid"}


def test_columns_are_called_as_masks_are(tmp_path: Path) -> None:
    labels = ("pleural_effusion", "nodule <1cm", "nodule >1cm", "結節", "腫瘤", "mass")
    text = "id,Pleural effusion,nodule >1cm,結節,Mass,age,patient,\nthree,1,1,0,0,70,p,\n"
    found = read_truth(table(tmp_path, text), None, CASES, labels)
    assert found.present == {
        "three": {"pleural_effusion": True, "nodule >1cm": True, "結節": False, "mass": False}
    }
    assert found.unused == ("age",)
    # Labels that are not asked are labels all the same.
    some = read_truth(table(tmp_path, text), None, CASES, labels[:1], labels)
    assert some.present == {"three": {"pleural_effusion": True}}
    assert some.unused == ("age",)
    other = "id,mass,Mass,age\nthree,1,0,7\n"
    exact = read_truth(table(tmp_path, other), f"{tmp_path / 'truth.csv'}:age", CASES, LABELS)
    assert exact.present == {"three": {"mass": True}}
    assert exact.unused == ("Mass",)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        ("id,mass,mass", "two columns 'mass'"),
        ("id,mass,id", "two columns 'id'"),
        ("id,nodule 1cm,mass", "'nodule 1cm' could be of nodule <1cm and nodule >1cm"),
        ("id,mass;,(mass)", "could be of mass"),
    ],
)
def test_columns_that_could_be_two_things(tmp_path: Path, head: str, what: str) -> None:
    for labels in (("nodule <1cm", "nodule >1cm", "mass"), ("mass",)):
        with pytest.raises(UsageError, match=what):
            read_truth(
                table(tmp_path, f"{head}\nthree,1,0\n"),
                None,
                CASES,
                labels,
                ("nodule <1cm", "nodule >1cm", "mass"),
            )


def test_without_tables_each_case_is_its_own_patient() -> None:
    found = read_truth(None, None, CASES, LABELS)
    assert found.patient == {case: case for case in CASES}
    assert not found.present


def test_another_table_says_whose_cases_are(tmp_path: Path) -> None:
    truth = table(tmp_path, "id,patient,mass\nthree,p,1\n")
    who = table(tmp_path, "case,who\na/one,x\na/two,x\n", "who.csv")
    found = read_truth(truth, f"{who}:who", CASES, LABELS)
    assert found.patient == {"a/one": "x", "a/two": "x", "three": "three"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name,mass\nthree,1\n", "no column id"),
        ("id,cyst\nthree,1\n", "no column named as one of the labels"),
        ("id,mass\nthree,yes\n", "'yes'"),
        ("id,mass\nthree,1\nthree,1\n", "two rows for three"),
        ("id,mass\nfour,1\n", "no row for any case"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read_truth(table(tmp_path, text), None, CASES, LABELS)


def test_ambiguous_rows_missing_files_and_columns(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a/one and b/one"):
        read_truth(table(tmp_path, "id,mass\none,1\n"), None, ("a/one", "b/one"), LABELS)
    with pytest.raises(NoInputError):
        read_truth(tmp_path / "none.csv", None, CASES, LABELS)
    with pytest.raises(UsageError, match="FILE:COLUMN"):
        read_truth(None, "who.csv", CASES, LABELS)
    who = table(tmp_path, "id,who\nthree,x\n", "who.csv")
    with pytest.raises(UsageError, match="no column whom"):
        read_truth(None, f"{who}:whom", CASES, LABELS)
