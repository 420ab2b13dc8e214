"""`hirescam train` as a person uses it: dry runs, refusals, trackers."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from hirescam_cli.cli.app import app
from hirescam_cli.errors import HirescamError, NoInputError, UnavailableError, UsageError
from hirescam_cli.train.events import Event
from hirescam_cli.train.run import train
from tests.train.world import LABELS, World


def run(world: World, out: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, world.command(out, *more), env={"COLUMNS": "220"})
    if isinstance(done.exception, HirescamError):
        return done.exception.exit_code, done.exception.message
    return done.exit_code, done.output


def test_a_dry_run_counts_and_writes_nothing(world: World, tmp_path: Path) -> None:
    code, text = run(world, tmp_path / "run", "--dry-run", "--json")
    assert code == 0
    found = json.loads(text)
    assert found["scans"] == {"train": 5, "valid": 3, "test": 0}
    truth = [row["mass"] for row in world.rows() if row["split"] == "train"]
    assert found["labels"]["mass"]["train"] == {
        "positive": truth.count("1"), "negative": truth.count("0"), "unknown": 0,
    }  # fmt: skip
    assert not (tmp_path / "run").exists()
    code, text = run(world, tmp_path / "run", "--dry-run")
    assert code == 0
    assert "train +" in text
    assert "cardiomegaly" in text


def test_a_dry_run_names_scans_that_are_not_there(world: World, tmp_path: Path) -> None:
    rows = world.rows()
    rows[1]["path"] = "scans/gone.nii.gz"
    rows[2]["path"] = "table.csv"
    other = World(world.folder, table=world.write_rows(rows, "gone.csv"))
    code, text = run(other, tmp_path / "run", "--dry-run", "--json")
    assert code == 8
    problems = json.loads(text)["unusable"]
    assert [(p["id"], p["line"], p["code"]) for p in problems] == [
        (rows[1]["id"], 3, "no-such-path"), (rows[2]["id"], 4, "not-an-image"),
    ]  # fmt: skip


REFUSED = {
    "no model": (("--model", ""), 2, "no network to train"),
    "masks without loss": (("--masks", "m"), 2, "--mask-loss is none"),
    "loss without masks": (("--mask-loss", "papers"), 2, "needs masks"),
    "rate": (("--lr", "0"), 2, "--lr is 0.0, expected a positive number"),
    "sensitivity": (("--thresholds", "sensitivity:2"), 2, "--thresholds 'sensitivity:2' is unknown"),
    "fp16": (("--precision", "fp16"), 2, "fp16 cannot be trained in"),
    "gpu": (("--device", "cuda:9"), 69, "The device cuda:9 is not there"),
    "init": (("--init", "none.pth"), 69, "none.pth cannot be read"),
    "tracker": (("--log", "mlflow"), 69, "needs the package mlflow"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(world: World, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    more, code, words = REFUSED[name]
    found, text = run(world, tmp_path / "run", *more)
    assert (found, words in text) == (code, True), text
    assert not (tmp_path / "run" / "last").exists()


def test_a_table_that_is_refused_leaves_nothing_behind(world: World, tmp_path: Path) -> None:
    rows = world.rows()
    rows[3]["mass"] = "maybe"
    other = World(world.folder, table=world.write_rows(rows, "maybe.csv"))
    code, text = run(other, tmp_path / "run")
    assert code == 2
    assert "maybe.csv, line 5, column 'mass': 'maybe', expected 0, 1 or nothing" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("split", "name"), [("train", "training"), ("valid", "validation")])
def test_a_split_whose_labels_nobody_knows_is_refused(
    world: World, tmp_path: Path, split: str, name: str
) -> None:
    rows = [row | dict.fromkeys(LABELS, "") if row["split"] == split else row for row in world.rows()]
    code, text = run(World(world.folder, table=world.write_rows(rows, "unknown.csv")), tmp_path / "run")
    assert (code, text) == (2, f"No label of any {name} scan is known.")
    assert not (tmp_path / "run" / "last").exists()


def test_a_copy_of_a_training_scan_among_the_validation_scans_is_refused(
    world: World, tmp_path: Path
) -> None:
    rows = world.rows()
    rows[-1]["path"] = str(shutil.copy(world.folder / rows[0]["path"], tmp_path / "copy.nii.gz"))
    other = World(world.folder, table=world.write_rows(rows, "copied.csv"))
    for more in ((), ("--dry-run",)):
        code, text = run(other, tmp_path / "run", *more)
        assert code == 2
        assert text.startswith(
            f"{rows[0]['id']} (train, line 2) and {rows[-1]['id']} (valid, line 9) are the same"
        )
    assert not (tmp_path / "run" / "last").exists()


def test_masks_that_fit_no_scan_are_refused_and_others_counted(world: World, tmp_path: Path) -> None:
    (tmp_path / "masks" / "somebody").mkdir(parents=True)
    with pytest.raises(NoInputError, match="No scan of the table has masks"):
        train(world.request(tmp_path / "run", masks=tmp_path / "masks", loss="papers"))
    events: list[Event] = []
    train(
        world.request(tmp_path / "run", masks=world.folder / "masks", loss="papers", epochs=1), events.append
    )
    told = next(event for event in events if event.name == "masks")
    rows = world.rows()
    positive = sum(
        row[label] == "1" for row in rows for label in ("mass", "pleural_effusion", "cardiomegaly")
    )
    assert told.facts["positive"] == told.facts["marked"] == positive


def test_regions_say_which_masks_allow_a_label(world: World, tmp_path: Path) -> None:
    path = tmp_path / "regions.toml"
    path.write_text('[labels]\nmass = ["mass", "nod*"]\n"*" = ["nothing"]\n')
    events: list[Event] = []
    request = world.request(
        tmp_path / "run", masks=world.folder / "masks", loss="papers", epochs=1, regions=str(path)
    )
    train(request, events.append)
    told = next(event for event in events if event.name == "masks")
    assert told.facts["marked"] == sum(row["mass"] == "1" for row in world.rows())
    for text, words in (
        ("[labels]\nmass = ['m']\n", "does not name 'pleural_effusion'"),
        ("[labels]\ncyst = ['m']\n", "names 'cyst'"),
        ("[labels]\nmass = 'm'\n", "expected a list"),
        ("x = 1\n", "needs one table"),
        ("[", "is not a TOML file"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            train(request)
        assert words in caught.value.message


class FakeMlflow(ModuleType):
    """Keeps what is told to it."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.told: list[tuple[str, object]] = []

    def is_tracking_uri_set(self) -> bool:
        return True

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *given, **named: self.told.append((name, (given, named)))


