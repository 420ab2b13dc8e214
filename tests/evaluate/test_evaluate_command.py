"""`hirescam evaluate` as a user runs it: what it writes, when it is done, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from hirescam_cli.case.listing import read_case
from hirescam_cli.case.record import Case
from hirescam_cli.evaluate.document import dump, load, schema
from hirescam_cli.evaluate.page_data import page_rows
from hirescam_cli.evaluate.run import FILES
from hirescam_cli.page import LedgerRow
from tests.cli.command import hirescam
from tests.evaluate.world import known, make_world, sphere, write_case, write_mask

SCHEMA = Path(__file__).resolve().parents[2] / "hirescam_cli" / "evaluate" / "evaluation.schema.json"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def evaluated(
    capsys: pytest.CaptureFixture[str], world: tuple[Path, Path], to: Path, *more: object, code: int = 0
) -> dict:
    out, masks = world
    result = hirescam(
        capsys, "evaluate", out, "--masks", masks, "-o", to, "--json", "--bootstrap", 200, *more
    )
    assert result.code == code, result.err
    return json.loads(result.out)


def figure(document: dict, label: str, method: str, measure: str, placement: str = "stretch") -> dict:
    (found,) = [
        r
        for r in document["results"]
        if (r["label"], r["method"], r["placement"], r["group"])
        == (label, method, placement, "true_positives")
    ]
    return found["measures"][measure]


def test_all_files_are_written_and_say_what_is_so(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = evaluated(capsys, world, tmp_path / "e", "--papers")
    assert {path.name for path in (tmp_path / "e").iterdir()} == set(FILES)
    assert json.loads(SCHEMA.read_text()) == schema()
    jsonschema.validate(document, schema())
    data = (tmp_path / "e" / "evaluation.json").read_bytes()
    assert json.loads(data) == document
    assert dump(load(data)) == data
    assert figure(document, "nodule", "hirescam", "hit")["mean"] == 1.0
    ours, other = (
        figure(document, "nodule", name, "evidence_in")["mean"] for name in ("hirescam", "gradcam")
    )
    assert ours > other > 0
    (difference,) = [
        d["difference"]
        for d in document["differences"]
        if (d["what"], d["over"], d["measure"], d["group"]) == ("methods", "label", "evidence_in", "present")
    ]
    assert difference["mean"] == pytest.approx(ours - other)
    assert difference["low"] > 0
    assert len(document["masks"]) == 6
    assert all(len(mask["sha256"]) == 64 for mask in document["masks"])
    (counts,) = [c for c in document["counts"] if c["label"] == "nodule"]
    assert (counts["true_positives"], counts["known"]) == (6, 6)
    assert [paper["n"] for paper in document["papers"]] == [6, 6]
    table = rows(tmp_path / "e" / "cases.csv")
    assert {(row["case"], row["label"], row["method"]) for row in table} == {
        (f"a/{n}", "nodule", method) for n in range(6) for method in ("hirescam", "gradcam")
    }
    assert {row["hit"] for row in table if row["method"] == "hirescam"} == {"1"}


def test_the_ledger_sums_to_the_logit(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.toml").write_text("[[region]]\nname = 'ball'\nmasks = ['nodule']\n")
    evaluated(capsys, world, tmp_path / "e", "--regions", tmp_path / "own.toml", "--placement", "both")
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for row in rows(tmp_path / "e" / "ledger.csv"):
        sums[row["case"], row["label"], row["method"], row["placement"]] += float(row["logits"])
        if row["method"] == "hirescam" and row["region"] == "residual":
            assert abs(float(row["logits"])) < 1e-4
        assert row["region"] in ("bias", "ball", "outside", "padding", "residual")
    assert len(sums) == 6 * 2 * 2
    lines = (tmp_path / "e" / "ledger.csv").read_text().splitlines()
    shown = [LedgerRow(*row) for row in page_rows(lines, "a/3", "stretch") if row.method == "hirescam"]
    assert [row.region for row in shown] == ["bias", "ball", "outside", "padding", "residual"]
    assert sum(row.logits for row in shown) == pytest.approx(sums["a/3", "nodule", "hirescam", "stretch"])
    for (case, label, _, _), total in sums.items():
        record = read_case(world[0] / case, case)
        assert isinstance(record, Case)
        assert total == pytest.approx(record.label(label).logit, abs=1e-9)


def test_done_is_done_and_what_changed_is_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, masks = make_world(tmp_path)
    again = ("evaluate", out, "--masks", masks, "--bootstrap", 200)
    assert "written" in hirescam(capsys, *again).out
    first = {name: (out / "evaluation" / name).read_bytes() for name in FILES}
    table = hirescam(capsys, *again).out
    assert "already done" in table
    assert "nodule" in table
    assert "written" in hirescam(capsys, *again, "--jobs", 2, "--existing", "overwrite").out
    assert {name: (out / "evaluation" / name).read_bytes() for name in FILES} == first
    assert "written" in hirescam(capsys, *again, "--seed", 3).out
    write_mask(masks / "a/0/mass.nii.gz", sphere(known().lesion_mm, 20.0))
    assert "written" in hirescam(capsys, *again, "--seed", 3).out
    (out / "evaluation" / "cases.csv").unlink()
    assert "written" in hirescam(capsys, *again, "--seed", 3).out
    assert hirescam(capsys, *again, "--existing", "error").code == 73


def test_masks_that_cannot_be_used_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, masks = make_world(tmp_path)
    ball = sphere(known().lesion_mm)
    affine = known().view.volume.affine_ras
    sheared = affine.copy()
    sheared[0, 1] += 1.0
    elsewhere = affine.copy()
    elsewhere[2, 3] += 4000.0
    write_mask(masks / "a/0/nodule.nii.gz", ball, sheared)
    write_mask(masks / "a/1/nodule.nii.gz", ball, elsewhere)
    (masks / "a/2/nodule.nii.gz").write_bytes(b"nothing")
    result = hirescam(capsys, "evaluate", out, "--masks", masks, "-o", tmp_path / "e", "--json")
    assert result.code == 8
    for name in ("a/0/nodule", "a/1/nodule", "a/2/nodule"):
        assert name in result.err
    document = json.loads(result.out)
    assert len(document["problems"]) == 3
    assert "mask-elsewhere" in {problem["code"] for problem in document["problems"]}
    (counts,) = [c for c in document["counts"] if c["label"] == "nodule"]
    assert (counts["known"], counts["true_positives"], counts["false_positives"]) == (3, 3, 0)
    assert hirescam(capsys, "evaluate", out, "--masks", masks, "-o", tmp_path / "e").code == 8


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--method", "layercam"), 2),
        (("--labels", "cyst"), 2),
        (("--labels", "top:3"), 2),
        (("--placement", "stretch"), 2),
        (("--bootstrap", "5"), 2),
        (("--regions", "nowhere"), 2),
        (("--truth", "nowhere.csv"), 66),
        (("--compare", "nowhere"), 66),
    ],
)
def test_what_is_refused(
    world: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    more: tuple[str, ...],
    code: int,
) -> None:
    out, masks = world
    result = hirescam(capsys, "evaluate", out, "--masks", masks, "-o", tmp_path / "e", *more)
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "e").exists()


def test_masks_of_no_case_and_ambiguous_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, masks = make_world(tmp_path, 2)
    other = tmp_path / "other"
    write_mask(other / "x" / "nodule.nii.gz", sphere(known().lesion_mm))
    assert hirescam(capsys, "evaluate", out, "--masks", other).code == 66
    assert hirescam(capsys, "evaluate", masks, "--masks", masks).code == 66
    assert hirescam(capsys, "evaluate", out).code == 2
    write_mask(other / "b/0/nodule.nii.gz", sphere(known().lesion_mm))
    write_mask(other / "c/0/nodule.nii.gz", sphere(known().lesion_mm))
    result = hirescam(capsys, "evaluate", out, "--masks", other)
    assert result.code == 66
    assert "b/0" in result.err


def test_what_no_mask_can_say_is_counted_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, masks = make_world(tmp_path, 3)
    for n, positive in enumerate([("nodule",), (), ("mass",), ("mass",)]):
        write_case(out, f"more/m{n}", positive=positive)
    view = known().view
    far = np.zeros(view.volume.array_ijk.shape, dtype=bool)
    write_mask(masks / "more/m0/nodule.nii.gz", far)
    write_mask(masks / "more/m1/nodule.nii.gz", sphere(known().lesion_mm))
    (tmp_path / "truth.csv").write_text(
        "id,patient,nodule,mass\na/0,p,1,0\na/1,p,1,0\nmore/m2,q,0,1\nmore/m3,r,,0\n", encoding="utf-8"
    )
    document = evaluated(capsys, (out, masks), tmp_path / "e", "--truth", tmp_path / "truth.csv")
    counts = {c["label"]: c for c in document["counts"]}
    nodule = {key: counts["nodule"][key] for key in ("true_positives", "false_negatives", "false_positives")}
    assert nodule == {"true_positives": 3, "false_negatives": 1, "false_positives": 1}
    assert (counts["nodule"]["empty"], counts["nodule"]["true_negatives"], counts["nodule"]["known"]) == (
        1,
        1,
        6,
    )
    assert (counts["mass"]["unmarked"], counts["mass"]["false_positives"]) == (1, 1)
    assert figure(document, "nodule", "hirescam", "hit")["n"] == 3
    assert figure(document, "nodule", "hirescam", "hit")["patients"] == 2
    assert figure(document, "nodule", "hirescam", "hit")["low"] is None
    present = [r for r in document["results"] if r["group"] == "present" and r["method"] == "hirescam"]
    assert {r["label"]: r["n"] for r in present} == {"nodule": 4}


def test_columns_that_are_no_label_are_told(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "truth.csv").write_text("id,Nodule,Mass [mm],cyst\na/0,1,0,1\n")
    out, masks = world
    more = ("--truth", tmp_path / "truth.csv")
    told = hirescam(capsys, "evaluate", out, "--masks", masks, "-o", tmp_path / "e", *more).out
    assert "Columns of --truth that are no label: Mass [mm], cyst." in told
    assert evaluated(capsys, world, tmp_path / "f", *more)["unused_columns"] == ["Mass [mm]", "cyst"]


def test_two_runs_are_compared_pair_by_pair(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(6):
        write_case(tmp_path / "other", f"a/{n}", shift=2, noise=n)
    document = evaluated(capsys, world, tmp_path / "e", "--compare", tmp_path / "other")
    (hit,) = [
        d
        for d in document["differences"]
        if (d["what"], d["label"], d["measure"], d["method"], d["group"])
        == ("runs", "nodule", "hit", "hirescam", "true_positives")
    ]
    assert hit["difference"]["mean"] == 1.0
    assert hit["difference"]["n"] == 6
    assert hit["p"] < 0.06
    same = evaluated(capsys, world, tmp_path / "f", "--compare", world[0])
    runs = [d for d in same["differences"] if d["what"] == "runs"]
    assert runs
    assert all(d["difference"]["mean"] == 0.0 and d["p"] == 1.0 for d in runs)
    told = hirescam(
        capsys, "evaluate", world[0], "--masks", world[1], "-o", tmp_path / "g", "--compare", tmp_path / "other",
        "--papers",
    ).out  # fmt: skip
    assert "HiResCAM, placement stretch: this run minus the other" in told
    assert "+1.000 [+1.000, +1.000]" in told
    assert "organ precision" in told


def test_both_placements_and_groups(
    world: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "who.csv").write_text("id,who\n" + "".join(f"a/{n},{n // 2}\n" for n in range(6)))
    document = evaluated(
        capsys, world, tmp_path / "e", "--placement", "both", "--group", f"{tmp_path / 'who.csv'}:who"
    )
    assert document["placements"] == ["stretch", "receptive-field"]
    assert document["cases"]["patients"] == 3
    stretch = figure(document, "nodule", "hirescam", "chance")["mean"]
    smaller = figure(document, "nodule", "hirescam", "chance", "receptive-field")["mean"]
    assert stretch != smaller
    assert {d["what"] for d in document["differences"]} == {"methods", "placements"}


def refused_world(folder: Path) -> tuple[Path, Path]:
    """Two cases; the network finds the mass in both, and the first has a mask of it."""
    out, masks = folder / "out", folder / "masks"
    for n in range(2):
        write_case(out, f"a/{n}", positive=("nodule", "mass"), noise=n)
        write_mask(masks / f"a/{n}/nodule.nii.gz", sphere(known().lesion_mm))
    write_mask(masks / "a/0/mass.nii.gz", sphere(known().lesion_mm))
    return out, masks


def masses(tmp_path: Path, capsys: pytest.CaptureFixture[str], masks: Path) -> tuple[dict, dict]:
    """What is counted of masses, and all of the evaluation, where it ends with 8."""
    document = evaluated(capsys, (tmp_path / "out", masks), tmp_path / "e", code=8)
    (counts,) = [c for c in document["counts"] if c["label"] == "mass"]
    assert {row["case"] for row in rows(tmp_path / "e" / "cases.csv") if row["label"] == "mass"} == {"a/0"}
    return counts, document


def test_two_masks_of_one_name_are_no_sign_that_nothing_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, masks = refused_world(tmp_path)
    for name in ("mass", "MASS"):
        write_mask(masks / f"a/1/{name}.nii.gz", sphere(known().lesion_mm))
    counts, document = masses(tmp_path, capsys, masks)
    assert (counts["known"], counts["true_positives"], counts["false_positives"]) == (1, 1, 0)
    assert [problem["code"] for problem in document["problems"]] == ["mask-twice"]


def test_a_file_that_does_not_say_what_it_holds_leaves_open_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, masks = refused_world(tmp_path)
    (masks / "a/1/other.seg.nrrd").write_bytes(b"nothing of the kind")
    counts, document = masses(tmp_path, capsys, masks)
    assert (counts["known"], counts["true_positives"], counts["false_positives"]) == (1, 1, 0)
    (nodule,) = [c for c in document["counts"] if c["label"] == "nodule"]
    assert (nodule["known"], nodule["true_positives"]) == (2, 2)
    # What a table of labels says is known all the same.
    (tmp_path / "truth.csv").write_text("id,mass\na/1,0\n")
    out = tmp_path / "out"
    told = evaluated(capsys, (out, masks), tmp_path / "f", "--truth", tmp_path / "truth.csv", code=8)
    (counts,) = [c for c in told["counts"] if c["label"] == "mass"]
    assert (counts["known"], counts["true_positives"], counts["false_positives"]) == (2, 1, 1)


def test_a_mask_that_could_be_of_two_labels_is_of_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, masks = tmp_path / "out", tmp_path / "masks"
    for n in range(2):
        write_case(out, f"a/{n}", noise=n)
        path = out / f"a/{n}/summary.json"
        text = path.read_text().replace('"name": "nodule"', '"name": "nodule <1cm"')
        text = text.replace('"name":"nodule"', '"name":"nodule <1cm"')
        path.write_text(
            text.replace('"name":"mass"', '"name":"nodule >1cm"').replace(
                '"name": "mass"', '"name": "nodule >1cm"'
            )
        )
        write_mask(masks / f"a/{n}/nodule {'' if n else '<'}1cm.nii.gz", sphere(known().lesion_mm))
    document = evaluated(capsys, (out, masks), tmp_path / "e", code=8)
    assert [(p["code"], p["path"]) for p in document["problems"]] == [
        ("mask-ambiguous", "a/1/nodule 1cm.nii.gz")
    ]
    found = {(row["case"], row["label"]) for row in rows(tmp_path / "e" / "cases.csv")}
    assert found == {("a/0", "nodule <1cm")}
    (counts,) = [c for c in document["counts"] if c["known"]]
    assert (counts["label"], counts["known"], counts["true_positives"]) == ("nodule <1cm", 1, 1)


def test_where_no_mask_can_be_used_it_is_said_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, masks = make_world(tmp_path, 1)
    (masks / "a/0/nodule.nii.gz").write_bytes(b"nothing")
    result = hirescam(capsys, "evaluate", out, "--masks", masks)
    assert result.code == 66
    assert "a/0/nodule: The mask 0/nodule.nii.gz cannot be used" in result.err
    (masks / "a/0/nodule.nii.gz").unlink()
    write_mask(masks / "a/0/heart.nii.gz", sphere(known().lesion_mm))
    result = hirescam(capsys, "evaluate", out, "--masks", masks)
    assert result.code == 66
    assert "No mask is called as one of the labels; there are heart." in result.err
