"""Which cases a run owns, and what is refused before any scan is read."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from hirescam_cli.batch import Part, RunOptions, plan
from hirescam_cli.batch.plan import summed_up
from hirescam_cli.errors import NoInputError, ScanError, UsageError
from hirescam_cli.io.scan import Discovery, Ignored, Scan


def scan(root: Path, case: str, name: str | None = None) -> Scan:
    path = root / (name or f"{case}.nii.gz")
    return Scan(kind="nifti", case=case, name=name or f"{case}.nii.gz", files=(path,), root=root)


def found(root: Path, *cases: str) -> Discovery:
    root.mkdir(exist_ok=True)
    return Discovery(tuple(scan(root, case) for case in cases))


def test_cases_are_sorted_and_described(tmp_path: Path) -> None:
    discovery = Discovery(
        found(tmp_path / "in", "b/2", "a", "b/10").scans,
        (Ignored("x.txt", "not-an-image", "It is not an image."),),
    )
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "out/a/summary.json").write_text("{}")
    document = plan(discovery, tmp_path / "out", environ={}).document()
    assert [(case["case"], case["exists"]) for case in document["cases"]] == [
        ("a", True), ("b/10", False), ("b/2", False),
    ]  # fmt: skip
    assert document["ignored"] == [{"name": "x.txt", "code": "not-an-image", "reason": "It is not an image."}]
    assert (document["total"], document["part"]) == (3, None)
    assert str(tmp_path) not in str(document)


def test_nothing_found_says_why(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match=r"No scan was found\."):
        plan(Discovery(), tmp_path, environ={})
    ignored = (Ignored("a.txt", "not-an-image", "It is not an image."), Ignored("b", "hidden", "y"))
    with pytest.raises(NoInputError, match=r"used: a\.txt: It is not an image\. \(and 1 more\)") as caught:
        plan(Discovery((), ignored), tmp_path, environ={})
    assert caught.value.exit_code == 66


def test_images_of_which_none_is_usable_are_bad_data(tmp_path: Path) -> None:
    ignored = (
        Ignored("a.txt", "not-an-image", "It is not an image."),
        Ignored("b", "few-slices", "b has 1 slice."),
    )
    with pytest.raises(ScanError, match=r"used: b has 1 slice\. \(and 1 more\)") as caught:
        plan(Discovery((), ignored), tmp_path, environ={})
    assert caught.value.exit_code == 65


def test_two_scans_for_one_case_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    discovery = Discovery((scan(root, "a", "a.nii"), scan(root, "b", "b.nii"), scan(root, "a", "a.nrrd")))
    with pytest.raises(UsageError, match=r"a\.nii and a\.nrrd would both be written as case a\.") as caught:
        plan(discovery, tmp_path / "out", environ={})
    assert (caught.value.code, caught.value.exit_code) == ("case-collision", 2)


def test_a_case_inside_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"x/y/z\.nii\.gz would be case x/y/z, inside the case x of x\.nii\.gz"
    ):
        plan(found(tmp_path / "in", "x", "x/y/z"), tmp_path / "out", environ={})
    assert len(plan(found(tmp_path / "in", "x", "xy/z", "x y"), tmp_path / "out", environ={}).scans) == 3


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("batch.json", "batch.json.scan"),
        ("predictions.csv/a", "predictions.csv.scan/a"),
        (".hirescam.lock", ".hirescam.lock.scan"),
        ("Index.HTML", "Index.HTML.scan"),
        ("evaluation", "evaluation.scan"),
        ("evaluation/a", "evaluation.scan/a"),
        ("contact-sheet-2.png", "contact-sheet-2.png.scan"),
        ("contact-sheet-of-2025.png", "contact-sheet-of-2025.png"),
        ("a/batch.json", "a/batch.json"),
        ("batch.json5", "batch.json5"),
    ],
)
def test_a_case_called_as_a_file_of_the_run_gets_another_name(
    tmp_path: Path, case: str, expected: str
) -> None:
    renamed, other = plan(found(tmp_path / "in", case, "zz"), tmp_path / "out", environ={}).scans
    assert (renamed.case, other.case) == (expected, "zz")
    codes = [warning.code for warning in renamed.warnings]
    assert codes == (["case-renamed"] if case != expected else [])
    assert renamed.name == f"{case}.nii.gz"


def test_the_new_name_of_a_case_may_not_be_that_of_another(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"both be written as case batch\.json\.scan"):
        plan(found(tmp_path / "in", "batch.json", "batch.json.scan"), tmp_path / "out", environ={})


@pytest.mark.parametrize("case", ["../a", "a/../../b", "/etc/a", ""])
def test_unsafe_case_names_are_refused(tmp_path: Path, case: str) -> None:
    root = tmp_path / "in"
    root.mkdir()
    with pytest.raises(UsageError) as caught:
        plan(Discovery((scan(root, case, "a.nii"),)), tmp_path / "out", environ={})
    assert caught.value.code == "case-name"


@pytest.mark.parametrize("out", ["in", "in/sub/..", "link"])
def test_an_output_that_is_the_input_is_refused(tmp_path: Path, out: str) -> None:
    discovery = found(tmp_path / "in", "a")
    (tmp_path / "in/sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(UsageError) as caught:
        plan(discovery, tmp_path / out, environ={})
    assert (caught.value.code, caught.value.exit_code) == ("output-is-input", 2)


@pytest.mark.parametrize("out", ["in/out", "in/deep/er", "link/out"])
def test_an_output_may_lie_in_the_input(tmp_path: Path, out: str) -> None:
    discovery = found(tmp_path / "in", "a")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert [scan.case for scan in plan(discovery, tmp_path / out, environ={}).scans] == ["a"]


@pytest.mark.parametrize("place", ["out", "out/sub", "link/sub"])
def test_an_input_inside_the_output_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "out/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "out")
    path = tmp_path / place / "a.nii"
    path.touch()
    given = Scan(kind="nifti", case="a", name="a.nii", files=(path,), root=path)
    with pytest.raises(UsageError) as caught:
        plan(Discovery((given,)), tmp_path / "out", environ={})
    assert (caught.value.code, caught.value.exit_code) == ("input-inside-output", 2)


def test_an_output_beside_the_input_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.touch()
    given = Scan(kind="nifti", case="a", name="a.nii", files=(path,), root=path)
    assert plan(Discovery((given,)), tmp_path / "out", environ={}).scans == (given,)
    assert len(plan(found(tmp_path / "in", "a"), tmp_path / "in-out", environ={}).scans) == 1


def cases_of(discovery: Discovery, out: Path, index: int, count: int) -> list[str]:
    part = plan(discovery, out, num_parts=count, part_id=index, environ={})
    return [each.case for each in part.scans]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_parts_divide_the_cases(tmp_path: Path, count: int) -> None:
    cases = [f"case{number:02d}" for number in range(13)]
    discovery = found(tmp_path / "in", *cases)
    parts = [cases_of(discovery, tmp_path / "out", index, count) for index in range(count)]
    assert sorted(case for part in parts for case in part) == cases
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_second_of_three_parts_by_hand(tmp_path: Path) -> None:
    discovery = found(tmp_path / "in", "e", "d", "c", "b", "a")
    assert cases_of(discovery, tmp_path / "out", 1, 3) == ["b", "e"]


@pytest.mark.parametrize(("num_parts", "part_id"), [(2, None), (None, 0), (2, 2), (2, -1), (0, 0)])
def test_parts_that_make_no_sense_are_refused(
    tmp_path: Path, num_parts: int | None, part_id: int | None
) -> None:
    with pytest.raises(UsageError) as caught:
        plan(found(tmp_path / "in", "a"), tmp_path / "out", num_parts=num_parts, part_id=part_id, environ={})
    assert caught.value.code == "parts"


def slurm(task: object, count: object, first: object, step: object = None) -> dict[str, str]:
    values = {"ID": task, "COUNT": count, "MIN": first, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{key}": str(value) for key, value in values.items() if value is not None}


@pytest.mark.parametrize(
    ("environ", "part"),
    [
        (slurm(0, 4, 0), Part(0, 4)), (slurm(4, 4, 1, 1), Part(3, 4)), (slurm(20, 3, 10, 5), Part(2, 3)),
        (slurm(7, 1, 7), None), ({}, None),
    ],
)  # fmt: skip
def test_parts_come_from_slurm(tmp_path: Path, environ: dict[str, str], part: Part | None) -> None:
    assert plan(found(tmp_path / "in", "a", "b"), tmp_path / "out", environ=environ).part == part


@pytest.mark.parametrize("environ", [slurm(7, 2, 3), slurm(6, 3, 1, 2), slurm(1, None, 0), slurm("x", 2, 0)])
def test_an_array_with_gaps_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        plan(found(tmp_path / "in", "a", "b"), tmp_path / "out", environ=environ)
    assert caught.value.code == "parts"


def test_options_win_over_slurm(tmp_path: Path) -> None:
    given = plan(
        found(tmp_path / "in", "a"), tmp_path / "out", num_parts=3, part_id=2, environ=slurm(0, 2, 0)
    )
    assert given.part == Part(2, 3)


@pytest.mark.parametrize(
    "options",
    [{"existing": "keep"}, {"jobs": -1}, {"timeout": 0.0}, {"timeout": float("nan")}, {"max_failures": 0}],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        RunOptions(**options)  # type: ignore[arg-type]
    assert caught.value.code == "option-value"


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("a/" + "d" * 255, None),
        ("a/" + "d" * 256, "a/" + "d" * 120 + "~" + sha256(b"d" * 256).hexdigest()[:16]),
        ("ä" * 200 + "/b", "ä" * 60 + "~" + sha256("ä".encode() * 200).hexdigest()[:16] + "/b"),
        ("a/" + "x/" * 600 + "b", "a/" + sha256(b"a/" + b"x/" * 600 + b"b").hexdigest()[:16] + "/b"),
    ],
)
def test_a_case_too_long_for_a_folder_gets_a_shorter_name(
    tmp_path: Path, case: str, expected: str | None
) -> None:
    (renamed,) = plan(found(tmp_path / "in", case), tmp_path / "out", environ={}).scans
    assert renamed.case == (expected or case)
    assert [warning.code for warning in renamed.warnings] == (["case-renamed"] if expected else [])
    (tmp_path / "out" / renamed.case).mkdir(parents=True)


def test_many_objects_of_one_folder_and_kind_are_told_as_one() -> None:
    many = [Ignored(f"cd/viewer/{n}.dll", "not-dicom", f"cd/viewer/{n}.dll is not DICOM.") for n in range(4)]
    few = [Ignored(f"{n}.txt", "not-an-image", f"{n}.txt is no image.") for n in range(3)]
    told = summed_up([*many[:2], *few, *many[2:]])
    assert [item.name for item in told] == ["4 objects in cd/viewer", "0.txt", "1.txt", "2.txt"]
    assert told[0].reason == "4 objects in cd/viewer, such as this: cd/viewer/0.dll is not DICOM."