def test_mlflow_gets_options_and_figures(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    train(world.request(tmp_path / "run", log=("csv", "mlflow")))
    names = [name for name, _ in fake.told]
    assert names == ["set_experiment", "start_run", "log_params", "log_metrics", "log_metrics", "end_run"]
    (figures,), named = next(given for name, given in fake.told if name == "log_metrics")  # type: ignore[misc]
    assert named == {"step": 1}
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert figures["loss/train_total"] == float(rows[1].split(",")[1])


def test_tensorboard_gets_figures(world: World, tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(world.request(tmp_path / "run", log=("csv", "tensorboard")))
    events = loader.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    found = [(point.step, point.value) for point in events.Scalars("loss/train_total")]
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert found == [(n, pytest.approx(float(rows[n].split(",")[1]), rel=1e-6)) for n in (1, 2)]


def test_tensorboard_missing_is_said_before_anything_is_done(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UnavailableError, match="needs the package tensorboard"):
        train(world.request(tmp_path / "run", log=("csv", "tensorboard")))
    assert not (tmp_path / "run").exists()


def test_masks_are_found_by_words(world: World, tmp_path: Path) -> None:
    """Another way of writing the names, and a label with a sign of patterns in it, find the same masks."""
    folder = tmp_path / "masks"
    for path in (world.folder / "masks").glob("*/pleural_effusion.nii.gz"):
        (folder / path.parent.name).mkdir(parents=True)
        (folder / path.parent.name / "Pleural-Effusion.nii.gz").symlink_to(path)
    events: list[Event] = []
    train(world.request(tmp_path / "run", masks=folder, loss="papers", epochs=1), events.append)
    told = next(event for event in events if event.name == "masks")
    assert told.facts["marked"] == sum(row["pleural_effusion"] == "1" for row in world.rows())


def test_model_show_tells_on_what_it_was_trained(world: World, tmp_path: Path) -> None:
    train(world.request(tmp_path / "run", epochs=1))
    done = CliRunner().invoke(app, ["model", "show", str(tmp_path / "run" / "model.toml"), "--json"])
    assert json.loads(done.output)["training"]["scans"] == {"train": 5, "valid": 3}
    done = CliRunner().invoke(app, ["model", "show", str(tmp_path / "run" / "model.toml")])
    assert "Research; not for diagnosis" in done.output


def test_masks_of_scans_that_a_table_lacks_are_told_in_one_line(world: World, tmp_path: Path) -> None:
    rows = [row | {"id": f"other-{n}"} if n else row for n, row in enumerate(world.rows())]
    table = world.write_rows(rows, "others.csv")
    events: list[Event] = []
    request = world.request(
        tmp_path / "run", table=table, masks=world.folder / "masks", loss="papers", epochs=1
    )
    train(request, events.append)
    told = [event for event in events if event.name == "mask-unmatched"]
    marked = {path.name for path in (world.folder / "masks").iterdir()}
    assert [event.facts["count"] for event in told] == [len(marked - {rows[0]["id"]})]
    assert "of no scan of the table" in told[0].text
