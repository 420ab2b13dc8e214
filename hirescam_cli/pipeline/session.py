"""Loading a model onto its device, in the precision that takes effect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hirescam_cli.case.identity import params_hash
from hirescam_cli.case.record import DriftFound, MethodFacts
from hirescam_cli.device import resolve_device, resolve_precision
from hirescam_cli.errors import ModelError
from hirescam_cli.explain import trial
from hirescam_cli.explain.drift import REFUSAL_LOGITS, Drift, measure
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.ensemble import Ensemble, Explainer
from hirescam_cli.explain.feed import Feed
from hirescam_cli.explain.method import AblationMethod, PathMethod
from hirescam_cli.explain.shortage import memory_needed
from hirescam_cli.explain.straight import refuse_cut
from hirescam_cli.label_choice import LabelChoice
from hirescam_cli.model.cells import refuse_misplaced
from hirescam_cli.model.contract import Network
from hirescam_cli.model.load import LoadedModel, load_model
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.options import Value
from hirescam_cli.pipeline.records import RunFacts, Session
from hirescam_cli.registries import METHODS
from hirescam_cli.results.write import check_identifiers, formats_of
from hirescam_cli.settings import Settings


def open_session(settings: Settings, spec: ModelSpec) -> Session:
    """Load the model and put it on its device. Raises ModelError, UnavailableError or UsageError."""
    LabelChoice.parse(settings.labels, spec.labels)
    formats_of(settings.formats)
    check_identifiers(settings.formats, settings.identifiers)
    methods = {name: METHODS.find(name) for name in settings.methods}
    device, fallbacks = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    model = load_model(spec, settings.weights)
    layer = model.target_layer if settings.target_layer is None else settings.target_layer
    if spec.preparation.shape is not None:
        model.network.place(layer, spec.preparation.shape, model.at)
    with memory_needed(device, f"the model {spec.name}"):
        engines, drift, precision_fallbacks = _engines_for(settings, model, layer, device, precision)
        refuse_misplaced(
            model.network, engines[0].feed.count, layer, trial.shape_of(spec.preparation), model.at
        )
    engine: Explainer = engines[0] if len(engines) == 1 else Ensemble(engines)
    options = options_told(settings, model)
    facts = RunFacts(
        spec=spec,
        weights_sha256=model.weights_sha256,
        members=model.member_sha256,
        params_hash=params_hash(options, spec.described(), model.weights_sha256, engine.precision),
        options=options,
        torch_version=str(torch.__version__),
        device=str(device),
        precision=engine.precision,
        fallbacks=fallbacks + precision_fallbacks,
        placement=settings.placement or model.placement,
        target_layer=layer,
        methods={
            name: MethodFacts(title=method.title, unit=method.unit, certificate="none", frozen=())
            for name, method in methods.items()
        },
        drift=None if drift is None else DriftFound(logits=drift.logits, maps=drift.maps),
    )
    return Session(settings, facts, model, engine)


def options_told(settings: Settings, model: LoadedModel) -> dict[str, Value]:
    """The options that decide a case's content, by name; one that says what holds anyway counts as not given."""
    spec, told = model.spec, settings.identity()
    grids = {entry.grid for entry in formats_of(settings.formats) if entry.grid is not None} or {"scan"}
    usual: dict[str, tuple[bool, Value]] = {
        "grid": (grids == {settings.grid}, None),
        "placement": (settings.placement == model.placement, None),
        "target-layer": (settings.target_layer == model.target_layer, None),
        "threshold": (set(spec.thresholds) == {settings.threshold}, None),
        "freeze": (not spec.freeze, "default"),
    }
    return told | {name: default for name, (holds, default) in usual.items() if holds}


def _try_out(exact: Engine, plain: Callable[[], Engine], settings: Settings, spec: ModelSpec) -> bool:
    """Refuse, before any scan is read, a network that does not fit its description or cannot be explained so.

    `exact`: in fp32; `plain()`: the same without rewriting. Returns whether the rewriting may stay.
    """
    exact.check(settings.methods)
    shape, labels = trial.shape_of(spec.preparation), len(spec.labels)
    methods = [METHODS.find(name) for name in settings.methods]
    if any(isinstance(method, PathMethod) for method in methods):
        alike = exact.contract.by_slices
        exact.feed.air((exact.feed.slab if alike else shape[0], *shape[1:]), alike=alike)
    replays = any(isinstance(method, PathMethod | AblationMethod) for method in methods)
    try:
        known = trial.dry_run(exact, shape, labels)
        rewriting = trial.rewriting_holds(exact, plain, shape)
        if known is not None and exact.closed_form:
            return rewriting
        engine = exact if rewriting else plain()
        _, gradients = trial.run(engine, shape, labels, replays=replays)
    except ModelError as error:
        if spec.preparation.shape is None and error.code == "model-input":
            # What the network does not take is a size that no scan may ever have: what was not tried is not rewritten.
            return False
        raise
    if gradients is not None:
        refuse_cut(gradients, engine.target_layer)
    return rewriting


def _engines_for(
    settings: Settings, model: LoadedModel, layer: str, device: torch.device, precision: str
) -> tuple[tuple[Engine, ...], Drift | None, tuple[str, ...]]:
    """An engine for each member in the precision that takes effect, the largest measured drift, and what they depart
    from.

    ModelError for what `_try_out` refuses, and if the precision was asked for by name and moves the logits too far.
    """
    preparation = model.spec.preparation
    freeze = model.spec.freeze if settings.freeze == "default" else ()

    def engine(network: Network, precision: str, rewriting: bool) -> Engine:
        return Engine(
            network,
            Feed.of(preparation, network.inputs),
            target_layer=layer,
            at=model.spec.at,
            device=device,
            precision=precision,
            chunk=settings.chunk,
            freeze=freeze,
            rewriting=rewriting,
        )

    def build(precision: str, rewriting: bool) -> tuple[Engine, ...]:
        return tuple(engine(network, precision, rewriting) for network in model.members)

    references = build("fp32", True)
    rewriting = _try_out(references[0], lambda: engine(model.network, "fp32", False), settings, model.spec)
    if not rewriting:
        references = build("fp32", False)
    if precision == "fp32":
        return references, None, ()
    engines = build(precision, rewriting)
    if engines[0].precision == "fp32":
        return references, None, engines[0].fallbacks
    shape = trial.shape_of(preparation)
    if trial.trunk_follows(references[0], shape):
        why = f"modules of the trunk come after {layer}"
        return references, None, (f"precision fp32 instead of {precision}: {why}",)
    try:
        drifts = [measure(engine, exact, shape) for engine, exact in zip(engines, references, strict=True)]
    except NotImplementedError as error:
        moved = f"{precision} is not available for every layer on {device} ({error})"
    else:
        drift = Drift(max(one.logits for one in drifts), max(one.maps for one in drifts))
        if not drift.refused:
            return engines, drift, engines[0].fallbacks
        moved = (
            f"in {precision} the logits are off by {drift.logits:.2g} on a test input, of {REFUSAL_LOGITS} at most"
            if np.isfinite(drift.logits)
            else f"in {precision} the network's values overflow on a test input"
        )
    if settings.precision == "auto":
        return references, None, (f"precision auto: {moved}, so fp32 is used",)
    raise ModelError(
        f"The model {model.spec.name} cannot be run in {precision}: {moved}.",
        hint="Use --precision fp32, or auto, which falls back to it.",
        code="precision-drift",
    )
