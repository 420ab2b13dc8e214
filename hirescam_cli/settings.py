"""What decides the content of a case folder: one frozen record that travels to readers and workers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hirescam_cli import __version__
from hirescam_cli.errors import UsageError
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.options import Grid, Identifiers, check_choice


@dataclass(frozen=True)
class Settings:
    """The options of `explain` that matter for a single case; the defaults are those of the command line.

    `labels`: "positive", "all", "top:N" or names joined by commas. `threshold`, `target_layer`, `placement`:
    None takes the model's. `compress`: gzip level 0 to 3. `signed`: pictures show negative evidence too.
    Raises UsageError for a value that its option does not know.
    """

    model: str = "demo"
    weights: Path | None = None
    methods: tuple[str, ...] = ("hirescam",)
    labels: str = "positive"
    threshold: float | None = None
    target_layer: str | None = None
    placement: str | None = None
    grid: Grid = "scan"
    formats: tuple[str, ...] = ("nifti", "png")
    device: str = "auto"
    precision: str = "auto"
    chunk: int | None = None
    compress: int = 1
    signed: bool = False
    identifiers: Identifiers = "uids"
    read: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        check_shared(
            methods=self.methods,
            labels=self.labels,
            threshold=self.threshold,
            placement=self.placement,
            grid=self.grid,
            formats=self.formats,
        )
        for option, value in (
            ("device", self.device),
            ("precision", self.precision),
            ("identifiers", self.identifiers),
        ):
            check_choice(option, value)
        if not 0 <= self.compress <= 3:
            raise UsageError(f"--compress is {self.compress}, expected a level from 0 to 3.")

    def checked(self, spec: ModelSpec) -> Settings:
        """These settings if they make sense for `spec`; UsageError names the label that it does not have."""
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
            "identifiers": self.identifiers,
            "prefer": self.read.prefer,
            "assume-affine": self.read.assume_affine,
            "allow-gaps": self.read.allow_gaps,
        }

    def result_hash(self, spec: ModelSpec, weights_sha256: str, precision: str) -> str:
        """SHA-256 over what decides a case's content: these settings (not the device), model, weights,
        the precision that took effect, and the version of hirescam."""
        content = asdict(self)
        for key in ("device", "weights", "model", "chunk", "precision"):
            del content[key]
        content["read"].pop("max_voxels")
        content["read"].pop("series")
        model = asdict(spec)
        for key in ("source", "weights_file", "weights_sha256", "description", "intended_use"):
            del model[key]
        document = {
            "settings": content,
            "model": model,
            "weights": weights_sha256,
            "precision": precision,
            "version": __version__,
        }
        text = json.dumps(document, sort_keys=True, default=str, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def check_shared(
    *,
    methods: tuple[str, ...] | None,
    labels: str,
    threshold: float | None,
    placement: str | None,
    grid: str,
    formats: tuple[str, ...],
) -> None:
    """Check the options that `explain` and `render` share (None: not given); UsageError names the wrong one."""
    if methods is not None:
        check_choice("method", methods)
    check_choice("labels", labels)
    if placement is not None:
        check_choice("placement", placement)
    check_choice("grid", grid)
    check_choice("format", formats)
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise UsageError(f"--threshold is {threshold}, expected a probability from 0 to 1.")


@dataclass(frozen=True)
class LabelChoice:
    """Which labels get overlays and pictures: all, the positive ones, the `top` ones, or those named."""

    kind: Literal["positive", "all", "top", "names"]
    top: int = 0
    names: tuple[str, ...] = ()

    @staticmethod
    def parse(text: str, labels: tuple[str, ...]) -> LabelChoice:
        """Parse the value of --labels; UsageError for a label that the model does not have."""
        check_choice("labels", text)
        if text in ("positive", "all"):
            return LabelChoice("positive" if text == "positive" else "all")
        if text.startswith("top:"):
            return LabelChoice("top", top=int(text[4:]))
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
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
