"""What a training is told, as records of options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hirescam_cli.choices import Existing
from hirescam_cli.errors import UsageError
from hirescam_cli.options import check, options_of, stated

MaskLoss = Literal["none", "papers", "two-sided", "lesions"]


@dataclass(frozen=True)
class MaskOptions:
    """Where evidence is allowed, and what it costs elsewhere. Raises UsageError where masks and loss do not agree."""

    masks: Path | None = stated("masks")
    mask_labels: Path | None = stated("mask-labels")
    regions: str | None = stated("regions")
    loss: MaskLoss = stated("mask-loss")
    weight: float = stated("mask-weight")
    cells: str = stated("mask-cells")

    def __post_init__(self) -> None:
        check(self)
        if self.loss != "none" and self.masks is None:
            raise UsageError(f"--mask-loss {self.loss} needs masks.", hint="Give their folder with --masks.")
        if self.loss == "none" and (self.masks or self.regions):
            raise UsageError(
                "Masks are given, but --mask-loss is none.",
                hint="Choose --mask-loss papers, two-sided or lesions.",
            )
        if self.loss == "lesions" and self.cells != "any":
            raise UsageError(
                f"--mask-loss lesions asks each cell that a lesion touches, not {self.cells}.",
                hint="Leave --mask-cells at any.",
            )


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained: all of this decides its weights, but for `epochs` and `patience` of a constant rate."""

    model: str = stated("model", default="")
    init: str = stated("init")
    epochs: int = stated("epochs")
    patience: int = stated("patience")
    monitor: Literal["loss", "auroc"] = stated("monitor")
    optimizer: Literal["sgd", "adamw"] = stated("optimizer")
    lr: float = stated("lr")
    schedule: Literal["constant", "cosine"] = stated("schedule")
    momentum: float = stated("momentum")
    weight_decay: float = stated("weight-decay")
    accumulate: int = stated("accumulate")
    clip: float = stated("clip")
    warm_up: int = stated("warm-up")
    warm_up_lr: float | None = stated("warm-up-lr")
    warm_up_positions: int = stated("warm-up-positions")
    augment: str = stated("augment")
    calibrate: Literal["none", "platt"] = stated("calibrate")
    thresholds: str = stated("thresholds")
    seed: int = stated("seed")
    deterministic: bool = stated("deterministic")
    device: str = stated("device")
    precision: str = stated("precision")

    def __post_init__(self) -> None:
        check(self)
        if self.precision == "fp16":
            raise UsageError(
                "--precision fp16 cannot be trained in: its gradients underflow.", hint="Choose bf16 or fp32."
            )


@dataclass(frozen=True)
class RunOptions:
    """How the run goes about it; none of this changes the weights. `max_failures`: None is 1 here."""

    output: Path = stated("output")
    existing: Existing = stated("existing")
    cache: Path | None = stated("cache")
    workers: int = stated("workers")
    checkpoint_minutes: float = stated("checkpoint-minutes")
    continue_anyway: bool = stated("continue-anyway")
    max_failures: int | None = stated("max-failures")
    log: tuple[str, ...] = stated("log")

    def __post_init__(self) -> None:
        check(self)


def told(*records: object) -> dict[str, str | int | float | bool]:
    """Options that decide the weights, by name, as plain data."""
    found: dict[str, str | int | float | bool] = {}
    for record in records:
        for name, option in options_of(record):
            value = getattr(record, name)
            if option.name not in _ELSEWHERE and isinstance(value, str | int | float | bool):
                found[option.name] = value
    return found


# The model and the masks are told by their content, the device is a circumstance, the rest may be prolonged.
_ELSEWHERE = {"model", "init", "device", "precision", "epochs", "patience", "masks", "mask-labels", "regions"}
