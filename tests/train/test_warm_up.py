"""The warm-up: positions of many scans, each held to its own masks, then whole scans."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from torch import nn

from hirescam_cli.errors import ScanError, UsageError
from hirescam_cli.masks.collection import CaseMasks, MaskCollection
from hirescam_cli.masks.sources import BinaryImage, MaskSource
from hirescam_cli.model.spec import load_spec
from hirescam_cli.train.allowed import AllowedCells, case_name, own_masks
from hirescam_cli.train.augmentation import Augmentation, Change
from hirescam_cli.train.checkpoint import load_checkpoint
from hirescam_cli.train.events import Event
from hirescam_cli.train.failures import Failures
from hirescam_cli.train.lesions import LesionCells, Lesions
from hirescam_cli.train.objective import Objective
from hirescam_cli.train.optimiser import new_optimiser, rate
from hirescam_cli.train.options import TrainOptions
from hirescam_cli.train.plan import Plan, make_plan
from hirescam_cli.train.positions import Positions
from hirescam_cli.train.ranks import Ranks
from hirescam_cli.train.records import Losses
from hirescam_cli.train.run import train
from hirescam_cli.train.samples import Position
from hirescam_cli.train.scans import smallest
from hirescam_cli.train.setting import Setting
from hirescam_cli.train.signals import StopRequest
from hirescam_cli.train.start import new_network
from hirescam_cli.train.steps import Drawn, Steps
from tests.masks.mask_world import nifti
from tests.train.test_resume import broken, digest
from tests.train.world import World, hirescam


def options(world: World, **more: object) -> dict[str, object]:
    """Of a run with a short warm-up."""
    return {
        "masks": world.folder / "masks", "loss": "lesions", "warm_up": 6, "warm_up_positions": 4, "epochs": 1,
        "optimizer": "adamw", **more,
    }  # fmt: skip


def silent(_event: Event) -> None:
    """Nothing to say."""


@pytest.fixture(scope="module")
def plan(world: World, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("plan")
    return make_plan(world.request(folder / "run", **options(world, cache=folder / "cache")), Ranks(), silent)


def lesion_cells(plan: Plan) -> LesionCells:
    assert plan.samples.lesions is not None
    return plan.samples.lesions


def scan_of(plan: Plan, place: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int]]:
    prepared = plan.samples.scans.load(plan.table.of("train")[place])
    i, j, k = prepared.array_ijk.shape
    return prepared.array_ijk, prepared.affine_ras, (i, j, k)


def test_lesions_of_whole_scans_are_the_cells_that_their_masks_touch(plan: Plan) -> None:
    """As the mask losses of the authors see them; the weight is the share of the position that holds most."""
    lesions, seen = lesion_cells(plan), 0
    for place, row in enumerate(plan.table.of("train")):
        _, affine, shape = scan_of(plan, place)
        found = lesions.of(row, Change(), affine, shape)
        expected = lesions.allowed.of(row, Change(), affine, shape)
        np.testing.assert_array_equal(found.cells, expected.cells)
        shares = lesions.allowed.shares(row, lesions.allowed.grid, affine)
        for label, truth in enumerate(row.truth):
            assert found.known[label].all()
            if truth == 1.0:
                volumes = shares[label].sum(axis=(1, 2))
                told = found.weight[label]
                np.testing.assert_allclose(told / told.max(), volumes / volumes.max(), atol=2e-3)
                # A position that begins elsewhere may hold more.
                assert 0.5 < told.max() <= 1.0
                seen += 1
            else:
                assert not found.weight[label].any()
    assert seen >= 3


def test_a_label_that_is_there_without_a_mask_or_unknown_is_not_known(plan: Plan) -> None:
    lesions = lesion_cells(plan)
    place = next(n for n, row in enumerate(plan.table.of("train")) if 1.0 in row.truth)
    row = plan.table.of("train")[place]
    _, affine, shape = scan_of(plan, place)
    label = row.truth.index(1.0)
    unknown = replace(row, truth=tuple(None if n == label else v for n, v in enumerate(row.truth)))
    no_masks = replace(lesions.allowed, patterns={})
    for one, cells in ((unknown, lesions.allowed), (row, no_masks)):
        found = LesionCells(cells, lesions.slab).of(one, Change(), affine, shape)
        assert not found.known[label].any()
        assert not found.cells[label].any()


def test_an_empty_mask_of_a_label_that_is_there_says_nothing(plan: Plan, tmp_path: Path) -> None:
    """As a missing file: the label may have evidence anywhere; beside a mask that is not empty it changes nothing."""
    lesions = lesion_cells(plan)
    place = next(n for n, row in enumerate(plan.table.of("train")) if 1.0 in row.truth)
    row = plan.table.of("train")[place]
    _, affine, shape = scan_of(plan, place)
    label = row.truth.index(1.0)
    name = lesions.allowed.labels[label]
    drawn = lesions.allowed.collection.of(case_name(row))
    assert drawn is not None
    empty = BinaryImage(nifti(tmp_path / "empty.nii.gz", np.zeros((4, 4, 4), np.uint8)), "empty")

    def cells(sources: dict[str, MaskSource]) -> AllowedCells:
        collection = MaskCollection({case_name(row): CaseMasks(sources)})
        return replace(
            lesions.allowed, collection=collection, patterns={name: (name, "empty")}, own=False, _kept={}
        )

    alone = cells({name: empty})
    assert not alone.of(row, Change(), affine, shape).marked[label]
    assert not alone.of(row, Change(), affine, shape).cells[label].any()
    assert not LesionCells(alone, lesions.slab).of(row, Change(), affine, shape).known[label].any()
    both = cells({name: drawn.sources[drawn.matching([name])[name]], "empty": empty})
    expected = lesions.allowed.of(row, Change(), affine, shape)
    found = both.of(row, Change(), affine, shape)
    assert found.marked[label]
    np.testing.assert_array_equal(found.cells[label], expected.cells[label])


def test_a_label_has_the_mask_of_exactly_its_name(plan: Plan, tmp_path: Path) -> None:
    """Labels that differ in signs, or have no ASCII letter, do not share a mask; patterns of regions see them too."""
    row = plan.table.of("train")[0]
    source = BinaryImage(nifti(tmp_path / "m.nii.gz", np.ones((2, 2, 2), np.uint8)), "m")
    cells = replace(lesion_cells(plan).allowed, _kept={}, _assigned={})

    def marked(
        labels: tuple[str, ...], *masks: str, regions: dict[str, tuple[str, ...]] | None = None
    ) -> list:
        collection = MaskCollection({case_name(row): CaseMasks(dict.fromkeys(masks, source))})
        patterns = own_masks(labels) if regions is None else regions
        one = replace(
            cells, collection=collection, labels=labels, patterns=patterns, own=regions is None, _assigned={}
        )
        assert [doubt.code for doubt in one.problems] == ["mask-ambiguous"] * ("nodule 1cm" in masks)
        return [one.marks(row, place) for place in range(len(labels))]

    assert marked(("結節", "腫瘤"), "結節") == [True, False]
    assert marked(("nodule <1cm", "nodule >1cm"), "nodule >1cm") == [False, True]
    assert marked(("nodule <1cm", "nodule >1cm"), "nodule 1cm") == [False, False]
    assert marked(("a", "b"), "結節", regions={"a": ("結*",), "b": ("腫瘤",)}) == [True, False]
    assert marked(("a", "b"), "nodule >1cm", regions={"a": ("Nodule <*",), "b": ("nodule_>1cm",)}) == [
        False,
        True,
    ]
    assert marked(("a", "b"), "結節", regions={"a": ("*",), "b": ("<>",)}) == [True, False]


@pytest.mark.parametrize("change", [Change(flip=2), Change(flip=0), Change(flip=1, turns=1), Change(turns=3)])
def test_changed_lesions_are_those_of_the_changed_scan(plan: Plan, change: Change) -> None:
    """Mirroring what was seen once gives what looking again through the changed grid gives."""
    lesions = lesion_cells(plan)
    again = LesionCells(replace(lesions.allowed, symmetric=False), lesions.slab)
    for place, row in enumerate(plan.table.of("train")):
        _, affine, shape = scan_of(plan, place)
        kept, looked = (each.of(row, change, affine, shape) for each in (lesions, again))
        np.testing.assert_array_equal(kept.cells, looked.cells)
        np.testing.assert_allclose(kept.weight, looked.weight, atol=2e-3)


@pytest.mark.parametrize("kind", ["none", "flip-lr", "papers"])
def test_positions_are_slices_of_the_changed_scan_with_its_lesions(plan: Plan, kind: str) -> None:
    samples = replace(plan.samples, augmentation=Augmentation(kind, plan.spec.preparation.axes, 3))
    rows, lesions = plan.table.of("train"), lesion_cells(plan)
    positions = Positions(samples, rows, 5)
    starts = set()
    for number in range(24):
        found = positions.draw(0, number)
        array, affine, shape = scan_of(plan, rows.index(found.row))
        matches = []
        flips = [None] if kind == "none" else [None, 2] if kind == "flip-lr" else [None, 0, 1, 2]
        for flip in flips:
            for turns in range(4) if kind == "papers" else (0,):
                change = Change(flip, turns)
                whole = change.of(array)
                shares = lesions.shares(found.row, change, affine, shape)
                for first in range(len(whole) - 2):
                    if np.array_equal(whole[first : first + 3], found.voxels):
                        expected = lesions.at(found.row, shares, first)
                        matches.append(np.array_equal(expected.cells, found.lesions.cells))
                        starts.add(first)
        assert any(matches), number
        if number % 2:
            assert (found.lesions.weight >= 0.1).any()
        assert found.lesions.cells.shape[1] == 1
    assert any(start % 3 for start in starts), "positions may begin at any slice"


def test_positions_follow_from_seed_and_step_alone(plan: Plan) -> None:
    rows = plan.table.of("train")
    first, second = (Positions(plan.samples, rows, 5).draw_all(7, range(4)) for _ in range(2))
    for (row, one), (other_row, other) in zip(first, second, strict=True):
        assert row == other_row
        assert not isinstance(one, Exception)
        assert not isinstance(other, Exception)
        np.testing.assert_array_equal(one.voxels, other.voxels)
    other_seed = [row.id for row, _ in Positions(plan.samples, rows, 6).draw_all(7, range(12))]
    assert other_seed != [row.id for row, _ in Positions(plan.samples, rows, 5).draw_all(7, range(12))]


def test_positions_are_the_same_with_and_without_a_cache(plan: Plan) -> None:
    rows = plan.table.of("train")
    bare = replace(plan.samples, scans=replace(plan.samples.scans, cache=None))
    for number in range(4):
        one, other = (Positions(samples, rows, 1).draw(2, number) for samples in (plan.samples, bare))
        np.testing.assert_array_equal(one.voxels, other.voxels)
        np.testing.assert_array_equal(one.lesions.cells, other.lesions.cells)
        assert one.voxels.dtype == np.float32


def test_evidence_of_a_position_is_worth_as_much_in_a_batch_as_in_its_scan(plan: Plan) -> None:
    """All positions of one scan as a batch have the mask loss of the scan."""
    learner, aim = plan.learner, Objective(plan.request.masks)
    learner.module.eval()
    row = plan.table.of("train")[0]
    sample = plan.samples.validation(row)
    assert sample.lesions is not None
    found = learner.look(sample.voxels)
    _, whole = aim.of(sample, found)
    slab, rows = 3, len(sample.voxels) // 3
    parts = [
        Position(
            row,
            sample.voxels[slab * n : slab * (n + 1)],
            Lesions(*(getattr(sample.lesions, name)[:, n : n + 1] for name in ("cells", "weight", "known"))),
        )
        for n in range(rows)
    ]
    _, apart = aim.of_positions(parts, found, rows)
    assert apart.scans == rows
    assert apart.mask / rows == pytest.approx(whole.mask, rel=1e-6)
    _, twice = aim.of_positions(parts, found, 2 * rows)
    assert twice.mask != pytest.approx(apart.mask, rel=1e-3)


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a signal come while a step of the warm-up is taken."""
    take = Steps.on_positions

    def stopping(self: Steps, drawn: Drawn, done: int) -> Losses:
        if done + 1 == step:
            self._stop.number = 15
        return take(self, drawn, done)

    monkeypatch.setattr(Steps, "on_positions", stopping)


