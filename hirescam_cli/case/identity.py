"""Whether a case is done: what it must have been made with, and what an earlier run left of it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli import __version__
from hirescam_cli.case.listing import read_case
from hirescam_cli.case.publish import refuse_foreign, refuse_nested
from hirescam_cli.case.record import Case, FailedCase, Output
from hirescam_cli.choices import Existing
from hirescam_cli.durable import read_back
from hirescam_cli.errors import OutputCreateError, UsageError
from hirescam_cli.options import BY_NAME, Value

# Options that decide only what is drawn from the maps, which `hirescam render` takes too.
_DRAWING = ("labels", "grid", "format", "signed", "compress")
_HINT = "Choose another --output, repeat the options, or replace those cases with --existing overwrite."


def params_hash(
    settings: Mapping[str, Value], model: Mapping[str, object], weights_sha256: str, precision: str
) -> str:
    """SHA-256 over what decides a case's content: options, model, weights, the precision that took effect, and the
    version of hirescam."""
    document = {
        "settings": settings,
        "model": model,
        "weights": weights_sha256,
        "precision": precision,
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True, allow_nan=False).encode()).hexdigest()


@dataclass(frozen=True)
class Identity:
    """What a case must have been made with to count as done.

    `params_hash`: see the function. The rest, of which a record tells too, says what changed: `settings` are the
    options by name, `effective` what is not an option as given but as it took effect.
    """

    params_hash: str
    settings: Mapping[str, Value]
    effective: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Finished:
    """A whole case of an earlier run: done if it is of this volume of an input with this fingerprint, and intact."""

    folder: Path
    fingerprint: str
    volume: int = 0
    verify: bool = False

    def intact(self) -> bool:
        """Whether every output is there with the right size (and, when verifying, the right content)."""
        case = read_case(self.folder, self.folder.name)
        return isinstance(case, Case) and all(self._holds(output) for output in case.outputs)

    def _holds(self, output: Output) -> bool:
        path = self.folder / output.path
        try:
            if not path.is_file() or path.stat().st_size != output.bytes:
                return False
            return not self.verify or read_back(path).sha256 == output.sha256
        except OSError:
            return False


def finished_cases(
    out: Path, cases: Iterable[str], identity: Identity, existing: Existing, verify: bool
) -> dict[str, Finished]:
    """Which of `cases` an earlier run finished, by case.

    With "skip" a finished case of other options is a UsageError that names what changed; with "error" any
    finished or failed case is an OutputCreateError; with "overwrite" nothing counts as finished. Failed cases
    never do.
    """
    found: dict[str, Finished] = {}
    for case in cases:
        record = None if existing == "overwrite" else read_case(out / case, case)
        # What was read as a case need not be read again to be known for one.
        (refuse_foreign if record is None else refuse_nested)(out, case)
        if record is None or (isinstance(record, FailedCase) and record.error.code == "summary-unreadable"):
            continue
        if existing == "error":
            raise OutputCreateError(
                f"The output already holds the case {case}.",
                hint="Choose another --output, or --existing skip or overwrite.",
                code="case-exists",
                stage="plan",
            )
        if isinstance(record, FailedCase):
            if record.error.code == "summary-version":
                raise _other_options(case, record.error.message)
            continue
        if record.run.params_hash != identity.params_hash:
            raise _changed(out / case, case, record, identity)
        found[case] = Finished(out / case, record.input.fingerprint, record.input.volume, verify)
    return found


def effective_of(case: Case) -> dict[str, str]:
    """What a case was made with as it took effect, by what messages call it."""
    return {
        "--model": case.model.name,
        "the model's description": case.model.file_sha256 or "",
        "--weights": case.model.weights_sha256 or "",
        "--placement": case.placement,
        "--target-layer": case.target.layer,
        "--precision": case.run.precision,
        "hirescam's version": case.run.version,
    }


def _changed(folder: Path, name: str, case: Case, identity: Identity) -> UsageError:
    """The refusal of a case that was made with other options: it says which, and whether `render` could do."""
    changes = _changes(case, identity)
    what = "; ".join(changes.values()) or "what changed it does not say"
    if not changes or not changes.keys() <= {f"--{option}" for option in _DRAWING}:
        return _other_options(name, what)
    command = ["hirescam", "render", str(folder), "--scan", "INPUT"]
    for option in _DRAWING:
        if option in identity.settings and identity.settings[option] != BY_NAME[option].default:
            command += _as_argument(option, identity.settings[option])
    hint = f"{shlex.join(command)} adds them without the network. Else {_HINT[0].lower()}{_HINT[1:]}"
    return _other_options(name, what, hint)


def _as_argument(option: str, value: Value) -> list[str]:
    if isinstance(value, bool):
        return [f"--{option}"] if value else []
    return [f"--{option}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]


def _changes(case: Case, identity: Identity) -> dict[str, str]:
    """What is different, as far as the record tells: a sentence by what messages call it."""
    before = effective_of(case)
    changed = {
        name: f"{name} was {_shown(before[name])} and is {_shown(value)}"
        for name, value in identity.effective
        if before[name] != value
    }
    for name, value in identity.settings.items():
        if name in case.run.settings and case.run.settings[name] != value:
            sentence = f"--{name} was {_shown(case.run.settings[name])} and is {_shown(value)}"
            changed.setdefault(f"--{name}", sentence)
    return changed


def _other_options(case: str, what: str, hint: str = _HINT) -> UsageError:
    return UsageError(
        f"The output holds the case {case} of a run with other options: {what.removesuffix('.')}.",
        hint=hint,
        code="options-changed",
    )


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text[:12] + "..." if len(text) == 64 else text
