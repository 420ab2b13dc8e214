"""What mask losses do, in small: `python -m tests.train.mask_loss_experiment FOLDER` makes the README's table.

A narrow AxialNet starts from the trunk of the demonstration model, as the authors' started from a ResNet-18, with a
head at random, and is trained on phantoms for two epochs without a mask loss, with the authors' and with the two-sided
one, each with the authors' weight of 1/3 and with 10; three seeds each, else alike. (That trunk has learnt from other
phantoms and their masks.) On held-out phantoms: the share of the positive evidence in cells that the lesion touches,
over all labels that are there, and AUROC. Differences to "none" are paired by phantom and seed, intervals are
percentiles of 2,000 draws of phantoms. What is done already is not repeated.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from typer.main import get_command

from hirescam_cli.cli.app import app
from hirescam_cli.model.spec import load_spec
from hirescam_cli.train.metrics import auroc

LABELS = ("pleural_effusion", "pneumothorax", "cardiomegaly")
SEEDS = (1, 2, 3)
LOSSES = {
    "none": (),
    "papers": ("--mask-loss", "papers"),
    "two-sided": ("--mask-loss", "two-sided"),
    "papers-10": ("--mask-loss", "papers", "--mask-weight", "10"),
    "two-sided-10": ("--mask-loss", "two-sided", "--mask-weight", "10"),
}
SHAPE, SPACING_MM = (12, 232, 232), (21.0, 1.6, 1.6)
ALIKE = (
    "--model", "small.toml", "--optimizer", "adamw", "--schedule", "cosine", "--weight-decay", "1e-2", "--augment",
    "flip-lr", "--cache", "cache", "--device", "cpu", "--calibrate", "none", "--thresholds", "0.5", "--workers", "1",
)  # fmt: skip
TRUNK = "trunk.safetensors"
DRAWS = 2000
RESNET18 = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}

MODEL = f"""name = "small"
intended_use = "Comparing mask losses on phantoms. Not for diagnosis."
architecture = "axialnet"
[parameters]
trunk_width = 16
head_channels = [16]
[labels]
names = {json.dumps(LABELS)}
[input]
axes = "IPL"
channels = "slab:3"
[[preparation]]
step = "resample"
spacing_mm = {list(SPACING_MM)}
interpolation = "linear"
[[preparation]]
step = "window"
hu = [-1000, 1000]
to = [-1000, 1000]
levels = 2001
[[preparation]]
step = "pad_crop"
shape = {list(SHAPE)}
value = "minimum"
[[preparation]]
step = "window"
hu = [-1000, 400]
[[preparation]]
step = "normalise"
subtract = 0.449
"""


def commands() -> list[tuple[str, ...]]:
    """The command lines, in their order; each is run in the folder of the experiment."""
    found: list[tuple[str, ...]] = [
        ("phantom", "phantoms", "-n", "140", "--seed", "1000", "--spacing-mm", "3,3,6", "-q"),
        ("phantom", "held-out", "-n", "60", "--seed", "50000", "--spacing-mm", "3,3,6", "-q"),
    ]
    for seed in SEEDS:
        for loss, options in LOSSES.items():
            run = f"{loss}-{seed}"
            masks = ("--masks", "phantoms/masks", *options) if options else ()
            found += [
                ("train", "phantoms/labels.csv", "-o", f"runs/{run}", "--init", TRUNK,
                 "--epochs", "2", "--lr", "1e-3", "--seed", str(seed), *ALIKE, *masks),
                ("explain", "held-out/scans", "-o", f"maps/{run}", "--model", f"runs/{run}/model.toml", "--labels",
                 "all", "--format", "nifti", "--grid", "cam", "--device", "cpu", "--jobs", "0", "-q"),
                ("evaluate", f"maps/{run}", "--masks", "held-out/masks", "-o", f"figures/{run}"),
            ]  # fmt: skip
    return found


def write_trunk(path: Path) -> None:
    """The trunk of the demonstration model under the names of a ResNet-18, which `--init` takes."""
    spec = load_spec("demo")
    found = {}
    for name, value in safetensors.torch.load_file(spec.weights_files[0]).items():
        part, _, rest = name.partition(".")
        number, _, rest = rest.partition(".")
        if part == "features":
            found[f"{RESNET18[number]}.{rest}"] = value
    safetensors.torch.save_file(found, path)


def measured(run: str, rows: Sequence[dict[str, str]]) -> dict[tuple[str, str], tuple[float, float, float]]:
    """By case and label that is there: evidence in touched cells, in the mask, and chance; NaN without evidence."""
    with Path(f"figures/{run}/cases.csv").open(newline="") as file:
        told = [row for row in csv.DictReader(file) if row["method"] == "hirescam" and row["mask"] == "used"]
    names = {row["id"] for row in rows}
    assert {row["case"] for row in told} <= names

    def number(text: str) -> float:
        return float(text) if text else np.nan

    keys = ("evidence_touching", "evidence_in", "chance")
    return {(row["case"], row["label"]): tuple(number(row[key]) for key in keys) for row in told}  # type: ignore[misc]


def logits(run: str, cases: Sequence[str]) -> NDArray[np.float64]:
    """Logits [case, label] of the held-out scans."""
    with Path(f"maps/{run}/predictions.csv").open(newline="") as file:
        told = {(row["case"], row["label"]): float(row["logit"]) for row in csv.DictReader(file)}
    return np.array([[told[case, label] for label in LABELS] for case in cases])


def area(scores: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """The mean AUROC over labels."""
    found = [auroc(z, t) for z, t in zip(scores.T, truth.T, strict=True)]
    return float(np.mean([each.value for each in found if each is not None]))


def compare(
    figure: Callable[[str, NDArray[np.intp]], float], count: int, loss: str, done: Sequence[int]
) -> str:
    """The mean over seeds, and its paired difference to "none" with its interval, as cells of the table."""

    def mean(which: str, places: NDArray[np.intp]) -> float:
        return float(np.mean([figure(f"{which}-{seed}", places) for seed in done]))

    every = np.arange(count)
    value = mean(loss, every)
    if loss == "none":
        return f"{value:.3f} | "
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        places = rng.integers(0, count, count)
        drawn.append(mean(loss, places) - mean("none", places))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"{value:.3f} | {value - mean('none', every):+.3f} ({low:+.3f} to {high:+.3f})"


def table() -> str:
    """The table of the seeds for which all losses are done."""
    with Path("held-out/labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    done = [
        seed for seed in SEEDS if all(Path(f"figures/{loss}-{seed}/cases.csv").is_file() for loss in LOSSES)
    ]
    cases = [row["id"] for row in rows]
    truth = np.array([[float(row[label]) for label in LABELS] for row in rows])
    runs = [f"{loss}-{seed}" for seed in done for loss in LOSSES]
    scores = {run: logits(run, cases) for run in runs}
    evidence = {}
    for run in runs:
        told = measured(run, rows)
        grid = np.full((len(cases), len(LABELS), 3), np.nan)
        for (case, label), values in told.items():
            if label in LABELS:
                grid[cases.index(case), LABELS.index(label)] = values
        evidence[run] = grid

    def share(part: int) -> Callable[[str, NDArray[np.intp]], float]:
        return lambda run, places: float(np.nanmean(evidence[run][places, :, part]))

    def separated(run: str, places: NDArray[np.intp]) -> float:
        return area(scores[run][places], truth[places])

    lines = [
        f"Seeds {', '.join(map(str, done))}; {len(cases)} held-out phantoms; chance: "
        f"{np.nanmean(evidence[runs[0]][:, :, 2]):.3f} of the evidence in the lesion.",
        "",
        "| mask loss | evidence in cells that touch the lesion | against none | evidence in the lesion | against none "
        "| mean AUROC | against none |",
        "|---|---|---|---|---|---|---|",
    ]
    for loss in LOSSES:
        parts = [compare(figure, len(cases), loss, done) for figure in (share(0), share(1), separated)]
        lines.append(f"| {loss} | {' | '.join(parts)} |")
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Run what is not done yet, and print the table."""
    import os

    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    Path("small.toml").write_text(MODEL)
    write_trunk(Path(TRUNK))
    run = get_command(app)
    for command in commands():
        print("hirescam", *command, file=sys.stderr, flush=True)
        if command[0] == "evaluate" and Path(command[5], "cases.csv").is_file():
            continue
        ended = run.main(list(command), standalone_mode=False)
        assert not ended, (command, ended)
        if command[0] == "evaluate" and command[1].startswith(f"maps/{list(LOSSES)[-1]}"):
            Path("table.md").write_text(table())
    print(Path("table.md").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
