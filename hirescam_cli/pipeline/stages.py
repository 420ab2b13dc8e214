"""The stages of a case: reading and writing need no network, explaining no files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np

from hirescam_cli.case import evidence
from hirescam_cli.case.document import dump
from hirescam_cli.case.publish import SUMMARY
from hirescam_cli.case.record import Case, CaseError, FailedCase
from hirescam_cli.case.view import CaseView
from hirescam_cli.errors import HirescamError
from hirescam_cli.io import read
from hirescam_cli.io.scan import Scan
from hirescam_cli.label_choice import LabelChoice
from hirescam_cli.memory import PeakMemory
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline import assemble
from hirescam_cli.pipeline.records import Explained, Prepared, RunFacts, Session
from hirescam_cli.prepare import prepare
from hirescam_cli.results.format import Request, Style
from hirescam_cli.results.nifti import write_exact_maps
from hirescam_cli.results.write import check_kinds, check_volume, told, write_results
from hirescam_cli.settings import Settings


def now() -> str:
    """The time of this machine with its offset from UTC, ISO 8601, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def check_scans(scans: Sequence[Scan], settings: Settings) -> None:
    """Raise UsageError where a format that is asked for can be written of none of the scans."""
    check_kinds(settings.formats, [scan.kind for scan in scans])


def read_case(scan: Scan, spec: ModelSpec, settings: Settings) -> Prepared:
    """Read a scan and prepare it for the network of `spec`. Raises ScanError. Imports no torch."""
    started, begin = now(), time.perf_counter()
    volume = read(scan, settings.read)
    check_volume(settings.formats, volume)
    middle = time.perf_counter()
    model_input = prepare(volume, spec.preparation)
    seconds = {"read": middle - begin, "prepare": time.perf_counter() - middle}
    return Prepared(scan, volume, model_input, started, seconds)


def explain_prepared(session: Session, prepared: Prepared) -> Explained:
    """Run the network on a prepared scan and compute every label's maps."""
    memory = PeakMemory()
    model_input, engine, facts = prepared.model_input, session.engine, session.facts
    explanation = engine.explain(
        engine.feed.positions(model_input.array_ijk),
        model_input.padding_groups(engine.feed.slab),
        session.settings.methods,
    )
    middle = time.perf_counter()
    shape, cells = model_input.grid.shape, explanation.cells
    model, layer = session.model, facts.target_layer
    cell_affine = model.cell_affine(layer, facts.placement, cells, shape)
    padding = evidence.padding_weights(cell_affine, cells, model_input.edges)
    affines = model.map_affines(layer, cells, shape, model_input.affine_ras)
    network, maps = (explanation.seconds[stage] for stage in ("network", "explain"))
    seconds = {"network": network, "explain": maps + time.perf_counter() - middle}
    return Explained(explanation, affines, padding, seconds, memory.mib())


def write_case(
    folder: Path, facts: RunFacts, prepared: Prepared, explained: Explained, settings: Settings
) -> Case:
    """Write a case into the existing, empty `folder`, summary.json last; returns its record."""
    begin = time.perf_counter()
    case = assemble.case(facts, prepared, explained, settings)
    cams = explained.explanation.cams
    affine_ras = explained.affines_ras[facts.placement]
    exact = write_exact_maps(folder, cams, affine_ras, placement=facts.placement, compress=settings.compress)
    outputs = told(folder, "nifti", exact)
    native = {method: np.moveaxis(maps, 0, -1) for method, maps in cams.items()}
    view = CaseView(prepared.volume, case, native)
    chosen = LabelChoice.parse(settings.labels, facts.spec.labels).choose(case.labels)
    style = Style(settings.grid, None, settings.compress, settings.signed, seg_fraction=settings.seg_fraction)
    outputs += write_results(settings.formats, Request(folder, view, view, chosen, style))
    seconds = msgspec.structs.replace(case.run.seconds, write=time.perf_counter() - begin)
    run = msgspec.structs.replace(case.run, seconds=assemble.with_total(seconds))
    ordered = tuple(sorted(outputs, key=lambda output: output.path))
    return save(folder, msgspec.structs.replace(case, outputs=ordered, run=run))


def write_failure(
    folder: Path,
    case: str,
    started: str,
    error: HirescamError,
    settings: Settings,
    facts: RunFacts,
    seconds: float | None = None,
) -> FailedCase:
    """Write the summary.json of a case that failed after `seconds`, and nothing else; returns its record."""
    failed = FailedCase(
        schema_version=2,
        case=case,
        started=started,
        error=CaseError.of(error),
        model=assemble.model(facts.spec, facts.weights_sha256),
        run=assemble.run(facts, settings, (), {} if seconds is None else {"total": seconds}),
    )
    (folder / SUMMARY).write_bytes(dump(failed))
    return failed


def save(folder: Path, case: Case) -> Case:
    """Write summary.json into a case folder; returns the record."""
    (folder / SUMMARY).write_bytes(dump(case))
    return case
