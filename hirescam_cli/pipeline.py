"""One case, from a found scan to the files of its folder, in stages that may run in different processes.

    read_case (Scan -> Prepared)  ->  explain_prepared (-> Explanation)  ->  write_case (-> files and summary)

Reading and writing need no network, explaining no files; what travels between them are frozen records.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hirescam_cli import __version__
from hirescam_cli.errors import HirescamError, ModelError
from hirescam_cli.geometry import Affine
from hirescam_cli.io.scan import Scan
from hirescam_cli.memory import PeakMemory
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.output import evidence, summary
from hirescam_cli.output.durable import Written
from hirescam_cli.output.illustrate import Illustration, illustrate
from hirescam_cli.output.names import label_slugs
from hirescam_cli.output.nifti import write_cams
from hirescam_cli.output.overlays import write_overlays
from hirescam_cli.output.publish import hash_outputs
from hirescam_cli.output.view import CaseView
from hirescam_cli.prepare import ModelInput, prepare
from hirescam_cli.settings import LabelChoice, Settings
from hirescam_cli.volume import Volume

if TYPE_CHECKING:
    import torch

    from hirescam_cli.explain.drift import Drift
    from hirescam_cli.explain.engine import Engine
    from hirescam_cli.explain.explanation import Explanation
    from hirescam_cli.model.load import LoadedModel

_LITTLE_SEEN = 0.5
_NOTICED_DRIFT = 0.05


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan that was read and prepared. `started`: ISO 8601 UTC; `seconds`: of the stages so far."""

    scan: Scan
    volume: Volume
    model_input: ModelInput
    started: str
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class RunFacts:
    """What every case of a run shares and its summary says; it travels to writers. `drift`: None in fp32."""

    spec: ModelSpec
    weights_sha256: str
    params_hash: str
    torch_version: str
    device: str
    precision: str
    fallbacks: tuple[str, ...]
    placement: str
    target_layer: str
    drift: Drift | None = None


@dataclass(frozen=True, eq=False)
class Session:
    """A model on its device, loaded once for a run."""

    settings: Settings
    facts: RunFacts
    model: LoadedModel
    engine: Engine


@dataclass(frozen=True, eq=False)
class Explained:
    """An explanation with its place: per placement the affine of its maps, cell (s, y, x) to RAS mm.

    `padding` [S, h, w]: share of each cell, under the run's placement, that is padding. `peak_memory_mib`: of
    this process while it explained; None where the system does not tell.
    """

    explanation: Explanation
    affines_ras: Mapping[str, Affine]
    padding: np.ndarray[Any, np.dtype[np.float64]]
    seconds: Mapping[str, float]
    peak_memory_mib: float | None = None


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def open_session(settings: Settings, spec: ModelSpec) -> Session:
    """Load the model and put it on its device. Raises ModelError, UnavailableError or UsageError."""
    import torch

    from hirescam_cli.device import resolve_device, resolve_precision
    from hirescam_cli.explain.shortage import memory_needed
    from hirescam_cli.model.load import load_model

    settings.checked(spec)
    device, fallbacks = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    model = load_model(spec, settings.weights)
    layer = settings.target_layer or spec.target_layer
    model.cell_affine(layer, "stretch")
    with memory_needed(device, f"the model {spec.name}"):
        engine, drift, precision_fallbacks = _engine_for(settings, model, layer, device, precision)
    facts = RunFacts(
        spec=spec,
        weights_sha256=model.weights_sha256,
        params_hash=settings.result_hash(spec, model.weights_sha256, engine.precision),
        torch_version=str(torch.__version__),
        device=str(device),
        precision=engine.precision,
        fallbacks=fallbacks + precision_fallbacks,
        placement=settings.placement or spec.placement,
        target_layer=layer,
        drift=drift,
    )
    return Session(settings, facts, model, engine)


