"""What a training leaves for others: a model file with weights that explain at once, and the figures behind it."""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import tomli_w
import torch
from torch import Tensor, nn

from hirescam_cli.durable import write_file
from hirescam_cli.model.contract import Network
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.train.calibration import Scaling
from hirescam_cli.train.records import EpochFigures, LabelFigures
from hirescam_cli.train.thresholds import Threshold
from hirescam_cli.train.validation import Validation, sigmoid

MODEL, WEIGHTS, VALIDATION, METRICS = "model.toml", "weights.safetensors", "validation.csv", "metrics.csv"
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Choice:
    """What follows from validation for each label."""

    scalings: tuple[Scaling, ...]
    thresholds: tuple[Threshold, ...]


def choose(validation: Validation, calibrate: str, thresholds: str) -> Choice:
    """By the methods of these names."""
    scalings = validation.scalings(calibrate)
    return Choice(tuple(scalings), tuple(validation.thresholds(thresholds, scalings)))


def foldable(network: Network) -> bool:
    """Whether a scale and an offset for each label can become part of the last layer."""
    if network.linear_head is None:
        return False
    head = network.module.get_submodule(network.linear_head)
    return isinstance(getattr(head, "bias", None), nn.Parameter)


def folded(network: Network, scalings: Sequence[Scaling]) -> dict[str, Tensor]:
    """The module's state with calibrated logits: weight * scale, bias * scale + offset of the last layer.

    The logit is linear in both, so the sum of a map plus the bias stays the logit.
    """
    state = {k: v.detach().cpu().clone().contiguous() for k, v in network.module.state_dict().items()}
    state = {k: v for k, v in state.items() if not k.endswith(_COUNTER)}
    if any(s.fitted for s in scalings):
        weight, bias = (f"{network.linear_head}.{part}" for part in ("weight", "bias"))
        scale = torch.tensor([s.scale for s in scalings], dtype=torch.float64)
        offset = torch.tensor([s.offset for s in scalings], dtype=torch.float64)
        shape = (-1, *[1] * (state[weight].ndim - 1))
        state[weight] = (state[weight].double() * scale.reshape(shape)).float()
        state[bias] = (state[bias].double() * scale + offset).float()
    return state


def publish(
    run: Path,
    network: Network,
    spec: ModelSpec,
    validation: Validation,
    choice: Choice,
    training: Mapping[str, object],
) -> None:
    """Write weights, validation.csv and, last, the model file. Raises OutputCreateError or OutputIOError."""
    weights = safetensors.torch.save(folded(network, choice.scalings), metadata={"format": "pt"})
    write_file(run / VALIDATION, _validation_csv(validation, choice, spec.labels).encode())
    write_file(run / WEIGHTS, weights)
    document = model_document(spec, run.resolve().name, hashlib.sha256(weights).hexdigest(), choice, training)
    write_file(run / MODEL, tomli_w.dumps(document).encode())


def model_document(
    spec: ModelSpec, name: str, sha256: str, choice: Choice, training: Mapping[str, object]
) -> dict[str, object]:
    """The model file: the given one with its own weights, thresholds and story, and with words that hold for it.

    Whether the given one is for demonstration says nothing of what was trained.
    """
    assert spec.source is not None
    given = tomllib.loads(spec.source.read_text(encoding="utf-8"))
    document: dict[str, object] = {"name": name or spec.name}
    document["description"] = f"{spec.description or spec.name} Trained by hirescam train."
    document["intended_use"] = "Research; not for diagnosis."
    document["architecture"] = spec.architecture
    document["parameters"] = dict(spec.parameters)
    document["weights"] = {"file": WEIGHTS, "sha256": sha256}
    limits = {label: found.value for label, found in zip(spec.labels, choice.thresholds, strict=True)}
    codes = {"codes": given["labels"]["codes"]} if "codes" in given["labels"] else {}
    document["labels"] = {"names": list(spec.labels), "thresholds": limits, **codes}
    for key in ("input", "preparation", "explanation"):
        if key in given:
            document[key] = given[key]
    document["training"] = dict(training)
    return document


def label_story(figures: LabelFigures, choice: tuple[Scaling, Threshold]) -> dict[str, object]:
    """A label in the model file's [training.labels]: TOML has no null, so what is unknown is left out."""
    scaling, limit = choice
    story: dict[str, object] = {"positives": figures.positives, "negatives": figures.negatives}
    if figures.auroc is not None:
        story["auroc"] = round(figures.auroc, 4)
    if figures.low is not None and figures.high is not None:
        story["auroc_interval"] = [round(figures.low, 4), round(figures.high, 4)]
    story["threshold_method"] = limit.method
    if scaling.fitted:
        story["scale"], story["offset"] = scaling.scale, scaling.offset
    return story


def _validation_csv(validation: Validation, choice: Choice, labels: Sequence[str]) -> str:
    """id, label, logit and probability as `explain` gives them, truth (empty: unknown)."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "label", "logit", "probability", "truth"])
    logits = validation.calibrated(choice.scalings)
    probabilities = sigmoid(logits)
    for n, scan in enumerate(validation.ids):
        for place, label in enumerate(labels):
            truth = validation.truth[n, place]
            told = "" if np.isnan(truth) else int(truth)
            rows.writerow([scan, label, f"{logits[n, place]:.9g}", f"{probabilities[n, place]:.9g}", told])
    return text.getvalue()


def write_metrics(run: Path, history: Sequence[EpochFigures], labels: Sequence[str]) -> None:
    """metrics.csv: one row an epoch. Raises OutputCreateError or OutputIOError."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    parts = ("total", "classification", "mask")
    head = ["epoch", *(f"{split}_{part}" for split in ("train", "valid") for part in parts)]
    rows.writerow([*head, "lr", "seconds", "auroc", *(f"{m}:{x}" for m in ("auroc", "ap") for x in labels)])
    for epoch in history:
        losses = [getattr(split, part) for split in (epoch.train, epoch.valid) for part in parts]
        areas = [epoch.labels[label].auroc for label in labels]
        precisions = [epoch.labels[label].average_precision for label in labels]
        figures = [*losses, epoch.lr, round(epoch.seconds, 3), epoch.auroc, *areas, *precisions]
        rows.writerow([epoch.epoch, *("" if v is None else v for v in figures)])
    write_file(run / METRICS, text.getvalue().encode())
