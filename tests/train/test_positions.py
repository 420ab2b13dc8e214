"""A few positions of a scan in a step: which, what is known of them, and that they are the scan's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hirescam_cli.errors import UsageError
from hirescam_cli.train.plan import Plan, make_plan
from hirescam_cli.train.positions import Positions, truth_of
from hirescam_cli.train.ranks import Ranks
from hirescam_cli.train.run import train
from tests.train.world import World, model_text

POSITIONS = Positions(6, 3, 0)


def test_half_are_where_masks_lie_and_every_label_has_its_turn() -> None:
    touched = np.zeros((3, 20), dtype=bool)
    touched[0, 4] = True
    touched[2, 8:18] = True
    often = np.zeros(20)
    for epoch in range(200):
        drawn = POSITIONS.draw(epoch, 5, touched)
        assert len(drawn) == 6
        assert (np.diff(drawn) > 0).all()
        assert 4 in drawn
        assert touched[2, drawn].sum() >= 2
        often[drawn] += 1
    # The other half is any: positions without masks come as often as each other.
    rest = often[[0, 1, 2, 3, 5, 6, 7, 18, 19]]
    assert rest.min() > 0.4 * rest.mean() > 0


def test_few_positions_are_all_and_without_masks_they_are_any() -> None:
    assert POSITIONS.draw(0, 0, np.ones((1, 6), dtype=bool)).tolist() == [0, 1, 2, 3, 4, 5]
    nothing = np.zeros((2, 30), dtype=bool)
    seen = np.concatenate([POSITIONS.draw(epoch, 0, nothing) for epoch in range(100)])
    assert set(seen.tolist()) == set(range(30))


def test_the_draw_depends_on_seed_epoch_and_place_alone() -> None:
    nothing = np.zeros((2, 30), dtype=bool)
    first = POSITIONS.draw(3, 7, nothing).tolist()
    assert POSITIONS.draw(3, 7, nothing).tolist() == first
    others = [
        POSITIONS.draw(4, 7, nothing),
        POSITIONS.draw(3, 8, nothing),
        Positions(6, 3, 1).draw(3, 7, nothing),
    ]
    assert all(other.tolist() != first for other in others)


def test_a_label_whose_masks_were_not_drawn_is_unknown() -> None:
    touched = np.array([[False, True], [False, False], [False, False], [False, False]])
    assert truth_of((1.0, 1.0, 0.0, None), touched) == (1.0, None, 0.0, None)


def planned(world: World, run: Path, **changes: object) -> Plan:
    (world.folder / "four.toml").write_text(model_text(groups=4))
    four = replace(world, model="four.toml")
    request = four.request(run, masks=world.folder / "masks", loss="pointing", augment="papers", **changes)
    return make_plan(request, Ranks(), lambda _event: None)


def test_a_sample_holds_slabs_and_cells_of_the_whole_one(world: World, tmp_path: Path) -> None:
    few, whole = planned(world, tmp_path / "a", positions=2), planned(world, tmp_path / "b")
    drawn = set()
    for place, row in enumerate(whole.table.of("train")):
        for epoch in range(4):
            part, all_of_it = (
                few.samples.training(row, place, epoch),
                whole.samples.training(row, place, epoch),
            )
            assert part.allowed is not None
            assert all_of_it.allowed is not None
            assert part.voxels.shape == (6, *all_of_it.voxels.shape[1:])
            slabs = all_of_it.voxels.reshape(4, 3, *all_of_it.voxels.shape[1:])
            found = [
                [n for n in range(4) if np.array_equal(slabs[n], slab)]
                for slab in part.voxels.reshape(2, 3, *part.voxels.shape[1:])
            ]
            assert all(found)
            chosen = [n[0] for n in found]
            if all(len(n) == 1 for n in found):
                np.testing.assert_array_equal(part.allowed.cells, all_of_it.allowed.cells[:, chosen])
            drawn.add(tuple(chosen))
        assert few.samples.validation(row).voxels.shape == whole.samples.validation(row).voxels.shape
    assert len(drawn) > 3


def test_a_run_on_few_positions_ends(world: World, tmp_path: Path) -> None:
    (world.folder / "four.toml").write_text(model_text(groups=4))
    four = replace(world, model="four.toml")
    request = four.request(
        tmp_path / "run", masks=world.folder / "masks", loss="pointing", positions=2, epochs=1, lr=1e-4
    )
    summary = train(request)
    assert summary is not None
    assert (tmp_path / "run" / "model.toml").is_file()
    with pytest.raises(UsageError, match="positions"):
        train(replace(request, options=replace(request.options, positions=3)))


def test_positions_want_masks(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--positions needs masks"):
        make_plan(world.request(tmp_path / "run", positions=2), Ranks(), lambda _event: None)
