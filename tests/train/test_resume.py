"""A kill at any moment costs minutes: what is resumed ends in the same bits as what was never interrupted."""

from __future__ import annotations

import hashlib
import json
import math
import random
import shutil
import signal
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hirescam_cli.errors import ModelError, OutputCreateError, OutputIOError, ScanError, UsageError
from hirescam_cli.train import checkpoint as checkpoints
from hirescam_cli.train.allowed import find_allowed
from hirescam_cli.train.cells import CellGrid
from hirescam_cli.train.checkpoint import load_checkpoint
from hirescam_cli.train.events import Event
from hirescam_cli.train.failures import NotFiniteError
from hirescam_cli.train.mask_content import masks_sha256
from hirescam_cli.train.options import MaskOptions
from hirescam_cli.train.records import Losses
from hirescam_cli.train.run import train
from hirescam_cli.train.table import Row
from hirescam_cli.train.validation import Answer, Validation
from tests.train.world import LABELS, World, hirescam

ALWAYS = ("--checkpoint-minutes", "0")


def digest(run: Path) -> str:
    """Of the weights at the end, best and last, and of the optimiser."""
    found = load_checkpoint(run)
    assert found is not None
    parts = [
        run / "weights.safetensors",
        *(found.folder / n for n in ("weights.safetensors", "optimiser.safetensors")),
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()


@pytest.fixture(scope="module")
def unbroken(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    process = hirescam(*world.command(run))
    assert process.wait(120) == 0
    return digest(run)


def steps_done(run: Path) -> int:
    """How many steps the newest checkpoint has behind it."""
    names = [path.name for path in (run / "last").glob("step-*")] if (run / "last").is_dir() else []
    return max((int(name.split("-")[1]) for name in names), default=0)


def kill_after(run: Path, steps: int, command: list[str], number: signal.Signals, processes: int = 1) -> int:
    """Start, wait for a step, send a signal; returns the exit status."""
    process = hirescam(*command, processes=processes)
    limit = time.monotonic() + 120
    while steps_done(run) < steps and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(60)


@pytest.mark.slow
def test_killed_at_random_steps_and_resumed_it_ends_in_the_same_bits(
    world: World, unbroken: str, tmp_path: Path
) -> None:
    run, rng = tmp_path / "run", random.Random(time.time_ns())
    kills = sorted(rng.sample(range(1, 10), 2))
    for steps in kills:
        kill_after(run, steps, world.command(run, *ALWAYS), signal.SIGKILL)
    assert 0 < steps_done(run) <= 10
    process = hirescam(*world.command(run, *ALWAYS))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert digest(run) == unbroken, f"killed after steps {kills}"
    assert not list((run / "last").glob(".*"))
    assert len(list((run / "last").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 143), (signal.SIGINT, 130)]
)
def test_signals_end_it_after_the_step_and_it_goes_on(
    world: World, unbroken: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = tmp_path / "run"
    assert kill_after(run, 2, world.command(run, *ALWAYS), number) == code
    assert json.loads((run / "summary.json").read_text())["status"] == "interrupted"
    assert 2 <= steps_done(run) < 10
    process = hirescam(*world.command(run))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Going on after epoch" in err
    assert digest(run) == unbroken


def test_a_damaged_checkpoint_gives_way_to_the_one_before(world: World, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(world.request(whole))
    train(world.request(run, epochs=1, checkpoint_minutes=0.0))
    newest = load_checkpoint(run)
    assert newest is not None
    path = newest.folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    older = load_checkpoint(run)
    assert older is not None
    assert older.folder != newest.folder
    train(world.request(run))
    assert digest(run) == digest(whole)
    for folder in (run / "last").iterdir():
        (folder / "state.json").write_text("{")
    with pytest.raises(ModelError, match="no generation of it is whole"):
        train(world.request(run))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"lr": 0.01}, "lr was 0.001, is 0.01"),
        ({"augment": "none"}, "augment was papers, is none"),
        ({"accumulate": 2}, "accumulate was 1, is 2"),
        ({"table": "other.csv"}, "data"),
        ({"model": "other.toml"}, "model"),
    ],
)
def test_another_run_is_not_resumed_into(
    world: World, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    rows = world.rows()
    rows[0]["mass"] = ""
    world.write_rows(rows, "other.csv")
    text = (world.folder / "tiny.toml").read_text()
    (world.folder / "other.toml").write_text(text.replace("[-1000, 400]", "[-1000, 200]"))
    run = tmp_path / "run"
    train(world.request(run, epochs=1))
    given = dict(changes)
    if "model" in given:
        given["model"] = str(world.folder / str(given["model"]))
    with pytest.raises(UsageError) as caught:
        train(world.request(run, **given))
    assert words in caught.value.message
    assert caught.value.exit_code == 2
    events: list[Event] = []
    result = train(world.request(run, continue_anyway=True, **given), events.append)
    assert result.status == "finished"
    assert [event.text for event in events if event.name == "continued-anyway"]


def mirrored(masks: Path, folder: Path, only: str = "*") -> Path:
    """A copy of the masks of this name, turned round along their first axis."""
    for path in masks.glob(f"*/{only}.nii.gz"):
        image = nibabel.load(path)
        place = folder / path.relative_to(masks)
        place.parent.mkdir(parents=True, exist_ok=True)
        nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine).to_filename(place)
    return folder


