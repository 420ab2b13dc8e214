"""What an earlier run left, and whether it can be trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hirescam_cli.errors import OutputCreateError, UsageError
from hirescam_cli.options import Existing
from hirescam_cli.output.publish import SUMMARY, refuse_foreign

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Identity:
    """What a case must have been made with to count as done.

    `params_hash`: hash over everything that decides a case's content, the model and weights among it.
    `facts`: what of it a summary tells, to name what changed: dotted key of the summary, option that sets it,
    value of this run. `settings`: options of this run by name, as a summary's `run.settings` tells them.
    """

    params_hash: str
    facts: tuple[tuple[str, str, Any], ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Finished:
    """A whole case of an earlier run: done if it is of this volume of an input with this fingerprint, and intact."""

    folder: Path
    fingerprint: str
    volume: int = 0
    verify: bool = False

    def intact(self) -> bool:
        """Whether every output is there with the right size (and, when verifying, the right content)."""
        summary = read_summary(self.folder)
        return summary is not None and all(self._holds(output) for output in summary.get("outputs", ()))

    def _holds(self, output: Mapping[str, Any]) -> bool:
        path = self.folder / output["path"]
        try:
            if not path.is_file() or path.stat().st_size != output["bytes"]:
                return False
            return not self.verify or _sha256(path) == str(output["sha256"])
        except OSError:
            return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read_summary(folder: Path) -> dict[str, Any] | None:
    """The summary of a case folder; None if there is none or it cannot be understood."""
    try:
        document = json.loads((folder / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and "schema_version" in document else None


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
        refuse_foreign(out / case, case)
        if existing == "overwrite":
            continue
        summary = read_summary(out / case)
        if summary is None:
            continue
        if existing == "error":
            raise OutputCreateError(
                f"The output already holds the case {case}.",
                hint="Choose another --output, or --existing skip or overwrite.",
                code="case-exists",
                stage="plan",
            )
        if summary.get("status") == "ok":
            _refuse_other_options(case, summary, identity)
            fingerprint, volume = (_fact(summary, f"input.{key}") for key in ("fingerprint", "volume"))
            found[case] = Finished(out / case, str(fingerprint), int(volume or 0), verify)
    return found


def _refuse_other_options(case: str, summary: Mapping[str, Any], identity: Identity) -> None:
    if _fact(summary, "run.params_hash") == identity.params_hash:
        return
    changed = {
        option: f"{option} was {_shown(_fact(summary, key))} and is {_shown(value)}"
        for key, option, value in identity.facts
        if _fact(summary, key) != value
    }
    earlier = (summary.get("run") or {}).get("settings") or {}
    for name, value in identity.settings:
        if name in earlier and earlier[name] != value:
            sentence = f"--{name} was {_shown(earlier[name])} and is {_shown(value)}"
            changed.setdefault(f"--{name}", sentence)
    raise UsageError(
        f"The output holds the case {case} of a run with other options: "
        f"{'; '.join(changed.values()) or 'what changed, such as the description of the model, it does not say'}.",
        hint="Choose another --output, repeat the options, or replace those cases with --existing overwrite.",
        code="options-changed",
    )


def _fact(summary: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key, in which a number counts list items; the keys of a mapping at its end."""
    value: Any = summary
    for part in key.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        else:
            value = value[int(part)] if isinstance(value, list) and part.isdigit() and value else None
    return list(value) if isinstance(value, Mapping) else value


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text[:12] + "..." if len(text) == 64 else text
