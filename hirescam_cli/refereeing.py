"""The occlusion referee on scans and a model: reads, prepares and asks. What is found: see `evaluate.referee`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.errors import ExitCode, HirescamError
from hirescam_cli.evaluate.findings import RefereeFindings
from hirescam_cli.evaluate.occlusion import Input
from hirescam_cli.evaluate.referee import RefereeOptions, referee
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.ensemble import Ensemble, Explainer
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.io import read
from hirescam_cli.io.scan import ReadOptions, Scan
from hirescam_cli.model.load import LoadedModel
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline.records import Session
from hirescam_cli.placement import Placement
from hirescam_cli.prepare import ModelInput, prepare

AIR_HU = -1000

Failed = tuple[str, HirescamError]


class NetworkSubject:
    """A loaded model as the referee asks it (`evaluate.occlusion.Subject`)."""

    def __init__(self, explainer: Explainer, model: LoadedModel, placement: Placement | None = None) -> None:
        self.explainer, self.model = explainer, model
        members = explainer.engines if isinstance(explainer, Ensemble) else (explainer,)
        self.engines = tuple(member for member in members if isinstance(member, Engine))
        self.engine = self.engines[0]
        self.name = model.spec.name
        self.labels, self.thresholds = model.spec.labels, model.spec.thresholds
        self.placement = placement or model.placement
        self.by_slices = self.engine.contract.by_slices
        self.slab = self.engine.feed.slab

    @property
    def air(self) -> float:
        """What -1000 HU becomes before the steps that run on the device."""
        return float(self.engine.feed.from_hu(np.full((1, 1, 1), AIR_HU, dtype=np.int16)).flat[0])

    def explain(self, voxels: Voxels, methods: Sequence[str]) -> Explanation:
        """Logits, scores and maps of voxels [i, j, k]; slice groups of one value are computed once."""
        positions = self.engine.feed.positions(np.ascontiguousarray(voxels))
        return self.explainer.explain(positions, _alike(positions), methods)

    def scores(self, voxels: Voxels) -> NDArray[np.float32]:
        """Scores [groups, L] or logits [1, L]."""
        positions = self.engine.feed.positions(np.ascontiguousarray(voxels))
        every = [engine.forward_only(positions) for engine in self.engines]
        return np.asarray(np.mean(every, axis=0, dtype=np.float64), dtype=np.float32)

    def to_voxel(self, placement: Placement, cells: Shape3, shape: Shape3) -> Affine:
        """Cell to input voxel."""
        return self.model.cell_affine(self.engine.target_layer, placement, cells, shape)


def ask(
    session: Session,
    scans: Iterable[Scan],
    methods: Sequence[str],
    options: RefereeOptions,
    *,
    wanted: Mapping[str, Sequence[str]] | None = None,
    done: Callable[[str], None] | None = None,
) -> tuple[RefereeFindings, tuple[Failed, ...]]:
    """The referee's findings on scans, and the scans that could not be used, each with its error.

    `wanted`: labels by case; without it those that the network finds positive. Raises what concerns all scans.
    """
    failed: list[Failed] = []
    subject = NetworkSubject(session.engine, session.model, session.facts.placement)
    inputs = _inputs(scans, session.facts.spec, session.settings.read, failed)
    return referee(subject, inputs, methods, options, wanted=wanted, done=done), tuple(failed)


def input_of(case: str, model_input: ModelInput) -> Input:
    """A prepared scan as the referee takes it."""
    return Input(case, model_input.array_ijk, model_input.affine_ras, model_input.edges)


def _inputs(
    scans: Iterable[Scan], spec: ModelSpec, options: ReadOptions, failed: list[Failed]
) -> Iterator[Input]:
    for scan in scans:
        try:
            yield input_of(scan.case, prepare(read(scan, options), spec.preparation))
        except HirescamError as error:
            if error.exit_code != ExitCode.BAD_DATA:
                raise
            failed.append((scan.case, error))


def _alike(positions: Voxels) -> NDArray[np.bool_]:
    """Which positions [n, slices, j, k] hold one and the same value, the lowest: padding with air."""
    lowest = positions.min()
    return np.array([bool(position.max() == lowest) for position in positions])
