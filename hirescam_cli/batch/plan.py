"""From what discovery found to the cases that one run owns; every refusal is made before any network runs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hirescam_cli.case.publish import SUMMARY
from hirescam_cli.errors import HirescamError, NoInputError, ScanError, UsageError
from hirescam_cli.io.names import by_folder
from hirescam_cli.io.scan import Discovery, Ignored, Scan
from hirescam_cli.warning import Warning

RESERVED = (
    "batch.json", "predictions.csv", "log.jsonl", "index.html", "evaluation", "contact-sheet.png", "pushed.jsonl",
    ".hirescam.lock",
)  # fmt: skip
_CONTACT_SHEET = re.compile(r"contact-sheet-\d+\.png")
_APART = ".scan"
_TOLD_ONE_BY_ONE = 3
_LONGEST_CASE, _LONGEST_PART, _KEPT = 1024, 255, 120


@dataclass(frozen=True)
class Part:
    """Which share of the cases a run owns: every `count`-th of the sorted cases from `index` (0-based)."""

    index: int
    count: int


@dataclass(frozen=True)
class Plan:
    """The cases of one run below `out`, in order; `total` counts those of all parts."""

    out: Path
    scans: tuple[Scan, ...]
    ignored: tuple[Ignored, ...]
    total: int
    part: Part | None = None

    def exists(self, scan: Scan) -> bool:
        """Whether the output holds a case of this name already."""
        return (self.out / scan.case / SUMMARY).is_file()

    def document(self) -> dict[str, object]:
        """What `--dry-run --json` prints."""
        return {
            "schema_version": 1,
            "total": self.total,
            "part": None if self.part is None else {"index": self.part.index, "count": self.part.count},
            "cases": [self._describe(scan) for scan in self.scans],
            "ignored": [{"name": i.name, "code": i.code, "reason": i.reason} for i in self.ignored],
        }

    def _describe(self, scan: Scan) -> dict[str, object]:
        return {
            "case": scan.case,
            "name": scan.name,
            "kind": scan.kind,
            "series_uid": scan.series_uid,
            "files": len(scan.files),
            "exists": self.exists(scan),
        }


def plan(
    discovery: Discovery,
    out: Path,
    *,
    num_parts: int | None = None,
    part_id: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Plan:
    """The plan of a run over what was found; a case whose name is too long, or is hirescam's own, gets another.

    Parts come from `num_parts` and `part_id`, else from SLURM's array variables in `environ` (default: the
    process's). Raises NoInputError if nothing was found, ScanError if nothing of it is usable,
    UsageError for options or inputs that cannot be carried out.
    """
    part = _part(num_parts, part_id, os.environ if environ is None else environ)
    named = (_shortened(_kept_apart(scan)) for scan in discovery.scans)
    scans = tuple(sorted(named, key=lambda scan: scan.case))
    if not scans:
        raise _nothing(discovery)
    _refuse_unsafe_names(scans)
    _refuse_shared_cases(scans)
    _refuse_overlap(scans, out)
    own = scans if part is None else scans[part.index :: part.count]
    return Plan(out=out, scans=own, ignored=discovery.ignored, total=len(scans), part=part)


def _nothing(discovery: Discovery) -> HirescamError:
    if not discovery.ignored:
        return NoInputError(
            "No scan was found.", hint="Check the INPUT paths; `hirescam inspect` lists what is seen."
        )
    images = [item for item in discovery.ignored if item.is_image]
    first = (images or discovery.ignored)[0]
    more = f" (and {len(discovery.ignored) - 1} more)" if len(discovery.ignored) > 1 else ""
    message = f"No scan was found that can be used: {because(first)}{more}"
    hint = "`hirescam inspect` lists everything that was seen and why it was not used."
    if images:
        return ScanError(message, hint=hint, code="nothing-usable", stage="plan")
    return NoInputError(message, hint=hint)


def because(ignored: Ignored) -> str:
    """The sentence that says what was left out and why; most reasons begin with the name already."""
    named = ignored.reason.startswith(ignored.name)
    return ignored.reason if named else f"{ignored.name}: {ignored.reason}"


def summed_up(ignored: Iterable[Ignored]) -> list[Ignored]:
    """What was left out, more than a few objects of one folder with one code as one, in the place of the first."""
    told: list[Ignored] = []
    for folder, group in by_folder(ignored):
        if len(group) <= _TOLD_ONE_BY_ONE:
            told += group
            continue
        name = f"{len(group)} objects in {'the input' if folder == '.' else folder}"
        told.append(Ignored(name, group[0].code, f"{name}, such as this: {because(group[0])}"))
    return told


def _part(num_parts: int | None, part_id: int | None, environ: Mapping[str, str]) -> Part | None:
    if num_parts is None and part_id is None:
        return _slurm_part(environ)
    if num_parts is None or part_id is None:
        raise UsageError(
            "--num-parts and --part-id belong together, one of them is missing.",
            hint="Give both, or neither inside a SLURM array job.",
            code="parts",
        )
    if num_parts < 1 or not 0 <= part_id < num_parts:
        raise UsageError(
            f"--part-id is {part_id} of --num-parts {num_parts}, expected 0 to {max(num_parts, 1) - 1}.",
            hint="Parts are counted from 0.",
            code="parts",
        )
    return Part(part_id, num_parts) if num_parts > 1 else None


def _slurm_part(environ: Mapping[str, str]) -> Part | None:
    """The part that a task of a SLURM job array stands for: arrays may start anywhere and have a step."""
    if "SLURM_ARRAY_TASK_ID" not in environ:
        return None
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP")
    try:
        task, count, first, step = (
            int(environ.get(name, "1" if name.endswith("STEP") else "")) for name in names
        )
    except ValueError:
        raise UsageError(
            "SLURM_ARRAY_TASK_ID is set, but SLURM's count and first task are not whole numbers.",
            hint="Give --num-parts and --part-id.",
            code="parts",
        ) from None
    index, rest = divmod(task - first, step) if step > 0 else (0, 1)
    if rest or not 0 <= index < count:
        raise UsageError(
            f"SLURM's array has gaps: task {task} is none of {count} tasks from {first} in steps of {step}.",
            hint="Give --num-parts and --part-id.",
            code="parts",
        )
    return Part(index, count) if count > 1 else None


def _kept_apart(scan: Scan) -> Scan:
    """The scan, under another case name with a warning where its folder would be called as a file of the run."""
    first, slash, rest = scan.case.partition("/")
    name = first.casefold()
    if name not in RESERVED and not _CONTACT_SHEET.fullmatch(name):
        return scan
    case = f"{first}{_APART}{slash}{rest}"
    warning = Warning(
        "case-renamed", f"hirescam keeps the name {first} for its own file; the case is called {case}."
    )
    return replace(scan, case=case, warnings=(*scan.warnings, warning))


def _shortened(scan: Scan) -> Scan:
    """The scan, under a shorter case name with a warning where no file system could hold its folder."""
    parts = [_short_part(part) for part in scan.case.split("/")]
    if len("/".join(parts).encode()) > _LONGEST_CASE:
        parts = [parts[0], hashlib.sha256(scan.case.encode()).hexdigest()[:16], parts[-1]]
    case = "/".join(parts)
    if case == scan.case:
        return scan
    warning = Warning("case-renamed", f"the case's name is too long for a folder; the case is called {case}.")
    return replace(scan, case=case, warnings=(*scan.warnings, warning))


def _short_part(part: str) -> str:
    raw = part.encode()
    if len(raw) <= _LONGEST_PART:
        return part
    return f"{raw[:_KEPT].decode('utf-8', 'ignore')}~{hashlib.sha256(raw).hexdigest()[:16]}"


def _refuse_unsafe_names(scans: Iterable[Scan]) -> None:
    for scan in scans:
        parts = PurePosixPath(scan.case).parts
        if not parts or ".." in parts or parts[0] == "/" or "\0" in scan.case:
            raise UsageError(
                f"{scan.name} would be case {scan.case!r}, which is not a path below the output folder.",
                hint="Give it a case name with id=path.",
                code="case-name",
            )


def _refuse_shared_cases(scans: tuple[Scan, ...]) -> None:
    by_case: dict[str, Scan] = {}
    for scan in scans:
        if scan.case in by_case:
            first = by_case[scan.case].name
            both = f"{first} and {scan.name}" if first != scan.name else f"Two inputs called {first}"
            raise UsageError(
                f"{both} would both be written as case {scan.case}.",
                hint="Give one of them a case name with id=path, or run them into two output folders.",
                code="case-collision",
            )
        by_case[scan.case] = scan
    for scan in scans:
        for parent in PurePosixPath(scan.case).parents:
            if (other := by_case.get(parent.as_posix())) is not None:
                raise UsageError(
                    f"{scan.name} would be case {scan.case}, inside the case {other.case} of {other.name}.",
                    hint="Give one of them a case name with id=path, or run them into two output folders.",
                    code="case-collision",
                )


def _refuse_overlap(scans: tuple[Scan, ...], out: Path) -> None:
    """Scans among the results might be overwritten, or missed by the next run, which does not look there."""
    target = out.resolve()
    for root in {scan.root for scan in scans}:
        if os.path.isdir(root) and target == root.resolve():
            raise UsageError(
                f"The output folder {out.name or '.'} is the input {root.name or '.'}.",
                hint="Choose another output folder with --output; it may lie in the input.",
                code="output-is-input",
            )
    folders: dict[Path, Scan] = {}
    for scan in scans:
        for path in (scan.root, *scan.files):
            folders.setdefault(path if os.path.isdir(path) else path.parent, scan)
    for folder, scan in folders.items():
        if folder.resolve().is_relative_to(target):
            raise UsageError(
                f"The input {scan.name} lies inside the output folder {out.name or '.'}.",
                hint="Choose another output folder with --output.",
                code="input-inside-output",
            )