def test_other_masks_are_another_run_and_the_same_elsewhere_are_not(world: World, tmp_path: Path) -> None:
    run, masks = tmp_path / "run", tmp_path / "masks"
    shutil.copytree(world.folder / "masks", masks)
    train(world.request(run, epochs=1, masks=masks, loss="two-sided"))
    other = shutil.copytree(masks, tmp_path / "other")
    mirrored(masks, other, "mass")
    one_less = shutil.copytree(masks, tmp_path / "one less")
    next(one_less.glob("*/mass.nii.gz")).unlink()
    for folder in (other, one_less):
        with pytest.raises(UsageError, match="other data or options: masks") as caught:
            train(world.request(run, masks=folder, loss="two-sided"))
        assert (caught.value.exit_code, caught.value.code) == (2, "options-changed")
    masks.rename(tmp_path / "moved")
    (tmp_path / "moved" / "somebody").mkdir()
    shutil.copy(next(other.glob("*/mass.nii.gz")), tmp_path / "moved" / "somebody" / "mass.nii.gz")
    for path in (tmp_path / "moved").glob("*/mass.nii.gz"):
        shutil.copy(path, path.with_name("spleen.nii.gz"))
    assert train(world.request(run, masks=tmp_path / "moved", loss="two-sided")).status == "finished"


def test_other_names_of_a_label_maps_values_are_another_run(world: World, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    for path in (world.folder / "masks").glob("*/mass.nii.gz"):
        image = nibabel.load(path)
        values = np.asarray(image.dataobj).astype(np.uint8) * 2
        nibabel.Nifti1Image(values, image.affine).to_filename(
            tmp_path / "maps" / f"{path.parent.name}.nii.gz"
        )
    names, others = tmp_path / "names.csv", tmp_path / "others.csv"
    names.write_text("1,cardiomegaly\n2,mass\n")
    others.write_text("1,mass\n2,cardiomegaly\n")
    run, given = tmp_path / "run", {"masks": tmp_path / "maps", "loss": "papers"}
    train(world.request(run, epochs=1, mask_labels=names, **given))
    with pytest.raises(UsageError, match="other data or options: mask-labels"):
        train(world.request(run, mask_labels=others, **given))
    assert (
        train(world.request(run, mask_labels=names.rename(tmp_path / "n.csv"), **given)).status == "finished"
    )


def test_both_files_of_a_detached_mask_are_its_content(tmp_path: Path) -> None:
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = m.raw\n"
    )
    found = []
    for folder, last in (("a", b"\0\1"), ("b", b"\1\0"), ("c", b"\0\1")):
        place = tmp_path / folder / "x"
        place.mkdir(parents=True)
        (place / "mass.mhd").write_text(header)
        (place / "m.raw").write_bytes(bytes(6) + last)
        options = MaskOptions(masks=tmp_path / folder, loss="papers")
        row = Row("x", tmp_path / "x.nii.gz", "p", "train", (1.0,), 2)
        grid = CellGrid((1, 1, 1), np.eye(4))
        cells = find_allowed(options, [row], ("mass",), {"mass": ("mass",)}, grid, True)
        found.append((masks_sha256(cells, [row]), masks_sha256(cells, [replace(row, truth=(0.0,))])))
    assert found[0] == found[2]
    assert found[0][0] != found[1][0]
    assert found[0][1] == found[1][1], "no label asks for the mask"