def test_a_warm_up_comes_before_the_first_epoch_and_batch_norm_rests_after_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        assert train(world.request(run, **options(world)), events.append).status == "interrupted"
    warm = load_checkpoint(run)
    assert warm is not None
    assert (warm.progress.warmed, warm.progress.total_steps, warm.progress.step) == (6, 6, 0)
    assert [event.facts["step"] for event in events if event.name == "warm-up"] == [1, 2, 3, 4, 5, 6]
    assert "epoch" not in [event.name for event in events]
    assert train(world.request(run, **options(world))).status == "finished"
    done = load_checkpoint(run)
    assert done is not None
    assert (done.progress.warmed, done.progress.total_steps, done.progress.epoch) == (6, 6 + 5, 1)
    statistics = [name for name in warm.weights if "running" in name]
    fresh = new_network(load_spec(str(world.folder / "tiny.toml")), 0).module.state_dict()
    assert statistics
    for name, value in warm.weights.items():
        if name in statistics:
            assert torch.equal(value, done.weights[name])
            assert not torch.equal(value, fresh[name])
        elif name.endswith("weight"):
            assert not torch.equal(value, done.weights[name])


def test_batch_norm_keeps_its_statistics_in_training(plan: Plan) -> None:
    learner = plan.learner
    learner.module.train()
    learner.keep_statistics()
    norms = [part for part in learner.module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert learner.module.training
    before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    learner.run(plan.samples.validation(plan.table.of("train")[0]).voxels)
    after = [norm.running_mean for norm in norms if norm.running_mean is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_interrupted_in_the_warm_up_it_ends_in_the_same_bits(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(world.request(whole, **options(world)))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert train(world.request(run, **options(world))).status == "interrupted"
    found = load_checkpoint(run)
    assert found is not None
    assert (found.progress.warmed, found.progress.epoch) == (3, 0)
    assert train(world.request(run, **options(world))).status == "finished"
    assert digest(run) == digest(whole)


def test_a_scan_that_cannot_be_read_is_left_out_of_the_warm_up(world: World, tmp_path: Path) -> None:
    other = broken(world, tmp_path / "world", 1)
    with pytest.raises(ScanError) as caught:
        train(other.request(tmp_path / "first", **options(other)))
    assert caught.value.code == "max-failures"
    result = train(other.request(tmp_path / "second", **options(other, max_failures=3)))
    assert result.exit_code == 8
    assert result.document is not None
    assert len(result.document["failed"]) == 1  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_processes_share_a_warm_up(world: World, tmp_path: Path) -> None:
    """They agree among themselves, and twice give the same bits."""
    digests = set()
    for name in ("one", "two"):
        run = tmp_path / name
        command = world.command(
            run, "--masks", str(world.folder / "masks"), "--mask-loss", "lesions", "--warm-up", "4",
            "--warm-up-positions", "4", "--optimizer", "adamw",
        )  # fmt: skip
        process = hirescam(*command, processes=2)
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        digests.add(hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest())
    assert len(digests) == 1


REFUSED = {
    "no masks of lesions": ({"loss": "none", "masks": None}, "what each position shows"),
    "another mask loss": ({"loss": "papers"}, "what each position shows"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=list(REFUSED))
def test_a_warm_up_that_cannot_be_is_refused(
    world: World, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        train(world.request(tmp_path / "run", **{**options(world), **changes}))


def test_lesions_want_every_cell_that_they_touch(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="each cell that a lesion touches"):
        world.request(tmp_path / "run", **options(world, cells="half"))


def test_kept_scans_take_16_bits_where_that_holds_them_and_32_where_not(plan: Plan) -> None:
    assert plan.samples.scans.cache is not None
    plan.samples.scans.load(plan.table.of("train")[0])
    kept = next(plan.samples.scans.cache.iterdir())
    assert safetensors.numpy.load_file(kept)["array"].dtype == np.int16
    whole = np.array([[[-1000.0, 32767.0]]], dtype=np.float32)
    assert smallest(whole).dtype == np.int16
    np.testing.assert_array_equal(smallest(whole), whole)
    for other in (whole + 0.5, whole * 2, np.array([[[np.nan]]], dtype=np.float32)):
        assert smallest(other) is other


def test_warm_up_and_epochs_have_each_a_rate_and_its_whole_course() -> None:
    given = TrainOptions(warm_up=4, warm_up_lr=0.5, lr=0.1, schedule="cosine", epochs=2)
    found = [rate(given, done, 6) for done in range(11)]
    half = np.cos(np.pi / 4)
    expected = [0.5 * 0.5 * (1 + c) for c in (1.0, half, 0.0, -half)]
    expected += [0.1 * 0.5 * (1 + np.cos(np.pi * n / 6)) for n in range(7)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert rate(replace(given, warm_up_lr=None), 0, 6) == 0.1
    assert {rate(replace(given, schedule="constant"), done, 6) for done in range(9)} == {0.5, 0.1}


def test_a_gradient_is_clipped_to_its_norm(world: World, tmp_path: Path) -> None:
    """Plain descent by a rate of 1: a step is as long as the gradient that it takes."""
    alike = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 1e-2, "warm_up": 2}
    lengths = {}
    for clip in (0.0, 1e-3):
        run = tmp_path / f"clip-{clip}"
        plan = make_plan(world.request(run, **options(world, **alike, clip=clip)), Ranks(), silent)
        setting = Setting(
            run=run, options=plan.request.options, table=plan.table, samples=plan.samples, learner=plan.learner,
            objective=Objective(plan.request.masks), optimiser=new_optimiser(plan.learner.module, plan.request.options),
            ranks=Ranks(), workers=1, checkpoint_seconds=1e9, max_failures=1,
            positions=Positions(plan.samples, plan.table.of("train"), 0),
        )  # fmt: skip
        before = [p.detach().clone() for p in plan.learner.module.parameters()]
        steps = Steps(setting, Failures({}, 1, silent), StopRequest())
        assert setting.positions is not None
        steps.on_positions(setting.positions.draw_all(0, range(4)), 0)
        moved = [
            (p.detach() - b).norm() for p, b in zip(plan.learner.module.parameters(), before, strict=True)
        ]
        lengths[clip] = float(torch.stack(moved).norm())
    assert lengths[1e-3] == pytest.approx(1e-2 * 1e-3, rel=1e-2)
    assert lengths[0.0] > 10 * lengths[1e-3]
