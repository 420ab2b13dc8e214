"""The table: hand-made files, RAD-ChestCT's and CT-RATE's as they are, and every refusal with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.train.layout import Layout
from hirescam_cli.train.read_table import read_table
from hirescam_cli.train.same_content import check_content
from hirescam_cli.train.table import Source, Table, truth_of

GOOD = """id,path,patient,split,nodule,mass
a,s/a.nii.gz,p1,train,1,0
b,s/b.nii.gz,p1,train,,1.0
c,s/c.nii.gz,p2,valid,0,
"""


def table(folder: Path, text: str, labels: tuple[str, ...] = ("nodule", "mass"), **layout: object) -> Table:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return read_table([Source(path)], labels, Layout(**layout))  # type: ignore[arg-type]


def test_a_plain_table(tmp_path: Path) -> None:
    found = table(tmp_path, GOOD)
    assert [row.id for row in found.of("train")] == ["a", "b"]
    assert found.rows[1].path == tmp_path / "s/b.nii.gz"
    assert found.rows[1].truth == (None, 1.0)
    np.testing.assert_array_equal(truth_of(found.rows), [[1, 0], [np.nan, 1], [0, np.nan]])
    assert found.counts()["nodule"] == {
        "train": {"positive": 1, "negative": 0, "unknown": 1},
        "valid": {"positive": 0, "negative": 1, "unknown": 0},
        "test": {"positive": 0, "negative": 0, "unknown": 0},
    }
    assert found.patients_known


def test_the_same_with_tabs(tmp_path: Path) -> None:
    for name in ("t.tsv", "T.TSV"):
        (tmp_path / name).write_text(GOOD.replace(",", "\t"))
        found = read_table([Source(tmp_path / name)], ("nodule", "mass"), Layout())
        assert found.rows == table(tmp_path, GOOD).rows


def test_labels_are_in_the_models_order_whatever_the_tables(tmp_path: Path) -> None:
    found = table(tmp_path, GOOD, ("mass", "nodule"))
    assert found.rows[0].truth == (0.0, 1.0)


def test_radchests_files_as_they_are(tmp_path: Path) -> None:
    """One file a split, a column for each label and place: a label is the text before the first star, no more."""
    header = "NoteAcc_DEID,nodule*left_lower,nodule*right_upper,nodulegr1cm*other,mass*a*b\n"
    (tmp_path / "imgtrain.csv").write_text(header + "trn00001,0,1,0,0\ntrn00002,0,0,1,1\n")
    (tmp_path / "imgvalid.csv").write_text(header + "val00001,0,0,0,0\n")
    (tmp_path / "meta.csv").write_text("NoteAcc_DEID,MRN_DEID,x\nval00001,9,\ntrn00001,7,\ntrn00002,8,\n")
    sources = [
        Source.parse(f"train={tmp_path / 'imgtrain.csv'}"),
        Source.parse(f"valid={tmp_path / 'imgvalid.csv'}"),
    ]
    layout = Layout(
        id_column="NoteAcc_DEID", patient_column="MRN_DEID", patients=tmp_path / "meta.csv", or_locations="*",
        path_template="{id}.npz", scans=Path("/scans"),
    )  # fmt: skip
    found = read_table(sources, ("nodule", "mass", "nodulegr1cm"), layout)
    assert [row.truth for row in found.rows] == [(1.0, 0.0, 0.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.0)]
    assert [(row.split, row.patient) for row in found.rows] == [
        ("train", "7"),
        ("train", "8"),
        ("valid", "9"),
    ]
    assert found.rows[2].path == Path("/scans/val00001.npz")


def test_ct_rates_files_as_they_are(tmp_path: Path) -> None:
    header = "VolumeName,Medical material,Lung nodule\n"
    (tmp_path / "train_predicted_labels.csv").write_text(
        header + "train_1_a_1.nii.gz,0,1\ntrain_1_a_2.nii.gz,0,1\ntrain_2_b_1.nii.gz,1,0\n"
    )
    (tmp_path / "valid_predicted_labels.csv").write_text(header + "valid_1_a_1.nii.gz,0,0\n")
    layout = Layout(
        id_column="VolumeName", id_pattern="(?P<patient>[a-z]+_[0-9]+)_(?P<study>[a-z]+)_.*",
        path_template="{split}_fixed/{patient}/{patient}_{study}/{id}", label_columns=("nodule=Lung nodule",),
    )  # fmt: skip
    sources = [Source.parse(f"{s}={tmp_path / s}_predicted_labels.csv") for s in ("train", "valid")]
    found = read_table(sources, ("Medical material", "nodule"), layout)
    assert [row.patient for row in found.rows] == ["train_1", "train_1", "train_2", "valid_1"]
    assert found.rows[2].path == tmp_path / "train_fixed/train_2/train_2_b/train_2_b_1.nii.gz"
    assert found.rows[2].truth == (1.0, 0.0)


@pytest.mark.parametrize(("one", "other", "expected"), [("1", "", 1.0), ("", "0", None), ("0", "0", 0.0)])
def test_or_over_places_where_one_is_unknown(
    tmp_path: Path, one: str, other: str, expected: float | None
) -> None:
    text = f"id,path,split,n*a,n*b\nx,x,train,{one},{other}\ny,y,valid,0,0\n"
    assert table(tmp_path, text, ("n",), or_locations="*").rows[0].truth == (expected,)


BAD = {
    "value": (GOOD.replace("train,1,0", "train,yes,0"), "line 2, column 'nodule': 'yes', expected 0, 1"),
    "uncertain": (GOOD.replace("valid,0,", "valid,-1,"), "line 4, column 'nodule': '-1'"),
    "split": (GOOD.replace("p2,valid", "p2,holdout"), "line 4, column 'split': 'holdout', expected train"),
    "no-path": (GOOD.replace("s/b.nii.gz", ""), "line 3, column 'path': ''"),
    "no-patient": (GOOD.replace("p2", ""), "line 4, column 'patient': ''"),
    "cells": (GOOD.replace("train,1,0", "train,1"), "line 2: 5 cells, expected 6"),
    "twice": (GOOD.replace("\nb,", "\na,"), "a stands in the table twice, in lines 2 and 3"),
    "patients": (GOOD.replace("p2", "p1"), "1 patients have scans in more than one split; one of them has a"),
    "no-valid": (GOOD.replace("valid", "test"), "No scan of the table belongs to valid"),
    "no-column": (GOOD.replace("mass", "Mass"), "no column for 1 of the model's 2 labels, the first is 'mass'"),
    "no-id": (GOOD.replace("id,", "name,"), "no column 'id'"),
    "same-column": (GOOD.replace("mass", "nodule"), "two columns called 'nodule'"),
    "open quote": (GOOD.replace("b,s/b", '"b,s/b'), "line 3: 1 cells up to line 4, expected 6"),
    "quoted": (GOOD.replace("s/a.nii.gz", '"s/a\n.nii"').replace("s/b.nii.gz", ""), "line 4, column 'path'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    text, expected = BAD[name]
    with pytest.raises(UsageError) as caught:
        table(tmp_path, text)
    assert expected in caught.value.message
    assert caught.value.exit_code == 2


def test_ids_that_do_not_match_and_patients_that_are_not_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 2, column 'id': 'a', expected an id that matches"):
        table(tmp_path, GOOD, id_pattern="[0-9]+")
    (tmp_path / "p.csv").write_text("id,patient\na,p1\nc,p2\n")
    with pytest.raises(
        UsageError, match=r"line 3, column 'id': 'b', expected a scan whose patient p.csv names"
    ):
        table(tmp_path, GOOD, patients=tmp_path / "p.csv")
    with pytest.raises(NoInputError, match=r"none\.csv cannot be read"):
        read_table([Source(tmp_path / "none.csv")], ("nodule",), Layout())
    with pytest.raises(UsageError, match=r"names {study}, known are id, split"):
        Layout(path_template="{study}/{id}")
    with pytest.raises(UsageError, match="is not a regular expression"):
        Layout(id_pattern="(")


def test_a_table_of_patients_may_repeat_but_not_contradict_itself(tmp_path: Path) -> None:
    """With the last row alone, a and c would be of two patients, and a patient's scans in two splits."""
    path = tmp_path / "p.csv"
    path.write_text("id,patient\na,p1\nb,p2\nc,p3\na,p1\n")
    assert [row.patient for row in table(tmp_path, GOOD, patients=path).rows] == ["p1", "p2", "p3"]
    path.write_text("id,patient\na,p1\nb,p2\nc,p1\nc,p3\n")
    with pytest.raises(UsageError) as caught:
        table(tmp_path, GOOD, patients=path)
    told = "p.csv, line 5, column 'patient': c is 'p3''s, expected 'p1', as in line 4."
    assert (caught.value.message, caught.value.code, caught.value.exit_code) == (told, "table-cell", 2)


