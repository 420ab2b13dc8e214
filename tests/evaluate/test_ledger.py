"""The ledger adds up to the logit; regions do not overlap, whatever their masks' grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.errors import UsageError
from hirescam_cli.evaluate.ledger import ledger
from hirescam_cli.evaluate.regions import Region, disjoint, load_regions, region_files, shares
from hirescam_cli.geometry import Grid
from hirescam_cli.masks.mask import Mask

CELLS = Grid((5, 5, 5), np.diag([10.0, 10.0, 10.0, 1.0]))


def mask(name: str, array: np.ndarray, affine: np.ndarray | None = None) -> Mask:
    return Mask(
        name, array, np.diag([5.0, 5.0, 5.0, 1.0]) if affine is None else affine, Path(name), "0" * 64
    )


def box(first: int, last: int) -> np.ndarray:
    array = np.zeros((8, 8, 8), dtype=bool)
    array[first:last, 2:6, 2:6] = True
    return array


def test_the_parts_add_up_and_are_where_they_should_be() -> None:
    h = np.zeros((2, 2, 2))
    h[0, 0, 0], h[0, 0, 1], h[1, 1, 1] = 3.0, -2.0, 1.0
    lung, heart = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    lung[0, 0, 0], heart[0, 0, 0], heart[0, 0, 1] = 0.5, 0.25, 1.0
    on_scan = np.ones((2, 2, 2))
    on_scan[1, 1, 1] = 0.4
    parts = ledger(h, -0.5, 1.5, {"lung": lung, "heart": heart}, on_scan)
    expected = {"bias": -0.5, "lung": 1.5, "heart": -1.25, "outside": 1.15, "padding": 0.6, "residual": 0.0}
    assert parts == pytest.approx(expected)
    assert list(parts) == list(expected)


@pytest.mark.parametrize("seed", range(5))
def test_the_sum_is_the_logit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(3, 4, 5)).astype(np.float32).astype(np.float64)
    raw = rng.dirichlet(np.ones(4), size=(3, 4, 5))
    regions = {f"r{n}": raw[..., n] for n in range(3)}
    bias = float(rng.normal())
    parts = ledger(h, bias, bias + float(h.sum()), regions, rng.random((3, 4, 5)))
    assert sum(parts.values()) == pytest.approx(bias + h.sum(), abs=1e-9)
    assert abs(parts["residual"]) < 1e-9
    # A map that does not account for the logit leaves a residual, and the parts add up all the same.
    short = ledger(0.5 * h, bias, bias + float(h.sum()), regions, np.ones((3, 4, 5)))
    assert short["residual"] == pytest.approx(0.5 * h.sum())


def test_an_earlier_region_owns_what_overlaps() -> None:
    regions = (Region("first", ("b_*",)), Region("second", ("a", "c")))
    masks = [mask("a", box(0, 6)), mask("b_x", box(4, 8)), mask("c", box(5, 7))]
    owned = disjoint(regions, masks)
    whole = {name: sum(int(array.sum()) for array, _ in parts) for name, parts in owned.items()}
    assert whole == {"first": 4 * 16, "second": 4 * 16}
    total = np.zeros((8, 8, 8), dtype=int)
    for parts in owned.values():
        for array, _ in parts:
            total += array
    assert total.max() == 1
    swapped = disjoint(regions[::-1], masks)
    assert sum(int(array.sum()) for array, _ in swapped["second"]) == 7 * 16


def test_masks_on_other_grids_do_not_overlap_either() -> None:
    fine = np.repeat(np.repeat(np.repeat(box(4, 8), 2, 0), 2, 1), 2, 2)
    affine = np.diag([2.5, 2.5, 2.5, 1.0])
    affine[:3, 3] = -1.25
    regions = (Region("first", ("fine",)), Region("second", ("coarse",)))
    owned = disjoint(regions, [mask("coarse", box(0, 6)), mask("fine", fine, affine)])
    first, second = (shares(owned[name], CELLS) for name in ("first", "second"))
    assert (first + second).max() <= 1 + 1e-9
    assert (first + second).sum() * 1000 == pytest.approx(8 * 16 * 125)
    assert second.sum() * 1000 == pytest.approx(4 * 16 * 125)


def test_the_regions_that_ship() -> None:
    assert "totalsegmentator" in region_files()
    regions = {region.name: region for region in load_regions("totalsegmentator")}
    assert regions["right_lung"].takes("lung_middle_lobe_right")
    assert not regions["left_lung"].takes("lung_middle_lobe_right")
    assert regions["bones"].takes("vertebrae_T7")
    assert regions["great_vessel"].takes("subclavian_artery_left")
    assert [name for name, region in regions.items() if region.takes("heart_atrium_left")] == ["heart"]
    assert [name for name, region in regions.items() if region.takes("liver")] == ["abdomen"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[region]]\nname = 'bias'\nmasks = ['a']", "'bias'"),
        ("[[region]]\nname = 'a'\nmasks = 'b'", "region.1.masks"),
        ("[[region]]\nname = 'a'\nmasks = ['b']\ndilate = 3", "dilate"),
        ("x = 1", "'x'"),
        ("[[region", "not TOML"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"own\.toml") as caught:
        load_regions(str(path))
    assert what in caught.value.message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load_regions("nowhere")
    assert "totalsegmentator" in (caught.value.hint or "")