def _engine_for(
    settings: Settings, model: LoadedModel, layer: str, device: torch.device, precision: str
) -> tuple[Engine, Drift | None, tuple[str, ...]]:
    """The engine in the precision that takes effect, its measured drift, and what it departs from.

    ModelError if the precision was asked for by name and moves the logits too far.
    """
    from hirescam_cli.explain.drift import REFUSAL_LOGITS, measure
    from hirescam_cli.explain.engine import Engine, InputScale

    preparation = model.spec.preparation

    def build(precision: str) -> Engine:
        return Engine(
            model.network,
            target_layer=layer,
            scale=InputScale(preparation.hu_window, preparation.subtract),
            device=device,
            precision=precision,
            chunk=settings.chunk,
        )

    engine = build(precision)
    if engine.precision == "fp32":
        return engine, None, engine.fallbacks
    reference = build("fp32")
    drift = measure(engine, reference, model.architecture.slices_per_group, preparation.side)
    if not drift.refused:
        return engine, drift, engine.fallbacks
    moved = (
        f"in {precision} the logits are off by {drift.logits:.2g}"
        if np.isfinite(drift.logits)
        else f"in {precision} the network's values overflow"
    )
    if settings.precision == "auto":
        return reference, None, (f"precision auto: {moved} on a test input, so fp32 is used",)
    raise ModelError(
        f"The model {model.spec.name} cannot be run in {precision}: {moved} on a test input, "
        f"and {REFUSAL_LOGITS} is the most that is accepted.",
        hint="Use --precision fp32, or auto, which falls back to it.",
        code="precision-drift",
    )


def read_case(scan: Scan, spec: ModelSpec, settings: Settings) -> Prepared:
    """Read a scan and prepare it for the network of `spec`. Raises ScanError. Imports no torch."""
    from hirescam_cli.io import read

    started, begin = now(), time.perf_counter()
    volume = read(scan, settings.read)
    middle = time.perf_counter()
    model_input = prepare(volume, spec.preparation)
    seconds = {"read": middle - begin, "prepare": time.perf_counter() - middle}
    return Prepared(scan, volume, model_input, started, seconds)


