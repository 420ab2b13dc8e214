"""What decides the content of a case folder: one frozen record that travels to readers and workers."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hirescam_cli.errors import UsageError
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.model.spec import PLACEMENTS, ModelSpec

METHODS = ("hirescam", "gradcam")
FORMATS = ("nifti", "png", "gif", "html")
PLANNED_FORMATS = ("dicom-seg", "dicom-sr", "dicom-sc", "dicom-pm")
GRIDS = ("scan", "cam", "both")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_UID = re.compile(r"[0-9.]+")


@dataclass(frozen=True)
class Settings:
    """The options of `explain` that matter for a single case; the defaults are those of the command line.

    `labels`: "positive", "all", "top:N" or names joined by commas. `threshold`, `target_layer`, `placement`:
    None takes the model's. `compress`: gzip level 0 to 3. `signed`: pictures show negative evidence too.
    """

    model: str = "demo"
    weights: Path | None = None
    methods: tuple[str, ...] = ("hirescam",)
    labels: str = "positive"
    threshold: float | None = None
    target_layer: str | None = None
    placement: str | None = None
    grid: Literal["scan", "cam", "both"] = "scan"
    formats: tuple[str, ...] = ("nifti", "png")
    device: str = "auto"
    precision: str = "auto"
    chunk: int | None = None
    compress: int = 1
    signed: bool = False
    identifiers: Literal["none", "uids"] = "uids"
    read: ReadOptions = field(default_factory=ReadOptions)

    def checked(self, spec: ModelSpec) -> Settings:
        """These settings if they make sense for `spec`; UsageError names the option that does not."""
        _choice("--method", self.methods, METHODS)
        _choice("--precision", (self.precision,), PRECISIONS)
        _choice("--placement", (self.placement or PLACEMENTS[0],), PLACEMENTS)
        _choice("--identifiers", (self.identifiers,), ("none", "uids"))
        check_choices(formats=self.formats, grid=self.grid, threshold=self.threshold)
        if not 0 <= self.compress <= 3:
            raise UsageError(f"--compress is {self.compress}, expected a level from 0 to 3.")
        check_series(self.read.series)
        LabelChoice.parse(self.labels, spec.labels)
        return self

    def stated(self) -> dict[str, Any]:
        """The options that decide a case's content as they were given, by name: no paths, no identifiers."""
        return {
            "method": list(self.methods),
            "labels": self.labels,
            "threshold": self.threshold,
            "target-layer": self.target_layer,
            "placement": self.placement,
            "grid": self.grid,
            "format": list(self.formats),
            "signed": self.signed,
            "compress": self.compress,
            "precision": self.precision,
            "identifiers": self.identifiers,
            "prefer": self.read.prefer,
            "assume-affine": self.read.assume_affine,
            "allow-gaps": self.read.allow_gaps,
        }

    def result_hash(self, spec: ModelSpec, weights_sha256: str) -> str:
        """SHA-256 over what decides a case's content: these settings (not the device), model and weights."""
        content = asdict(self)
        for key in ("device", "weights", "model", "chunk"):
            del content[key]
        content["read"].pop("max_voxels")
        content["read"].pop("series")
        model = asdict(spec)
        for key in ("source", "weights_file", "weights_sha256", "description", "intended_use"):
            del model[key]
        document = {"settings": content, "model": model, "weights": weights_sha256}
        text = json.dumps(document, sort_keys=True, default=str, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def check_choices(*, formats: tuple[str, ...], grid: str, threshold: float | None) -> None:
    """Check the options that `explain` and `render` share; UsageError names the one that is wrong."""
    if planned := sorted(set(formats) & set(PLANNED_FORMATS)):
        raise UsageError(
            f"--format {planned[0]} is not available in this version.",
            hint=f"Available: {', '.join(FORMATS)}.",
            code="format-unavailable",
        )
    _choice("--format", formats, FORMATS)
    _choice("--grid", (grid,), GRIDS)
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise UsageError(f"--threshold is {threshold}, expected a probability from 0 to 1.")


def check_series(series: str) -> None:
    """Check the value of --series: UsageError for what is no word of it and cannot be a UID."""
    if series not in ("all", "largest") and not _UID.fullmatch(series):
        raise UsageError(
            f"--series {series!r} is unknown.",
            hint="Write all, largest or a SeriesInstanceUID (digits and dots); `hirescam inspect` lists them.",
        )


def _choice(option: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    if not values:
        raise UsageError(f"{option} names nothing.", hint=f"Choose from: {', '.join(allowed)}.")
    for value in values:
        if value not in allowed:
            raise UsageError(f"{option} {value!r} is unknown.", hint=f"Choose from: {', '.join(allowed)}.")


@dataclass(frozen=True)
class LabelChoice:
    """Which labels get overlays and pictures: all, the positive ones, the `top` ones, or those named."""

    kind: Literal["positive", "all", "top", "names"]
    top: int = 0
    names: tuple[str, ...] = ()

    @staticmethod
    def parse(text: str, labels: tuple[str, ...]) -> LabelChoice:
        """Parse the value of --labels; UsageError for a label that the model does not have."""
        if text in ("positive", "all"):
            return LabelChoice("positive" if text == "positive" else "all")
        if text.startswith("top:"):
            count = text[4:]
            if not count.isdecimal() or int(count) < 1:
                raise UsageError(
                    f"--labels {text!r} is not a count.", hint="Write for example --labels top:5."
                )
            return LabelChoice("top", top=int(count))
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names:
            raise UsageError(
                "--labels is empty.", hint="Write positive, all, top:N or names joined by commas."
            )
        for name in names:
            if name not in labels:
                import difflib

                near = difflib.get_close_matches(name, labels, 3) or list(labels[:3])
                raise UsageError(
                    f"The model has no label {name!r}.",
                    hint=f"Did you mean {', '.join(near)}? `hirescam model show` lists all {len(labels)}.",
                    code="label-unknown",
                )
        return LabelChoice("names", names=names)

    def choose(self, labels: list[dict[str, Any]]) -> list[str]:
        """Names of the chosen labels, most probable first (by logit), from summary entries."""
        ranked = sorted(labels, key=lambda entry: (-entry["logit"], entry["index"]))
        if self.kind == "all":
            return [entry["name"] for entry in ranked]
        if self.kind == "top":
            return [entry["name"] for entry in ranked[: self.top]]
        if self.kind == "names":
            return [entry["name"] for entry in ranked if entry["name"] in self.names]
        return [entry["name"] for entry in ranked if entry["positive"]] or [ranked[0]["name"]]
