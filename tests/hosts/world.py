"""Folders as hosts lay them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.io.dicom_factory import make_series, uid

VARIABLES = (
    "MERCURE_IN_DIR", "MERCURE_OUT_DIR", "HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH", "HOLOSCAN_MODEL_PATH",
    "MONAI_INPUTPATH", "MONAI_OUTPUTPATH", "MONAI_MODELPATH", "WORKFLOW_DIR", "BATCH_NAME", "OPERATOR_IN_DIR",
    "OPERATOR_OUT_DIR", "XNAT_HOST", "NXF_TASK_WORKDIR",
)  # fmt: skip


def forget_hosts(patch: pytest.MonkeyPatch) -> None:
    """An environment of none of them."""
    for name in VARIABLES:
        patch.delenv(name, raising=False)


def mercure_input(folder: Path, *series: str, settings: dict[str, Any] | None = None) -> Path:
    """A flat folder: `<series UID>#<file UID>.dcm`, tags beside each, and a task.json."""
    folder.mkdir(parents=True)
    for name in series or ("one",):
        made = make_series(folder.parent / f"made {name}", series_uid=uid(name))
        for number, path in enumerate(made):
            stem = f"{uid(name)}#{uid(name, 'file', number)}"
            (folder / f"{stem}.dcm").write_bytes(path.read_bytes())
            (folder / f"{stem}.tags").write_text(
                json.dumps({"Modality": "CT", "SeriesInstanceUID": uid(name)})
            )
    task = {"id": "0", "info": {}, "process": {"module_name": "hirescam", "settings": settings or {}}}
    (folder / "task.json").write_text(json.dumps(task))
    return folder


def tree(folder: Path) -> list[str]:
    """All files below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