def explain_prepared(session: Session, prepared: Prepared) -> Explained:
    """Run the network on a prepared scan and compute every label's maps."""
    memory = PeakMemory()
    model_input, per_group = prepared.model_input, session.model.architecture.slices_per_group
    hu = model_input.hu_zyx
    groups = hu.reshape(hu.shape[0] // per_group, per_group, *hu.shape[1:])
    explanation = session.engine.explain(
        groups, model_input.padding_groups(per_group), session.settings.methods
    )
    middle = time.perf_counter()
    facts = session.facts
    cell_affine = session.model.cell_affine(facts.target_layer, facts.placement)
    cells = explanation.cams[session.settings.methods[0]].shape[1:]
    padding = evidence.padding_weights(cell_affine, cells, model_input.content_zyx)
    affines = session.model.map_affines(facts.target_layer, model_input.affine_ras)
    network, maps = (explanation.seconds[stage] for stage in ("network", "explain"))
    seconds = {"network": network, "explain": maps + time.perf_counter() - middle}
    return Explained(explanation, affines, padding, seconds, memory.mib())


def write_case(
    folder: Path, facts: RunFacts, prepared: Prepared, explained: Explained, settings: Settings
) -> dict[str, Any]:
    """Write a case into the existing, empty `folder`, summary.json last; returns the summary."""
    begin = time.perf_counter()
    document = _document(facts, prepared, explained, settings)
    chosen = LabelChoice.parse(settings.labels, facts.spec.labels).choose(document["labels"])
    slugs = label_slugs(facts.spec.labels)
    view = CaseView(
        volume=prepared.volume,
        summary=document,
        cams={method: np.moveaxis(cams, 0, -1) for method, cams in explained.explanation.cams.items()},
        affines_ras=explained.affines_ras,
        window_hu=facts.spec.preparation.hu_window,
    )
    for method, cams in explained.explanation.cams.items():
        affine_ras = explained.affines_ras[facts.placement]
        write_cams(folder / f"{method}.cams.nii.gz", cams, affine_ras, compress=settings.compress)
    overlays: dict[Path, Written] = {}
    if "nifti" in settings.formats:
        overlays = write_overlays(
            folder,
            view,
            chosen,
            slugs,
            grid=settings.grid,
            placement=facts.placement,
            compress=settings.compress,
        )
    illustrate(folder, view, Illustration(settings.formats, signed=settings.signed), chosen, slugs)
    document["outputs"] = hash_outputs(folder, overlays)
    seconds = document["run"]["seconds"]
    seconds["write"] = time.perf_counter() - begin
    seconds["total"] = sum(value for key, value in seconds.items() if key != "total")
    document["run"]["peak_memory_mib"] = explained.peak_memory_mib
    summary.write(folder, document)
    return document


def write_failure(
    folder: Path,
    case: str,
    started: str,
    error: HirescamError,
    settings: Settings,
    facts: RunFacts,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Write the summary.json of a case that failed after `seconds`, and nothing else; returns the summary."""
    document = summary.failure_document(
        case,
        started,
        error,
        model=summary.model_section(facts.spec, facts.weights_sha256),
        run=_run_section(facts, settings, (), {"total": seconds}),
    )
    summary.write(folder, document)
    return document


_STAGES = ("read", "prepare", "network", "explain", "write", "total")


def _run_section(
    facts: RunFacts, settings: Settings, fallbacks: tuple[str, ...], seconds: Mapping[str, float | None]
) -> dict[str, Any]:
    return {
        "version": __version__,
        "torch": facts.torch_version,
        "device": facts.device,
        "device_requested": settings.device,
        "precision": facts.precision,
        "precision_requested": settings.precision,
        "drift": None if facts.drift is None else {"logits": facts.drift.logits, "maps": facts.drift.maps},
        "fallbacks": [*facts.fallbacks, *fallbacks],
        "params_hash": facts.params_hash,
        "settings": settings.stated(),
        "peak_memory_mib": None,
        "seconds": {stage: seconds.get(stage) for stage in _STAGES},
    }


def _document(
    facts: RunFacts, prepared: Prepared, explained: Explained, settings: Settings
) -> dict[str, Any]:
    explanation, spec = explained.explanation, facts.spec
    coverage = prepared.model_input.coverage
    return {
        "schema_version": summary.SCHEMA_VERSION,
        "status": "ok",
        "case": prepared.scan.case,
        "started": prepared.started,
        "error": None,
        "warnings": [
            *prepared.volume.provenance.warnings,
            *prepared.model_input.warnings,
            *case_warnings(spec, prepared),
            *drift_warnings(facts),
        ],
        "input": summary.input_section(prepared.volume, settings.identifiers, prepared.scan.volume),
        "model": summary.model_section(spec, facts.weights_sha256),
        "run": _run_section(
            facts, settings, explanation.fallbacks, {**prepared.seconds, **explained.seconds}
        ),
        "coverage": {
            "scan_seen_fraction": coverage.scan_seen_fraction,
            "padding_fraction": coverage.padding_fraction,
        },
        "placement": facts.placement,
        "target_layer": facts.target_layer,
        "affines_ras": {name: summary.matrix(affine) for name, affine in explained.affines_ras.items()},
        "network": {
            "shape_zyx": list(spec.preparation.shape_zyx),
            "hu_window": list(spec.preparation.hu_window),
        },
        "labels": summary.label_entries(
            explanation,
            spec,
            threshold=settings.threshold,
            map_affine_ras=explained.affines_ras[facts.placement],
            scan=prepared.volume.grid,
            padding=explained.padding,
        ),
        "outputs": [],
    }


def model_warnings(spec: ModelSpec) -> list[str]:
    """What must be said whenever this model is used."""
    if not spec.demonstration:
        return []
    return [
        f"demonstration-model: {spec.name} was trained on synthetic phantoms only and knows nothing of "
        "patients; use it to see how hirescam works, never to read a scan."
    ]


def drift_warnings(facts: RunFacts) -> list[str]:
    """Warning where the precision in effect moves the logits noticeably."""
    if facts.drift is None or facts.drift.logits <= _NOTICED_DRIFT:
        return []
    return [
        f"precision-drift: in {facts.precision} the logits of this model were off by up to "
        f"{facts.drift.logits:.2g} and cells of its maps by {facts.drift.maps:.1%} of the map's maximum on a test "
        "input; --precision fp32 is exact."
    ]


def case_warnings(spec: ModelSpec, prepared: Prepared) -> list[str]:
    """Warnings of a case that follow from the model and from how much of the scan it saw."""
    warnings = model_warnings(spec)
    coverage = prepared.model_input.coverage
    if coverage.scan_seen_fraction < _LITTLE_SEEN:
        warnings.append(
            f"little-seen: the network saw {coverage.scan_seen_fraction:.0%} of the scan's voxels; "
            "the rest was cropped."
        )
    if coverage.padding_fraction > _LITTLE_SEEN:
        warnings.append(f"much-padding: {coverage.padding_fraction:.0%} of the network's input is padding.")
    return warnings
