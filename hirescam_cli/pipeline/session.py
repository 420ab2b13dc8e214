"""Loading a model onto its device, in the precision that takes effect."""

from __future__ import annotations

import numpy as np
import torch

from hirescam_cli.case.identity import params_hash
from hirescam_cli.case.record import DriftFound, MethodFacts
from hirescam_cli.device import resolve_device, resolve_precision
from hirescam_cli.errors import ModelError
from hirescam_cli.explain.drift import REFUSAL_LOGITS, Drift, measure
from hirescam_cli.explain.engine import Engine
from hirescam_cli.explain.feed import Feed
from hirescam_cli.explain.shortage import memory_needed
from hirescam_cli.label_choice import LabelChoice
from hirescam_cli.model.load import LoadedModel, load_model
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline.records import RunFacts, Session
from hirescam_cli.registries import METHODS
from hirescam_cli.results.write import check_identifiers, formats_of
from hirescam_cli.settings import Settings

# What a precision is measured on where the preparation does not fix the size of the input.
_USUAL_SHAPE = (96, 192, 192)


def open_session(settings: Settings, spec: ModelSpec) -> Session:
    """Load the model and put it on its device. Raises ModelError, UnavailableError or UsageError."""
    LabelChoice.parse(settings.labels, spec.labels)
    formats_of(settings.formats)
    check_identifiers(settings.formats, settings.identifiers)
    methods = {name: METHODS.find(name) for name in settings.methods}
    device, fallbacks = resolve_device(settings.device)
    precision = resolve_precision(settings.precision, device)
    model = load_model(spec, settings.weights)
    layer = settings.target_layer or model.target_layer
    if spec.preparation.shape is not None:
        model.network.cells(layer, spec.preparation.shape)
    with memory_needed(device, f"the model {spec.name}"):
        engine, drift, precision_fallbacks = _engine_for(settings, model, layer, device, precision)
    engine.check(settings.methods)
    facts = RunFacts(
        spec=spec,
        weights_sha256=model.weights_sha256,
        params_hash=params_hash(
            settings.identity(), spec.described(), model.weights_sha256, engine.precision
        ),
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


def _engine_for(
    settings: Settings, model: LoadedModel, layer: str, device: torch.device, precision: str
) -> tuple[Engine, Drift | None, tuple[str, ...]]:
    """The engine in the precision that takes effect, its measured drift, and what it departs from.

    ModelError if the precision was asked for by name and moves the logits too far.
    """
    preparation = model.spec.preparation

    def build(precision: str) -> Engine:
        return Engine(
            model.network,
            Feed.of(preparation, model.network.inputs),
            target_layer=layer,
            at=model.spec.at,
            device=device,
            precision=precision,
            chunk=settings.chunk,
        )

    engine = build(precision)
    if engine.precision == "fp32":
        return engine, None, engine.fallbacks
    reference = build("fp32")
    drift = measure(engine, reference, preparation.shape or _USUAL_SHAPE)
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
