"""The stages of a case that a run strings together, as values, so that tests can replace them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hirescam_cli import __version__, pipeline
from hirescam_cli.case.identity import Identity
from hirescam_cli.case.record import Case, FailedCase
from hirescam_cli.errors import HirescamError
from hirescam_cli.io import fingerprint as digests
from hirescam_cli.io.scan import Scan
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.pipeline import Explained, Prepared, RunFacts, Session
from hirescam_cli.settings import Settings


def input_fingerprint(scan: Scan) -> str:
    """Fingerprint of a scan's files without decoding them. Raises OSError."""
    return digests.fingerprint(scan.files)


def prepared_fingerprint(prepared: Prepared) -> str:
    """The fingerprint that reading a scan found."""
    return prepared.volume.provenance.fingerprint


class WriteFailure(Protocol):
    """`pipeline.write_failure`."""

    def __call__(
        self,
        folder: Path,
        case: str,
        started: str,
        error: HirescamError,
        settings: Settings,
        facts: RunFacts,
        seconds: float | None = None,
    ) -> FailedCase:
        """Write why a case failed."""


@dataclass(frozen=True)
class Stages:
    """The functions of `pipeline`, and how an input is recognised again.

    `read_case`, `fingerprint` and `fingerprint_of` are called in reader processes: they must be importable by
    name.
    """

    open_session: Callable[[Settings, ModelSpec], Session] = pipeline.open_session
    read_case: Callable[[Scan, ModelSpec, Settings], Prepared] = pipeline.read_case
    explain_prepared: Callable[[Session, Prepared], Explained] = pipeline.explain_prepared
    write_case: Callable[[Path, RunFacts, Prepared, Explained, Settings], Case] = pipeline.write_case
    write_failure: WriteFailure = pipeline.write_failure
    fingerprint: Callable[[Scan], str] = input_fingerprint
    fingerprint_of: Callable[[Prepared], str] = prepared_fingerprint


STAGES = Stages()


def identity_of(facts: RunFacts) -> Identity:
    """What a finished case must have been made with to count as done in a run with these facts."""
    return Identity(
        facts.params_hash,
        facts.options,
        (
            ("--model", facts.spec.name),
            ("the model's description", facts.spec.file_sha256 or ""),
            ("--weights", facts.weights_sha256),
            ("--placement", facts.placement),
            ("--target-layer", facts.target_layer),
            ("--precision", facts.precision),
            ("hirescam's version", __version__),
        ),
    )
