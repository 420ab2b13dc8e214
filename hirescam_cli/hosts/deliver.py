"""Results where a host looks for them: flat, each file whole, a case's summary last."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hirescam_cli.case.listing import case_folders, iter_cases
from hirescam_cli.case.publish import SUMMARY
from hirescam_cli.case.record import AnyCase, Case
from hirescam_cli.durable import output_error, sync_file, temporary_name, write_file
from hirescam_cli.hosts.job import Element, Job


def deliver(job: Job) -> list[Path]:
    """Lay the results of a run flat into the folders of their elements; returns the files there.

    A file `peak.png` of the case `a/b` becomes `a.b.peak.png`; the name that an element gave its cases is left away.
    Raises OutputCreateError or OutputIOError.
    """
    delivered: list[Path] = []
    for element in job.elements:
        if element.delivery is None:
            continue
        try:
            element.delivery.mkdir(parents=True, exist_ok=True)
            taken: set[str] = set()
            for case in case_folders(job.run):
                if element.case in (None, case.partition("/")[0]):
                    prefix = _prefix(case, element, taken)
                    delivered += _deliver_case(job.run / case, prefix, element.delivery)
            if job.run.parent == element.delivery:
                delivered += [_move(path, element.delivery / path.name) for path in _loose(job.run)]
                shutil.rmtree(job.run)
            sync_file(element.delivery)
        except OSError as error:
            raise output_error(error, element.delivery.name) from error
    return delivered


def write_mercure_result(path: Path, run: Path, version: str, exit_code: int) -> None:
    """result.json for mercure: what each case came to, and the text of its notification, which names nobody."""
    cases = [(listed.folder, listed.case) for listed in iter_cases(run)]
    document = {
        "hirescam": {
            "version": version,
            "exit_code": exit_code,
            "cases": [_told(folder, case) for folder, case in cases],
        },
        "__mercure_notification": {
            "text": _notification([case for _folder, case in cases]),
            "requested": any(not isinstance(case, Case) for _folder, case in cases),
        },
    }
    write_file(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _told(folder: str, case: AnyCase) -> dict[str, object]:
    if not isinstance(case, Case):
        return {"case": folder, "status": "failed", "code": case.error.code, "message": case.error.message}
    return {
        "case": folder,
        "status": "ok",
        "model": case.model.name,
        "demonstration": case.model.demonstration,
        "warnings": [warning.code for warning in case.warnings],
        "labels": [
            {
                "label": label.name,
                "probability": label.probability,
                "logit": label.logit,
                "positive": label.positive,
                "complete": {method: found.complete for method, found in label.maps.items()},
            }
            for label in case.ranked
        ],
        "dicom_objects": sum(output.role == "dicom" for output in case.outputs),
    }


def _notification(cases: list[AnyCase]) -> str:
    done = [case for case in cases if isinstance(case, Case)]
    positive = sorted({label.name for case in done for label in case.labels if label.positive})
    parts = [f"{len(done)} of {len(cases)} scans explained"]
    parts.append(f"above threshold: {', '.join(positive)}" if positive else "no label above its threshold")
    if any(case.model.demonstration for case in done):
        parts.append("by a demonstration model, which knows only phantoms")
    return "; ".join(parts) + ". Research use only."


def _prefix(case: str, element: Element, taken: set[str]) -> str:
    """How the files of a case begin, unlike those of every other case."""
    name = (case if element.case is None else case.partition("/")[2]).replace("/", ".")
    number, wanted = 1, name
    while name in taken:
        number += 1
        name = f"{wanted}~{number}"
    taken.add(name)
    return f"{name}." if name else ""


def _deliver_case(folder: Path, prefix: str, target: Path) -> Iterable[Path]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files.sort(key=lambda path: path.name == SUMMARY)
    moved = [
        _move(path, target / (prefix + path.relative_to(folder).as_posix().replace("/", ".")))
        for path in files
    ]
    shutil.rmtree(folder)
    return moved


def _move(path: Path, target: Path) -> Path:
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(temporary_name(target.name, "tmp"))
        shutil.copyfile(path, beside)
        sync_file(beside)
        os.replace(beside, target)
    return target


def _loose(run: Path) -> list[Path]:
    """The run's own files."""
    return [path for path in sorted(run.iterdir()) if path.is_file() and not path.name.startswith(".")]
