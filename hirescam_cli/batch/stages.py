"""The stages of a case that a run strings together, as values, so that tests can replace them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hirescam_cli import __version__, pipeline
from hirescam_cli.batch.resume import Identity
from hirescam_cli.io import fingerprint as digests
from hirescam_cli.io.scan import Scan
from hirescam_cli.settings import Settings

if TYPE_CHECKING:
    from hirescam_cli.pipeline import Prepared, RunFacts


def input_fingerprint(scan: Scan) -> str:
    """Fingerprint of a scan's files without decoding them. Raises OSError."""
    return digests.fingerprint(scan.files)


def prepared_fingerprint(prepared: Prepared) -> str:
    """The fingerprint that reading a scan found."""
    return prepared.volume.provenance.fingerprint


@dataclass(frozen=True)
class Stages:
    """The functions of `pipeline`, and how an input is recognised again.

    `read_case`, `fingerprint` and `fingerprint_of` are called in reader processes: they must be importable by
    name.
    """

    open_session: Callable[..., Any] = pipeline.open_session
    read_case: Callable[..., Any] = pipeline.read_case
    explain_prepared: Callable[..., Any] = pipeline.explain_prepared
    write_case: Callable[..., Any] = pipeline.write_case
    write_failure: Callable[..., Any] = pipeline.write_failure
    fingerprint: Callable[[Scan], str] = input_fingerprint
    fingerprint_of: Callable[[Any], str] = prepared_fingerprint


STAGES = Stages()


def identity_of(facts: RunFacts, settings: Settings) -> Identity:
    """What a finished case must have been made with to count as done in a run with these facts."""
    threshold = facts.spec.thresholds[0] if settings.threshold is None else settings.threshold
    return Identity(
        facts.params_hash,
        (
            ("model.name", "--model", facts.spec.name),
            ("model.weights_sha256", "--weights", facts.weights_sha256),
            ("placement", "--placement", facts.placement),
            ("target_layer", "--target-layer", facts.target_layer),
            ("labels.0.maps", "--method", list(settings.methods)),
            ("labels.0.threshold", "--threshold", threshold),
            ("run.precision", "--precision", facts.precision),
            ("run.version", "hirescam's version", __version__),
        ),
        tuple(settings.stated().items()),
    )
