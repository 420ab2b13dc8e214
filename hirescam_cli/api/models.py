"""A model for a notebook: what it answers, and its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from hirescam_cli.api.html import table
from hirescam_cli.model.spec import ModelSpec, load_spec

if TYPE_CHECKING:
    from torch import nn

    from hirescam_cli.model.load import LoadedModel

PathName = str | PathLike[str]


@dataclass(frozen=True, eq=False)
class Model:
    """A model whose weights were checked. `given`: how it was named; `weights`: those given instead of its own."""

    given: str
    weights: tuple[Path, ...]
    loaded: LoadedModel

    @property
    def spec(self) -> ModelSpec:
        """Its description: preparation, thresholds, intended use."""
        return self.loaded.spec

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def labels(self) -> tuple[str, ...]:
        """What it answers, in the order of its outputs."""
        return self.spec.labels

    @property
    def network(self) -> nn.Module:
        """The network in evaluation mode, float32, on the CPU."""
        return self.loaded.network.module

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {len(self.labels)} labels)"

    def _repr_html_(self) -> str:
        rows = [
            ("model", self.name),
            ("description", self.spec.description),
            ("intended use", self.spec.intended_use),
            ("architecture", self.spec.architecture),
            ("target layer", self.loaded.target_layer),
            ("weights (SHA-256)", self.loaded.weights_sha256),
            ("labels", ", ".join(self.labels)),
        ]
        return table(None, ("", ""), rows)


def load_model(name: PathName = "demo", weights: PathName | Sequence[PathName] = ()) -> Model:
    """Load an embedded model or that of a description file, with its own weights or those given: several, an ensemble.

    Raises ModelError for what does not fit, UnavailableError without weights.
    """
    from hirescam_cli.model import load

    several = [weights] if isinstance(weights, str | PathLike) else weights
    given, files = str(name), tuple(map(Path, several))
    return Model(given, files, load.load_model(load_spec(given), files))
