"""What travels between the stages of a case: frozen records that can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.geometry import Affine
from hirescam_cli.io.scan import Scan
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.options import Value
from hirescam_cli.placement import Placement
from hirescam_cli.prepare import ModelInput
from hirescam_cli.settings import Settings
from hirescam_cli.volume import Volume

if TYPE_CHECKING:
    from hirescam_cli.case.record import DriftFound, MethodFacts
    from hirescam_cli.explain.ensemble import Explainer
    from hirescam_cli.explain.explanation import Explanation
    from hirescam_cli.model.load import LoadedModel


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan that was read and prepared. `started`: ISO 8601 with an offset; `seconds`: of the stages so far."""

    scan: Scan
    volume: Volume
    model_input: ModelInput
    started: str
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class RunFacts:
    """What every case of a run shares and its record says; it travels to writers. `drift`: None in fp32.

    `options`: those that decide a case's content, by name; one that says what holds anyway counts as not given.
    `methods`: titles and units of the methods that were asked for. `members`: SHA-256 of each file of weights.
    """

    spec: ModelSpec
    weights_sha256: str
    params_hash: str
    options: Mapping[str, Value]
    torch_version: str
    device: str
    precision: str
    fallbacks: tuple[str, ...]
    placement: Placement
    target_layer: str
    methods: Mapping[str, MethodFacts]
    drift: DriftFound | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Session:
    """A model on its device, loaded once for a run."""

    settings: Settings
    facts: RunFacts
    model: LoadedModel
    engine: Explainer


@dataclass(frozen=True, eq=False)
class Explained:
    """An explanation with its place: per placement the affine of its maps, cell to RAS mm.

    `padding` [i, j, k]: share of each cell, under the run's placement, that is padding. `peak_memory_mib`: of
    this process while it explained; None where the system does not tell.
    """

    explanation: Explanation
    affines_ras: Mapping[str, Affine]
    padding: NDArray[np.float64]
    seconds: Mapping[str, float]
    peak_memory_mib: float | None = None
