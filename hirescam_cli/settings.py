"""What is computed and written for a case: one frozen record that travels to readers and workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hirescam_cli.choices import Freeze, Grid
from hirescam_cli.identifiers import Identifiers
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.label_choice import same_choice
from hirescam_cli.options import Value, check, identity_of, stated
from hirescam_cli.placement import Placement


@dataclass(frozen=True)
class Settings:
    """The options of `explain` that matter for a single case; see the table in `options` for what each means.

    `threshold`, `target_layer`, `placement`: None takes the model's. `chunk`: positions that the network takes at a
    time, None by device. Raises UsageError for a value that its option does not know.
    """

    model: str = stated("model")
    weights: tuple[Path, ...] = stated("weights")
    methods: tuple[str, ...] = stated("method")
    labels: str = stated("labels")
    threshold: float | None = stated("threshold")
    target_layer: str | None = stated("target-layer")
    placement: Placement | None = stated("placement")
    freeze: Freeze = stated("freeze")
    grid: Grid | None = stated("grid")
    formats: tuple[str, ...] = stated("format")
    device: str = stated("device")
    precision: str = stated("precision")
    compress: int = stated("compress")
    signed: bool = stated("signed")
    seg_fraction: float = stated("seg-fraction")
    identifiers: Identifiers = stated("identifiers")
    chunk: int | None = None
    read: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        check(self)

    def identity(self) -> dict[str, Value]:
        """The options that decide a case's content as they were given, by name: no paths, no device.

        Formats and names of labels are sorted: their order decides nothing. (That of methods does: the first leads.)
        """
        told = identity_of(self, self.read)
        return told | {"format": tuple(sorted(self.formats)), "labels": same_choice(self.labels)}
