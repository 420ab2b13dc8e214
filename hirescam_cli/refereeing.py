"""The occlusion referee on finished cases or scans and their model; what is found: see `evaluate.referee`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hirescam_cli.case.record import Case
from hirescam_cli.case.reload import load_case
from hirescam_cli.doctor import Check
from hirescam_cli.durable import write_file
from hirescam_cli.errors import ExitCode, HirescamError, UsageError
from hirescam_cli.evaluate.findings import RefereeFindings, to_json
from hirescam_cli.evaluate.gather import finished_cases
from hirescam_cli.evaluate.occlusion import Input
from hirescam_cli.evaluate.referee import RefereeOptions, referee
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.ensemble import Ensemble, Explainer
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.io import InputPath, ReadOptions, Scan, read
from hirescam_cli.library import ScanLibrary
from hirescam_cli.masks.collection import find_masks
from hirescam_cli.model.load import LoadedModel
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline.records import Session
from hirescam_cli.placement import Placement
from hirescam_cli.prepare import prepare
from hirescam_cli.volume import Volume

FILE = "referee.json"

Failed = tuple[str, HirescamError]
Done = Callable[[str], None]


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
        return float(self.engine.feed.air((1, 1, 1), alike=True).flat[0])

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
    done: Done | None = None,
) -> tuple[RefereeFindings, tuple[Failed, ...]]:
    """The referee's findings on scans, and the scans that could not be used, each with its error.

    `wanted`: labels by case; without it those that the network finds positive. Raises what concerns all scans.
    """
    reading = session.settings.read
    volumes = ((scan.case, _reader(scan, reading)) for scan in scans)
    return _ask(session, volumes, methods, options, wanted, done)


def ask_cases(
    session: Session,
    out: Path,
    inputs: Sequence[InputPath],
    masks: tuple[Path, Path | None],
    methods: Sequence[str],
    options: RefereeOptions,
    done: Done | None = None,
) -> tuple[RefereeFindings, tuple[Failed, ...]]:
    """The same for the finished cases below `out` that were explained with this model.

    Asked are the labels that the network finds and that have a mask below `masks` (a folder, and the names of values).
    `inputs`: where the scans are. Raises UsageError for cases of another model.
    """
    found = finished_cases(out)[1]
    other = next((one.case for one in found if not _is_of(one.case, session)), None)
    if other is not None:
        raise UsageError(
            f"The case {other.case} was explained with other weights than those of {session.facts.spec.name}.",
            hint="Name the model and weights of the cases with --model and --weights.",
            code="referee-model",
        )
    collection = find_masks(masks[0], [one.folder for one in found], masks[1])
    wanted = {}
    for one in found:
        held = collection.of(one.folder)
        slugs = {label.name: label.slug for label in one.case.labels}
        marked = held.assigned(list(slugs), slugs).masks if held is not None else {}
        wanted[one.folder] = [lab.name for lab in one.case.labels if lab.positive and lab.name in marked]
    library = ScanLibrary(inputs, ReadOptions())
    volumes = ((one.folder, _finder(library, out / one.folder)) for one in found if wanted[one.folder])
    return _ask(session, volumes, methods, options, wanted, done)


def placement_check(findings: RefereeFindings) -> Check:
    """What the doctor says of a model's placement after the network itself was asked."""
    said, by = findings.verdict, findings.placement
    asked = f"{by}, {findings.cases} scans asked by occlusion"
    if said.placement is None:
        remedy = "Give more scans on which the network finds something: at least five, better twenty."
        return Check("placement", "warning", f"{asked}: not decided ({said.reason})", remedy)
    if said.placement == by:
        return Check("placement", "ok", f"{asked}: {said.reason}")
    remedy = f'Write placement = "{said.placement}" in [explanation], or use --placement {said.placement}.'
    return Check("placement", "warning", f"{asked}: {said.reason}", remedy)


def write(folder: Path, findings: RefereeFindings) -> Path:
    """Write referee.json into a folder; its path. Raises OutputCreateError or OutputIOError."""
    write_file(folder / FILE, to_json(findings))
    return folder / FILE


def _ask(
    session: Session,
    volumes: Iterable[tuple[str, Callable[[], Volume]]],
    methods: Sequence[str],
    options: RefereeOptions,
    wanted: Mapping[str, Sequence[str]] | None,
    done: Done | None,
) -> tuple[RefereeFindings, tuple[Failed, ...]]:
    failed: list[Failed] = []
    subject = NetworkSubject(session.engine, session.model, session.facts.placement)
    scans = _inputs(volumes, session.facts.spec, failed)
    return referee(subject, scans, methods, options, wanted=wanted, done=done), tuple(failed)


def _inputs(
    volumes: Iterable[tuple[str, Callable[[], Volume]]], spec: ModelSpec, failed: list[Failed]
) -> Iterator[Input]:
    for case, volume in volumes:
        try:
            made = prepare(volume(), spec.preparation)
        except HirescamError as error:
            if error.exit_code != ExitCode.BAD_DATA:
                raise
            failed.append((case, error))
            continue
        yield Input(case, made.array_ijk, made.affine_ras, made.edges)


def _reader(scan: Scan, options: ReadOptions) -> Callable[[], Volume]:
    return lambda: read(scan, options)


def _finder(library: ScanLibrary, folder: Path) -> Callable[[], Volume]:
    return lambda: library.volume_of(load_case(folder))


def _is_of(case: Case, session: Session) -> bool:
    return case.model.weights_sha256 == session.facts.weights_sha256


def _alike(positions: Voxels) -> NDArray[np.bool_]:
    """Which positions [n, slices, j, k] hold one and the same value, the lowest: padding with air."""
    lowest = positions.min()
    return np.array([bool(position.max() == lowest) for position in positions])
