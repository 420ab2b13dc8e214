"""A run as a host asks for it: which folders to read, where to write, where results go afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hirescam_cli.errors import NoInputError, UsageError
from hirescam_cli.io.scan import InputPath
from hirescam_cli.options import check, stated

RUN_FOLDER = ".hirescam-run"


@dataclass(frozen=True)
class HostOptions:
    """Options of `pipeline` alone. `output`: None takes the host's."""

    host: str = stated("host")
    failures_ok: bool = stated("failures-ok")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Element:
    """A folder of scans. `case`: how its cases begin, None takes their own names. `delivery`: where its results are
    laid flat, None leaves them where the run wrote them."""

    source: Path
    case: str | None = None
    delivery: Path | None = None


@dataclass(frozen=True)
class Job:
    """`run`: output folder of the run. `task`: a file with settings. `models`: a folder with a model file. `formats`:
    what the host can use. `result`: a file for the host's own summary. `companions`: endings of files that the host
    lays beside scans."""

    host: str
    elements: tuple[Element, ...]
    run: Path
    formats: tuple[str, ...]
    task: Path | None = None
    models: Path | None = None
    result: Path | None = None
    companions: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[InputPath]:
        """As a run takes them."""
        return [InputPath(one.source, one.case) for one in self.elements]


Given = tuple[Sequence[Path], Path | None, Mapping[str, str]]
DICOM = ("dicom-pm", "dicom-sr", "dicom-sc")
EVERYTHING = ("nifti", "png", *DICOM)


def _mercure(given: Given) -> Job:
    """Flat in, flat out: mercure takes *.dcm from the top of the output, and a result.json."""
    inputs, output, variables = given
    source = _one(inputs) or _folder(variables, "MERCURE_IN_DIR")
    out = output or _folder(variables, "MERCURE_OUT_DIR")
    task = source / "task.json"
    return Job(
        host="mercure",
        elements=(Element(source, delivery=out),),
        run=out / RUN_FOLDER,
        formats=DICOM,
        task=task if task.is_file() else None,
        result=out / "result.json",
        companions=(".tags", "task.json"),
    )


def _monai(given: Given) -> Job:
    """A MONAI Application Package: paths by variables, those without a slash below its working folder."""
    inputs, output, variables = given
    source = _one(inputs) or _path(
        variables, ("HOLOSCAN_INPUT_PATH", "MONAI_INPUTPATH"), "/var/holoscan/input"
    )
    out = output or _path(variables, ("HOLOSCAN_OUTPUT_PATH", "MONAI_OUTPUTPATH"), "/var/holoscan/output")
    models = _path(variables, ("HOLOSCAN_MODEL_PATH", "MONAI_MODELPATH"), "/opt/holoscan/models")
    return Job("monai", (Element(source, delivery=out),), out / RUN_FOLDER, DICOM, models=models)


def _xnat(given: Given) -> Job:
    """The mounts of the command.json beside this package's other pipeline files; a resource keeps folders."""
    inputs, output, _variables = given
    return Job("xnat", (Element(_one(inputs) or Path("/input")),), output or Path("/output"), EVERYTHING)


def _kaapana(given: Given) -> Job:
    """One folder for each element of a batch; each gets its own results."""
    _inputs, output, variables = given
    # The variable may lack the slash at its beginning.
    workflow = Path("/", str(_folder(variables, "WORKFLOW_DIR")))
    batch = workflow / (variables.get("BATCH_NAME") or "batch")
    source, target = (_folder(variables, f"OPERATOR_{which}_DIR") for which in ("IN", "OUT"))
    if not batch.is_dir():
        raise NoInputError(f"{batch} is not a folder.", hint="WORKFLOW_DIR and BATCH_NAME name it.")
    elements = [
        Element(folder / source, folder.name, folder / target)
        for folder in sorted(batch.iterdir())
        if (folder / source).is_dir()
    ]
    if not elements:
        raise NoInputError(f"No element of {batch} has the folder {source}.", hint="Check OPERATOR_IN_DIR.")
    return Job("kaapana", tuple(elements), output or workflow / target, DICOM)


def _nextflow(given: Given) -> Job:
    """A process of Nextflow: what it stages is named on the command line, what it declares are globs."""
    inputs, output, _variables = given
    if not inputs:
        raise UsageError("--host nextflow needs an INPUT.", hint="Name what the process stages.")
    return Job(
        "nextflow", tuple(Element(path) for path in inputs), output or Path("hirescam-output"), EVERYTHING
    )


HOSTS: Mapping[str, Callable[[Given], Job]] = {
    "mercure": _mercure,
    "monai": _monai,
    "xnat": _xnat,
    "kaapana": _kaapana,
    "nextflow": _nextflow,
}
# Which variable tells a host, in this order: mercure sets MONAI's too.
_SIGNS = (
    ("MERCURE_IN_DIR", "mercure"),
    ("OPERATOR_IN_DIR", "kaapana"),
    ("HOLOSCAN_INPUT_PATH", "monai"),
    ("MONAI_INPUTPATH", "monai"),
    ("XNAT_HOST", "xnat"),
    ("NXF_TASK_WORKDIR", "nextflow"),
)


def job_for(
    host: str, inputs: Sequence[Path], output: Path | None, variables: Mapping[str, str] = os.environ
) -> Job:
    """What a host asks for; "auto" looks at the environment.

    Raises UsageError where a host cannot be told or lacks a variable, NoInputError where there is nothing to read.
    """
    if host == "auto":
        host = next((name for sign, name in _SIGNS if variables.get(sign)), "")
    if host not in HOSTS:
        signs = ", ".join(f"{sign} ({name})" for sign, name in _SIGNS)
        raise UsageError(
            "The environment is not that of a pipeline.",
            hint=f"Choose --host; recognised by: {signs}.",
            code="host-unknown",
        )
    job = HOSTS[host]((inputs, output, variables))
    for element in job.elements:
        if not element.source.exists():
            raise NoInputError(
                f"{element.source} does not exist.", hint=f"--host {job.host} reads scans there."
            )
    return job


def _one(inputs: Sequence[Path]) -> Path | None:
    if len(inputs) > 1:
        raise UsageError(f"{len(inputs)} INPUTs are given.", hint="This host reads one folder.")
    return inputs[0] if inputs else None


def _folder(variables: Mapping[str, str], name: str) -> Path:
    if not variables.get(name):
        raise UsageError(f"{name} is not set.", hint="The host sets it.", code="host-variable")
    return Path(variables[name])


def _path(variables: Mapping[str, str], names: Sequence[str], usual: str) -> Path:
    given = next((variables[name] for name in names if variables.get(name)), usual)
    return Path(variables.get("HOLOSCAN_WORKDIR") or "/var/holoscan", given)