@pytest.mark.slow
def test_more_processes_are_another_run(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(world.request(run, epochs=1))
    process = hirescam(*world.command(run), processes=2)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "processes was 1, is 2" in err


def test_what_is_there_is_an_error_or_overwritten_if_so_told(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(world.request(run, epochs=1))
    with pytest.raises(OutputCreateError, match="holds a training"):
        train(world.request(run, existing="error"))
    assert train(world.request(run, epochs=1, seed=4, existing="overwrite")).status == "finished"


@pytest.mark.parametrize("place", ["checkpoint", "weights"])
def test_a_full_disk_is_said_and_what_was_there_stays(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run = tmp_path / "run"
    train(world.request(run, epochs=1))
    before = {p.name: digest_of_tree(p) for p in sorted((run / "last").iterdir())}
    model = (run / "model.toml").read_bytes()

    def full(*_arguments: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if place == "checkpoint":
            patch.setattr(checkpoints, "sync_tree", full)
        else:
            patch.setattr("hirescam_cli.durable.os.fsync", full)
        with pytest.raises(OutputIOError) as caught:
            train(world.request(run))
    assert caught.value.exit_code == 74
    assert "No space left" in caught.value.message
    assert {p.name: digest_of_tree(p) for p in sorted((run / "last").iterdir())} == before
    assert (run / "model.toml").read_bytes() == model
    assert train(world.request(run)).status == "finished"
    whole = tmp_path / "whole"
    train(world.request(whole))
    assert digest(run) == digest(whole)


def digest_of_tree(folder: Path) -> str:
    return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(folder.iterdir()))).hexdigest()


def test_a_loss_that_is_not_finite_is_said_and_nothing_of_it_is_kept(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(NotFiniteError, match=r"not finite in epoch 1, step [2-5]") as caught:
        train(world.request(run, lr=1e30, checkpoint_minutes=0.0))
    assert caught.value.exit_code == 65
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"]["code"] == "loss-not-finite"
    assert not (run / "model.toml").exists()


def broken(world: World, folder: Path, count: int, split: str = "train") -> World:
    """The world with `count` scans that cannot be read, the first of a split and so on."""
    shutil.copytree(world.folder, folder)
    other = World(folder)
    for row in [r for r in other.rows() if r["split"] == split][:count]:
        path = folder / row["path"]
        path.write_bytes(path.read_bytes()[:2000])
    return other


def test_scans_that_cannot_be_read_are_left_out_up_to_a_number(world: World, tmp_path: Path) -> None:
    other = broken(world, tmp_path / "world", 2)
    with pytest.raises(ScanError) as caught:
        train(other.request(tmp_path / "first"))
    assert caught.value.code == "max-failures"
    assert caught.value.exit_code == 65
    assert "1 of the table's scans could not be used" in caught.value.message
    events: list[Event] = []
    result = train(other.request(tmp_path / "run", max_failures=3), events.append)
    assert (result.status, result.exit_code) == ("finished", 8)
    failed = [event for event in events if event.name == "scan-failed"]
    assert len(failed) == 2, "each is said once, not in each epoch"
    assert result.document is not None
    assert sorted(result.document["failed"]) == sorted(str(e.facts["id"]) for e in failed)  # type: ignore[call-overload]
    # What is told of the training is told of the scans that it used.
    story = tomllib.loads((tmp_path / "run" / "model.toml").read_text())["training"]
    rows = [
        row for row in other.rows() if row["split"] == "train" and row["id"] not in result.document["failed"]
    ]  # type: ignore[operator]
    for told in (story, result.document):
        assert told["scans"] == {"train": 3, "valid": 3}
        assert told["scans_left_out"] == {"train": 2, "valid": 0}
    assert story["patients"] == {"train": 3, "valid": 3}
    for label in LABELS:
        truth = [row[label] for row in rows]
        assert story["labels"][label]["training_positives"] == truth.count("1")
        assert story["labels"][label]["training_negatives"] == truth.count("0")
        counts = result.document["labels"][label]["train"]  # type: ignore[index]
        assert counts == {"positive": truth.count("1"), "negative": truth.count("0"), "unknown": 0}
    request = other.request(tmp_path)
    assert story["data_sha256"] == request.table(request.spec()).sha256
    # They weigh nothing: the same as a table without them would give in its steps.
    history = load_checkpoint(tmp_path / "run")
    assert history is not None
    assert history.progress.history[0].train.scans == 3


@pytest.mark.parametrize(("split", "name", "count"), [("train", "training", 5), ("valid", "validation", 3)])
def test_without_any_scan_to_train_or_validate_on_it_says_why(
    world: World, tmp_path: Path, split: str, name: str, count: int
) -> None:
    other, run = broken(world, tmp_path / "world", count, split), tmp_path / "run"
    with pytest.raises(ScanError) as caught:
        train(other.request(run, max_failures=9))
    told = f"No {name} scan with a known label could be used. {count} of {count} failed, the first because: "
    assert told in caught.value.message
    assert (caught.value.exit_code, caught.value.code) == (65, f"no-{name}-scans")
    assert not (run / "model.toml").exists()
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], len(summary["failed"])) == ("failed", count)
    for row in world.rows():
        shutil.copy(world.folder / row["path"], other.folder / row["path"])
    assert train(other.request(run)).status == "finished"


def test_validation_scans_of_unknown_labels_alone_cannot_judge_an_epoch(world: World, tmp_path: Path) -> None:
    """The one with labels cannot be read: the others have a loss of 0 whatever the network says."""
    other = broken(world, tmp_path / "world", 1, "valid")
    rows = other.rows()
    for row in [row for row in rows if row["split"] == "valid"][1:]:
        row |= dict.fromkeys(LABELS, "")
    with pytest.raises(
        ScanError, match=r"No validation scan with a known label could be used\. 1 of 3 failed"
    ):
        train(other.request(tmp_path / "run", table=other.write_rows(rows, "few.csv"), max_failures=9))


def test_a_validation_loss_that_is_not_finite_names_the_weights_that_are_kept(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, after = Validation.of, 1

    def sick(answers: list[Answer], rows: list[Row]) -> Validation:
        nonlocal after
        after -= 1
        found = real(answers, rows)
        return found if after >= 0 else replace(found, losses=Losses(scans=3, total=math.inf))

    monkeypatch.setattr(Validation, "of", staticmethod(sick))
    with pytest.raises(NotFiniteError) as caught:
        train(world.request(tmp_path / "run"))
    assert "of the validation scans is not finite in epoch 2" in caught.value.message
    assert "the weights of epoch 1 are those of RUN/model.toml" in str(caught.value.hint)
    after = 0
    with pytest.raises(NotFiniteError) as caught:
        train(world.request(tmp_path / "other"))
    assert "model.toml" not in str(caught.value.hint)
