"""Whether a model file and its weights can be explained, and how faithfully: each check with a verdict and a remedy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hirescam_cli.case.evidence import COMPLETE_RESIDUAL
from hirescam_cli.device import resolve_device
from hirescam_cli.errors import HirescamError
from hirescam_cli.explain import trial
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.explain.measured import measure_cells
from hirescam_cli.explain.straight import Straightness, refuse_cut
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.memory import PeakMemory
from hirescam_cli.model.load import LoadedModel, load_model
from hirescam_cli.model.spec import NORMALISERS, ModelSpec, load_spec
from hirescam_cli.prepare import prepare
from hirescam_cli.volume import Volume

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and what to do about it unless that is well."""

    name: str
    verdict: Verdict
    found: str
    remedy: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All checks of a model. `figures`: what was measured, for scripts; unknown ones are None."""

    model: str
    checks: tuple[Check, ...]
    figures: dict[str, object] = field(default_factory=dict)

    @property
    def explainable(self) -> bool:
        """Whether nothing failed."""
        return all(check.verdict != "failed" for check in self.checks)


class _Case(NamedTuple):
    """What the network is tried on: positions of a made-up body or of a scan, and what they are."""

    positions: Voxels
    padding: NDArray[np.bool_]
    shape: Shape3
    what: str


def diagnose(
    name_or_file: str,
    weights: Sequence[Path] = (),
    *,
    scan: Volume | None = None,
    device: str = "auto",
    target_layer: str | None = None,
) -> Diagnosis:
    """Look at a model in every respect that its maps depend on. A check that fails ends what depends on it.

    Raises UnavailableError for a device that is not there.
    """
    where, _ = resolve_device(device)
    checks: list[Check] = []
    figures: dict[str, object] = {}
    name = Path(name_or_file).stem
    try:
        spec = load_spec(name_or_file)
        name = spec.name
        checks.append(
            Check("model file", "ok", f"{len(spec.labels)} labels, architecture {spec.architecture}")
        )
        model = load_model(spec, weights)
        parameters = sum(tensor.numel() for tensor in model.network.module.parameters())
        members = f", {len(model.members)} members" if len(model.members) > 1 else ""
        checks.append(Check("weights", "ok", f"all names and shapes fit, {parameters:,} parameters{members}"))
        if target_layer is not None:
            spec = replace(spec, target_layer=target_layer)
            model = replace(model, spec=spec)
        case = _case(model, scan, where)
        _network(model, _chosen(model, where, case.shape), case, checks, figures)
    except HirescamError as error:
        stage = ("model file", "weights")[len(checks)] if len(checks) < 2 else "network"
        checks.append(Check(stage, "failed", error.message, error.hint))
    return Diagnosis(name, tuple(checks), figures)


def _chosen(model: LoadedModel, device: torch.device, shape: Shape3) -> Engine:
    """An engine that answers what the network itself does. Raises ModelError where none does."""
    engine = _engine(model, device)

    def plain() -> Engine:
        return _engine(model, device, rewriting=False)

    return engine if trial.rewriting_holds(engine, plain, shape) else plain()


def _engine(
    model: LoadedModel, device: torch.device, freeze: Sequence[str] | None = None, rewriting: bool = True
) -> Engine:
    spec = model.spec
    return Engine(
        model.network,
        Feed.of(spec.preparation, model.network.inputs),
        target_layer=model.target_layer,
        at=spec.at,
        device=device,
        freeze=spec.freeze if freeze is None else freeze,
        rewriting=rewriting,
    )


def _case(model: LoadedModel, scan: Volume | None, device: torch.device) -> _Case:
    engine = _engine(model, device)
    if scan is not None:
        found = prepare(scan, model.spec.preparation)
        positions = engine.feed.positions(found.array_ijk)
        return _Case(positions, found.padding_groups(engine.feed.slab), found.grid.shape, "the scan")
    shape = trial.shape_of(model.spec.preparation)
    positions = trial.made_up(engine, shape)
    whole = shape[0] // engine.feed.slab
    part = "" if len(positions) == whole else f" ({len(positions)} of {whole} positions)"
    return _Case(positions, np.zeros(len(positions), dtype=np.bool_), shape, f"a made-up body{part}")


def _network(
    model: LoadedModel, engine: Engine, case: _Case, checks: list[Check], figures: dict[str, object]
) -> None:
    spec = model.spec
    found, gradients = trial.run(engine, case.shape, len(spec.labels), replays=False)
    checks.append(
        Check("input", "ok", f"{' x '.join(map(str, case.shape))} voxels, axes {spec.preparation.axes}")
    )
    checks.append(Check("logits", "ok", f"{len(spec.labels)} logits for {len(spec.labels)} labels"))
    target = f"{engine.target_layer} ({engine.at}): {list(found.target)}, run once"
    checks.append(Check("target layer", "ok", target))
    explanation, seconds, memory = _timed(engine, case)
    checks.append(_certificate(model, engine, case, explanation, figures))
    checks.append(_freezing(spec, explanation))
    checks.append(_gradients(engine, gradients, figures))
    checks.append(_cells(model, engine, case, explanation, figures))
    checks.append(_again(engine, case, explanation, figures))
    figures.update(seconds=seconds, peak_memory_mib=memory)
    size = "" if memory is None else f", peak memory {memory:,.0f} MiB"
    checks.append(Check("cost", "ok", f"{seconds:.1f} s for {case.what} with all maps{size}"))


def _timed(engine: Engine, case: _Case) -> tuple[Explanation, float, float | None]:
    memory, begin = PeakMemory(), time.perf_counter()
    explanation = _explained(engine, case)
    engine.synchronize()
    return explanation, time.perf_counter() - begin, memory.mib()


def _explained(engine: Engine, case: _Case) -> Explanation:
    return engine.explain(case.positions, case.padding, ("hirescam",))


def _residual(explanation: Explanation) -> float:
    """The largest closure error of any label."""
    sums = explanation.cams["hirescam"].astype(np.float64).sum(axis=(1, 2, 3))
    errors = np.abs(sums + explanation.biases - explanation.logits)
    return float((errors / np.maximum(1.0, np.abs(explanation.logits))).max())


def _certificate(
    model: LoadedModel, engine: Engine, case: _Case, explanation: Explanation, figures: dict[str, object]
) -> Check:
    residual = _residual(explanation)
    kind = "none" if residual > COMPLETE_RESIDUAL else "frozen" if explanation.frozen else "exact"
    figures.update(certificate=kind, residual=residual, frozen=list(explanation.frozen))
    found = f"{kind}: map part and bias part leave {residual:.1e} of a logit at most"
    if kind != "none":
        held = f", given {', '.join(explanation.frozen)}" if explanation.frozen else ""
        return Check("certificate", "ok", found + held)
    mended = _explained(_engine(model, engine.device, NORMALISERS, engine.rewriting), case)
    if _residual(mended) <= COMPLETE_RESIDUAL:
        names = ", ".join(f'"{name}"' for name in mended.frozen)
        remedy = f"Hold its normalisers constant: [explanation] freeze = [{names}] makes it complete."
    else:
        remedy = (
            "What follows the target is not piecewise linear. Choose a layer nearer to the logits, or --method "
            "layer-ig, whose maps account for the logit less that of air."
        )
    return Check("certificate", "warning", found, remedy)


def _freezing(spec: ModelSpec, explanation: Explanation) -> Check:
    idle = [kind for kind in spec.freeze if kind not in explanation.frozen]
    if not idle:
        held = ", ".join(explanation.frozen) or "nothing"
        return Check("normalisers", "ok", f"held constant: {held}")
    return Check(
        "normalisers",
        "warning",
        f"{', '.join(idle)}: named in freeze, but not met above the target",
        "Take it out of [explanation] freeze, or choose a target below it.",
    )


def _gradients(engine: Engine, gradients: Straightness | None, figures: dict[str, object]) -> Check:
    if gradients is None:
        return Check("gradients", "ok", "not needed: the head is linear and its weights are the gradients")
    figures.update(gradient_error=gradients.error)
    try:
        refuse_cut(gradients, engine.target_layer)
    except HirescamError as error:
        return Check("gradients", "failed", error.message, error.hint)
    if not gradients.sound:
        return Check(
            "gradients",
            "warning",
            f"finite differences do not settle (off by {gradients.error:.1%}), so a cut cannot be excluded",
            "See the certificate: where it is complete, nothing is missing.",
        )
    return Check("gradients", "ok", f"within {gradients.error:.1%} of finite differences")


def _cells(
    model: LoadedModel, engine: Engine, case: _Case, explanation: Explanation, figures: dict[str, object]
) -> Check:
    declared = model.network.place(engine.target_layer, case.shape, model.at)
    measured = measure_cells(engine, declared, case.shape)
    figures.update(
        declared={"stride": list(declared.stride), "offset": list(declared.offset)},
        measured={"stride": list(measured.stride), "offset": list(measured.offset)},
        cells=list(explanation.cells),
    )
    said = f"stride {_shown(declared.stride)}, offset {_shown(declared.offset)} voxels"
    if measured.differs(declared):
        return Check(
            "cells",
            "failed",
            f"declared: {said}; measured: stride {_shown(measured.stride)}, offset {_shown(measured.offset)}",
            "Correct `cells` of the architecture: maps would lie in the wrong place.",
        )
    if not measured.complete:
        return Check(
            "cells",
            "warning",
            f"{said}, as declared; this could not be measured along every axis",
            "Look at a map of a scan with a known finding before trusting the place.",
        )
    return Check("cells", "ok", f"{said}, as measured")


def _shown(values: Sequence[float | None]) -> str:
    return "(" + ", ".join("?" if value is None else f"{round(value, 2):g}" for value in values) + ")"


def _again(engine: Engine, case: _Case, first: Explanation, figures: dict[str, object]) -> Check:
    second = _explained(engine, case)
    same = np.array_equal(first.logits, second.logits) and all(
        np.array_equal(first.cams[name], second.cams[name]) for name in first.cams
    )
    figures.update(deterministic=same)
    if same:
        return Check("determinism", "ok", "the same bits a second time")
    apart = float(np.abs(first.logits - second.logits).max())
    return Check(
        "determinism",
        "warning",
        f"a second pass gave other bits (logits differ by {apart:.1e})",
        "Some layer is random or accumulates in any order; results cannot be repeated to the bit.",
    )