def test_labels_of_label_columns_are_the_models(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names the label 'Mass', which the model does not have") as caught:
        table(tmp_path, GOOD, label_columns=("Mass=nodule",))
    assert (caught.value.hint, caught.value.exit_code) == ("Did you mean 'mass'?", 2)
    with pytest.raises(UsageError) as caught:
        table(tmp_path, GOOD, label_columns=("fracture=nodule",))
    assert caught.value.hint == "Its labels: nodule, mass."
    with pytest.raises(UsageError, match="gives 'mass' two columns"):
        table(tmp_path, GOOD, label_columns=("mass=nodule", "mass=mass"))
    swapped = table(tmp_path, GOOD, label_columns=("mass=nodule", "nodule=mass"))
    assert swapped.rows[0].truth == (0.0, 1.0)


def test_one_scan_under_two_names_is_not_in_two_splits(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.nii.gz").write_bytes(b"scan")
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "s" / "a.nii.gz")
    for path in ("s/a.nii.gz", "s/../s/./a.nii.gz", str(tmp_path / "s/a.nii.gz"), "link.nii.gz"):
        with pytest.raises(
            UsageError, match=r"a \(train, line 2\) and d \(valid, line 5\) are the same scan"
        ) as caught:
            table(tmp_path, GOOD + f"d,{path},p4,valid,0,0\n")
        assert (caught.value.code, caught.value.exit_code) == ("table-scans", 2)
    assert len(table(tmp_path, GOOD + "d,s/a.nii.gz,p4,train,0,0\n").rows) == 4


def test_a_quotation_mark_without_its_second_is_said_with_its_line(tmp_path: Path) -> None:
    rest = "".join(f"x{n},s/{n}.nii.gz,q{n},test,0,0\n" for n in range(6000))
    with pytest.raises(UsageError) as caught:
        table(tmp_path, GOOD.replace("b,s/b", '"b,s/b') + rest)
    assert caught.value.message.startswith(
        "t.csv, line 3: a row begins there that cannot be read: field larger"
    )
    assert (caught.value.code, caught.value.exit_code) == ("table-cell", 2)
    assert "close it" in str(caught.value.hint)
    with pytest.raises(UsageError, match=r"t\.csv, line 1: a row begins there"):
        table(tmp_path, '"' + GOOD + rest)
    with pytest.raises(UsageError, match=r"t\.csv, line 3: a NUL character, expected text"):
        table(tmp_path, GOOD.replace("s/b", "s/\0b"))


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{id", "is not a template"), ("{id}}", "is not a template"), ("{id:{split}}", "asks for {id:{split}}"),
        ("{id!q}", "asks for {id!q}"), ("{id!r}", "asks for {id!r}"), ("{id:=6}", "asks for {id:=6}"),
        ("{id:6.f}", "asks for {id:6.f}"), ("{id:99999999}", "asks for {id:99999999}"), ("{id:,}", "asks for"),
        ("{id.x}", "names {id.x}, known are id, split"), ("{id[0]}", "names {id[0]}"), ("{}", "names {}"),
    ],
)  # fmt: skip
def test_templates_that_cannot_be_are_refused_with_what_may_be_written(template: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Layout(path_template=template)
    assert told in caught.value.message
    assert "names" in told or "Write {id}, {split}; {id:06d} fills" in str(caught.value.hint)


def test_templates_fill_up(tmp_path: Path) -> None:
    text = "id,split,nodule,mass\ns-7,train,0,1\ns-12,valid,0,0\n"
    given = {
        "id_pattern": "s-(?P<n>[0-9]+)",
        "path_template": "{{x}}/{id:>6}/{n:04d}-{n:0>3}-{n:<3s}{split}.npz",
    }
    paths = [row.path.relative_to(tmp_path).as_posix() for row in table(tmp_path, text, **given).rows]
    assert paths == ["{x}/   s-7/0007-007-7  train.npz", "{x}/  s-12/0012-012-12 valid.npz"]
    told = r"line 2, column 'id': 's-7', expected a whole number, for \{id:05d\} of --path-template"
    with pytest.raises(UsageError, match=told):
        table(tmp_path, text, path_template="{id:05d}.npz")


def test_copies_of_one_scan_are_not_in_two_splits(tmp_path: Path) -> None:
    """Files are the same by all their bytes: a and b differ in one, c is shorter."""
    (tmp_path / "s").mkdir()
    scan = bytes(300_000) + b"scan"
    other = b"x" + scan[1:]
    for name, content in (("a", scan), ("b", other), ("c", scan[1:])):
        (tmp_path / "s" / f"{name}.nii.gz").write_bytes(content)
    check_content(table(tmp_path, GOOD).rows)
    for name, content in (("copy", scan), ("alike", other[::-1]), ("b2", other)):
        (tmp_path / name).write_bytes(content)
    row = "d,{},p4,{},0,0\n"
    check_content(table(tmp_path, GOOD + row.format("alike", "valid")).rows)
    check_content(table(tmp_path, GOOD + row.format("copy", "train")).rows)
    check_content(table(tmp_path, GOOD + row.format("gone", "valid") + "e,s,p5,test,0,0\n").rows)
    for name, which in (("copy", "a \\(train, line 2\\)"), ("b2", "b \\(train, line 3\\)")):
        told = rf"{which} and d \(test, line 5\) are the same scan: ..nii.gz and {name} hold the same bytes"
        with pytest.raises(UsageError, match=told) as caught:
            check_content(table(tmp_path, GOOD + row.format(name, "test")).rows)
        assert (caught.value.code, caught.value.exit_code) == ("table-scans", 2)


def test_the_hash_is_of_what_trains_not_of_where_it_lies(tmp_path: Path) -> None:
    first = table(tmp_path, GOOD).sha256
    assert table(tmp_path, GOOD.replace("s/", "t/")).sha256 == first
    assert table(tmp_path, GOOD + "d,d,p3,test,1,1\n").sha256 == first
    assert table(tmp_path, GOOD.replace(",,1.0", ",0,1.0")).sha256 != first
    assert table(tmp_path, GOOD.replace("p1", "p9")).sha256 != first


def test_without_patients_each_scan_is_somebodys_own(tmp_path: Path) -> None:
    text = "id,path,split,nodule,mass\nx,x,train,0,1\ny,y,valid,0,0\n"
    found = table(tmp_path, text)
    assert [row.patient for row in found.rows] == ["x", "y"]
    assert not found.patients_known
