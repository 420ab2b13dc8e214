"""Making the record of a case from what its stages found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from hirescam_cli import __version__
from hirescam_cli.case import evidence
from hirescam_cli.case.names import label_slugs
from hirescam_cli.case.record import (
    Case,
    Certificate,
    Coverage,
    Input,
    Label,
    LabelCode,
    MapEvidence,
    Matrix,
    MethodFacts,
    Model,
    Run,
    Seconds,
    Seen,
    Setting,
    Target,
)
from hirescam_cli.case.view import matrix
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.geometry import Affine, Grid
from hirescam_cli.identifiers import Identifiers, told_uid
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline.records import Explained, Prepared, RunFacts
from hirescam_cli.pipeline.warnings import case_warnings, drift_warnings
from hirescam_cli.placement import Placement
from hirescam_cli.registries import METHODS
from hirescam_cli.settings import Settings
from hirescam_cli.volume import Volume


def case(facts: RunFacts, prepared: Prepared, explained: Explained, settings: Settings) -> Case:
    """The record of a case that was explained, before anything of it is written."""
    explanation, model_input = explained.explanation, prepared.model_input
    found = labels(
        explanation,
        facts.spec,
        threshold=settings.threshold,
        map_affine_ras=explained.affines_ras[facts.placement],
        scan=prepared.volume.grid,
        padding=explained.padding,
    )
    seconds = {**prepared.seconds, **explained.seconds}
    about = run(facts, settings, explanation.fallbacks, seconds)
    return Case(
        schema_version=2,
        case=prepared.scan.case,
        started=prepared.started,
        error=None,
        warnings=(
            *prepared.volume.provenance.warnings,
            *model_input.warnings,
            *case_warnings(facts.spec, model_input.coverage),
            *drift_warnings(facts),
        ),
        input=input_of(prepared.volume, settings.identifiers, prepared.scan.volume),
        model=model(facts.spec, facts.weights_sha256, facts.members),
        run=msgspec.structs.replace(about, peak_memory_mib=explained.peak_memory_mib),
        coverage=Coverage(
            scan_seen_fraction=model_input.coverage.scan_seen_fraction,
            padding_fraction=model_input.coverage.padding_fraction,
        ),
        seen=Seen(
            shape=model_input.grid.shape,
            affine=matrix(model_input.affine_ras),
            window_hu=facts.spec.preparation.window_hu,
        ),
        target=Target(
            layer=explanation.target_layer,
            at=cast(Literal["output", "input"], explanation.at),
            cells=explanation.cells,
            affines=_matrices(explained.affines_ras),
        ),
        placement=facts.placement,
        methods={
            name: _certified(about, name, found, explanation.frozen) for name, about in facts.methods.items()
        },
        labels=found,
        outputs=(),
    )


def _matrices(affines_ras: Mapping[str, Affine]) -> dict[Placement, Matrix]:
    return {cast(Placement, name): matrix(affine) for name, affine in affines_ras.items()}


def _certified(
    about: MethodFacts, name: str, found: tuple[Label, ...], frozen: tuple[str, ...]
) -> MethodFacts:
    """A method with the certificate that its maps of this case bear out, if all of them are complete: "frozen" where
    its gradients take normalisers as constants, else "exact"."""
    # Whoever has explained has torch; who only reads and writes needs none.
    from hirescam_cli.explain.freezing import title as given

    held = frozen if METHODS.find(name).follows_gradients else ()
    complete = all(label.maps[name].complete for label in found)
    certificate: Certificate = ("frozen" if held else "exact") if complete else "none"
    return msgspec.structs.replace(
        about, title=given(about.title, held), certificate=certificate, frozen=held
    )


def input_of(volume: Volume, identifiers: Identifiers, number: int = 0) -> Input:
    """What was read; `number`: which volume, where the input holds several.

    The series UID is left out unless it is valid and may be told.
    """
    i, j, k = (int(n) for n in volume.array_ijk.shape)
    return Input(
        kind=volume.provenance.kind,
        fingerprint=volume.provenance.fingerprint,
        volume=number,
        shape=(i, j, k),
        spacing_mm=volume.spacing_mm,
        affine=matrix(volume.affine_ras),
        orientation=volume.orientation,
        series_uid=told_uid(volume.provenance.series_uid, identifiers),
        hu_min=float(volume.array_ijk.min()),
        hu_max=float(volume.array_ijk.max()),
    )


def model(spec: ModelSpec, weights_sha256: str | None, members: tuple[str, ...] = ()) -> Model:
    """Which network answered; `members`: SHA-256 of each file of weights."""
    return Model(
        name=spec.name,
        architecture=spec.architecture,
        weights_sha256=weights_sha256,
        file_sha256=spec.file_sha256,
        labels=len(spec.labels),
        demonstration=spec.demonstration,
        members=members if len(members) > 1 else (),
    )


def run(facts: RunFacts, settings: Settings, fallbacks: tuple[str, ...], seconds: Mapping[str, float]) -> Run:
    """How it was computed."""
    return Run(
        version=__version__,
        torch=facts.torch_version,
        device=facts.device,
        device_requested=settings.device,
        precision=facts.precision,
        precision_requested=settings.precision,
        drift=facts.drift,
        fallbacks=(*facts.fallbacks, *fallbacks),
        params_hash=facts.params_hash,
        settings=cast(dict[str, Setting], dict(facts.options)),
        peak_memory_mib=None,
        seconds=Seconds(**seconds),
    )


def with_total(seconds: Seconds) -> Seconds:
    """The stages with their sum."""
    parts = (seconds.read, seconds.prepare, seconds.network, seconds.explain, seconds.write)
    return msgspec.structs.replace(seconds, total=sum(part for part in parts if part is not None))


def _code(spec: ModelSpec, name: str) -> LabelCode | None:
    code = spec.codes.get(name)
    return None if code is None else LabelCode(scheme=code.scheme, value=code.value, meaning=code.meaning)


def labels(
    explanation: Explanation,
    spec: ModelSpec,
    *,
    threshold: float | None,
    map_affine_ras: Affine,
    scan: Grid,
    padding: NDArray[np.float64],
) -> tuple[Label, ...]:
    """Every label of the model with its logit, scores and the evidence of its maps.

    `map_affine_ras`: cell to RAS mm; `padding` [i, j, k]: share of each cell that is padding.
    """
    found = []
    probabilities, slugs = explanation.probabilities, label_slugs(spec.labels)
    for index, name in enumerate(spec.labels):
        limit = spec.thresholds[index] if threshold is None else threshold
        logit = float(explanation.logits[index])
        cams = {method: maps[index] for method, maps in explanation.cams.items()}
        scores = explanation.slice_scores
        pair = list(cams.values())[:2]
        found.append(
            Label(
                name=name,
                index=index,
                slug=slugs[name],
                logit=logit,
                probability=float(probabilities[index]),
                threshold=limit,
                positive=bool(probabilities[index] >= limit),
                member_logits=None
                if explanation.members is None
                else tuple(float(value) for value in explanation.members[:, index]),
                slice_scores=None if scores is None else tuple(float(value) for value in scores[index]),
                maps={
                    method: MapEvidence(
                        **evidence.certificate(
                            cam, float(explanation.biases_of(method)[index]), logit
                        )._asdict(),
                        padding_share=evidence.padding_share(cam, padding),
                        peak=evidence.peak(cam, map_affine_ras, scan),
                    )
                    for method, cam in cams.items()
                },
                agreement=evidence.agreement(pair[0], pair[1], map_affine_ras) if len(pair) == 2 else None,
                code=_code(spec, name),
            )
        )
    return tuple(found)
