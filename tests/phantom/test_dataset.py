"""A folder of phantoms: the same every time, resumable, with masks only of what is there."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from hirescam_cli.cli.app import app
from hirescam_cli.errors import HirescamError, OutputCreateError, UsageError
from hirescam_cli.phantom import FINDINGS, make_phantom
from hirescam_cli.phantom.dataset import (
    ORIENTATIONS,
    PhantomSet,
    phantom_id,
    split_of,
    varied_phantom,
    write_dataset,
)

COARSE = (6.0, 6.0, 10.0)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_scans_masks_and_table_are_those_of_the_phantoms(tmp_path: Path) -> None:
    write_dataset(tmp_path, PhantomSet(4, 900_000, COARSE))
    rows = list(csv.DictReader((tmp_path / "labels.csv").open()))
    assert [row["id"] for row in rows] == [f"phantom-90000{n}" for n in range(4)]
    for seed, row in zip(range(900_000, 900_004), rows, strict=True):
        phantom = make_phantom(seed, spacing_mm=COARSE)
        image = nibabel.load(tmp_path / row["path"])
        assert np.array_equal(np.asarray(image.dataobj), phantom.volume.array_ijk)
        assert np.allclose(image.affine, phantom.volume.affine_ras, atol=1e-4)
        assert {label for label in FINDINGS if row[label] == "1"} == set(phantom.findings)
        assert (row["patient"], row["split"]) == (row["id"], split_of(seed))
        masks = {p.name[:-7]: nibabel.load(p) for p in (tmp_path / "masks" / row["id"]).glob("*.nii.gz")}
        assert set(masks) == {label for label, mask in phantom.masks.items() if mask.any()}
        for label, mask in masks.items():
            assert np.array_equal(np.asarray(mask.dataobj) > 0, phantom.masks[label])


def test_the_same_bytes_again_and_a_set_that_grows(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write_dataset(first, PhantomSet(3, 7, COARSE))
    write_dataset(second, PhantomSet(1, 7, COARSE))
    made = write_dataset(second, PhantomSet(3, 7, COARSE), jobs=2)
    assert (made.total, made.new) == (3, 2)
    assert content(first) == content(second)
    assert write_dataset(second, PhantomSet(1, 7, COARSE)).new == 0
    assert content(first) == content(second)


def test_an_interrupted_set_goes_on(tmp_path: Path) -> None:
    whole, torn = tmp_path / "a", tmp_path / "b"
    write_dataset(whole, PhantomSet(3, 7, COARSE))

    def stop(name: str) -> None:
        if name == phantom_id(8):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(torn, PhantomSet(3, 7, COARSE), on_done=stop)
    assert not (torn / "labels.csv").exists()
    assert write_dataset(torn, PhantomSet(3, 7, COARSE)).new == 1
    assert content(whole) == content(torn)


def test_varied_phantoms_are_those_of_the_demonstration(tmp_path: Path) -> None:
    write_dataset(tmp_path, PhantomSet(1, 900_007))
    image = nibabel.load(tmp_path / "scans" / "phantom-900007.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), varied_phantom(900_007).volume.array_ijk)


def test_splits_have_their_shares() -> None:
    drawn = [split_of(seed) for seed in range(4000)]
    for split, share in (("train", 0.7), ("valid", 0.15), ("test", 0.15)):
        assert abs(drawn.count(split) / 4000 - share) < 0.02


def test_another_set_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", PhantomSet(1, 7, COARSE))
    with pytest.raises(UsageError, match="seed differ"):
        write_dataset(tmp_path / "set", PhantomSet(1, 8, COARSE))
    (tmp_path / "own" / "scans").mkdir(parents=True)
    (tmp_path / "own" / "scans" / "mine.nii.gz").write_bytes(b"x")
    with pytest.raises(OutputCreateError):
        write_dataset(tmp_path / "own", PhantomSet(1, 7, COARSE))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-n", "1", "--spacing-mm", "6,6,10", "--seed", "3"], 0),
        (["-n", "0"], 2),
        (["--seed", "-1"], 2),
        (["--spacing-mm", "6,6"], 2),
        (["--spacing-mm", "nan,1,1"], 2),
        (["--seed", str(2**31)], 2),
    ],
)
def test_exit_codes(tmp_path: Path, arguments: list[str], code: int) -> None:
    result = CliRunner().invoke(app, ["phantom", str(tmp_path / "set"), *arguments])
    found = result.exception.exit_code if isinstance(result.exception, HirescamError) else result.exit_code
    assert found == code


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("")
    result = CliRunner().invoke(app, ["phantom", str(tmp_path / "set")])
    assert isinstance(result.exception, OutputCreateError)


def test_varied_phantoms_come_in_all_orientations_and_many_spacings() -> None:
    assert len(set(ORIENTATIONS)) == 48
    some = [varied_phantom(seed).volume for seed in range(6)]
    assert len({v.orientation for v in some}) >= 5
    spacings = {tuple(round(s, 3) for s in v.spacing_mm) for v in some}
    assert len(spacings) == 6
    assert all(0.7 < s <= 5.0 for spacing in spacings for s in spacing)
